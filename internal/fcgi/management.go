package fcgi

import (
	"io"
	"strconv"
)

// management is a record that belongs to no request (spec 4).
func (c *conn) management(h header) error {
	switch {
	case h.typ == typeGetValues:
		if h.length > maxValues {
			return protocolError("FCGI_GET_VALUES of %d octets", h.length)
		}
		b := make([]byte, h.length)
		if _, err := io.ReadFull(c.br, b); err != nil {
			return unexpected(err)
		}
		asked, err := splitPairs(string(b))
		if err != nil {
			return protocolError("FCGI_GET_VALUES: %w", err)
		}
		return c.reply(appendRecord(nil, typeGetValuesResult, 0, c.values(asked)))
	case h.typ == 0 || h.typ > maxType:
		if err := c.skip(h.length); err != nil {
			return err
		}
		return c.reply(appendRecord(nil, typeUnknownType, 0, []byte{byte(h.typ), 7: 0}))
	}
	return c.skip(h.length)
}

// values are those of the variables asked for that there are (spec 4.1).
func (c *conn) values(asked Params) (b []byte) {
	for _, p := range lastWins(asked) {
		switch p.Name {
		case "FCGI_MAX_CONNS", "FCGI_MAX_REQS":
			b = appendParam(b, p.Name, strconv.Itoa(c.srv.maxConns()))
		case "FCGI_MPXS_CONNS":
			b = appendParam(b, p.Name, "0")
		}
	}
	return b
}
