package fcgi

import (
	"bufio"
	"io"
	"net"
)

// Values asks the application on a new connection about variables of its own (spec 4.1):
// FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS. Those that it does not know are missing.
// The connection should have a deadline, as not every application answers.
func Values(c net.Conn, names ...string) (map[string]string, error) {
	var asked []byte
	for _, name := range names {
		asked = appendParam(asked, name, "")
	}
	if _, err := c.Write(appendRecord(nil, typeGetValues, 0, asked)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	h, err := readHeader(r)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return nil, errEnded
	case err != nil:
		return nil, err
	case h.typ == typeUnknownType:
		return nil, protocolError("it does not know FCGI_GET_VALUES")
	case h.typ != typeGetValuesResult || h.id != 0:
		return nil, protocolError("a record of type %d of request %d in answer to FCGI_GET_VALUES", h.typ, h.id)
	}
	b := make([]byte, h.length)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, unexpected(err)
	}
	pairs, err := splitPairs(string(b))
	if err != nil {
		return nil, protocolError("FCGI_GET_VALUES_RESULT: %w", err)
	}
	values := make(map[string]string, len(pairs))
	for name, value := range pairs.All() {
		values[name] = value
	}
	return values, nil
}
