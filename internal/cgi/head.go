package cgi

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// MaxHead is the most that the head of an answer may hold, line ends included.
const MaxHead = 64 << 10

// headEnd finds the empty line that ends a head, whichever of LF and CRLF its
// lines end in (RFC 3875 section 6.2 allows both, scripts mix them). It returns
// where the fields end and where the body begins, or ok false.
func headEnd(b []byte) (fields, body int, ok bool) {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0, 0, false
		}
		line := b[i : i+n]
		if len(line) == 0 || (len(line) == 1 && line[0] == '\r') {
			return i, i + n + 1, true
		}
		i += n + 1
	}
}

// ParseHead looks for the head of an answer at the beginning of b. n is its length, or 0
// when it is not complete yet. Errors are of the kind [ErrBadHead].
func ParseHead(b []byte) (res *Response, n int, err error) {
	fields, body, ok := headEnd(b)
	switch {
	case !ok && len(b) >= MaxHead:
		return nil, 0, fmt.Errorf("%w: longer than %d octets", ErrBadHead, MaxHead)
	case !ok:
		return nil, 0, checkLines(b)
	case fields == 0:
		return nil, 0, fmt.Errorf("%w: it begins with an empty line", ErrBadHead)
	}
	res, err = parseHead(string(b[:fields]))
	return res, body, err
}

// checkLines finds a line without a colon in a head whose end has not come yet. It may never
// come: what writes such a line takes it for the body, as a rule.
func checkLines(b []byte) error {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return nil
		}
		line := b[i : i+n]
		if folded := i > 0 && (line[0] == ' ' || line[0] == '\t'); !folded && bytes.IndexByte(line, ':') < 0 {
			return noColon(string(bytes.TrimSuffix(line, []byte{'\r'})))
		}
		i += n + 1
	}
}

func noColon(line string) error {
	return fmt.Errorf("%w: no colon in line %q", ErrBadHead, clip(line))
}

// parseHead reads the fields of a response head (RFC 3875 section 6.2). What could
// break the framing of the HTTP answer, or smuggle a field into it, is an error:
// such a script is broken, and an answer that says so is the safest.
func parseHead(s string) (*Response, error) {
	lines := strings.Count(s, "\n")
	if !strings.HasSuffix(s, "\n") {
		lines++
	}
	values := make([]string, lines) // one piece for all fields
	res := &Response{Header: make(http.Header, 8), Length: -1}
	status := ""
	var name, value string
	add := func() error {
		if name == "" {
			return nil
		}
		switch name {
		case "Status":
			if status != "" && status != value {
				return fmt.Errorf("%w: two Status fields", ErrBadHead)
			}
			status = value
		case "Content-Length":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return fmt.Errorf("%w: Content-Length %q", ErrBadHead, clip(value))
			}
			if res.Length >= 0 && res.Length != int64(n) {
				return fmt.Errorf("%w: two Content-Lengths, %d and %d", ErrBadHead, res.Length, n)
			}
			res.Length = int64(n)
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			// Of the connection, which is the gateway's (RFC 3875 section 6.3.4).
		default:
			if had := res.Header[name]; had != nil {
				res.Header[name] = append(had, value)
				return nil
			}
			values[0] = value
			res.Header[name], values = values[:1:1], values[1:]
		}
		return nil
	}
	for len(s) > 0 {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		line = strings.TrimSuffix(line, "\r")
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && name != "" {
			// A folded line, which RFC 9110 section 5.2 would have replaced by a space.
			value += " " + strings.Trim(line, " \t")
		} else {
			if err := add(); err != nil {
				return nil, err
			}
			n, v, ok := strings.Cut(line, ":")
			if !ok {
				return nil, noColon(line)
			}
			if !httpguts.ValidHeaderFieldName(n) {
				return nil, fmt.Errorf("%w: field name %q", ErrBadHead, clip(n))
			}
			name = textproto.CanonicalMIMEHeaderKey(n)
			value = strings.Trim(v, " \t")
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%w: control character in field %s", ErrBadHead, name)
		}
	}
	if err := add(); err != nil {
		return nil, err
	}
	return res, res.setStatus(status)
}

// setStatus reads the Status field (RFC 3875 section 6.3.3). Without one the
// status is 200, or 302 where a Location stands (sections 6.2.3 and 6.3.2).
func (res *Response) setStatus(s string) error {
	if s == "" {
		res.Status = http.StatusOK
		if res.Header.Get("Location") != "" && res.LocalRedirect() == "" {
			res.Status = http.StatusFound
		}
		return nil
	}
	code, reason, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(code)
	// 1xx is no answer, and a script can't speak for the connection.
	if err != nil || len(code) != 3 || n < 200 || n > 599 {
		return fmt.Errorf("%w: Status %q", ErrBadHead, clip(s))
	}
	res.Status, res.chosen = n, true
	if reason = strings.TrimSpace(reason); !strings.EqualFold(reason, http.StatusText(n)) {
		res.Reason = reason
	}
	return nil
}

// LocalRedirect returns the path and query that the gateway answers in place of
// this answer (RFC 3875 section 6.2.2), or "". A Content-Type beside the Location
// is forgiven, as Apache does; with any other field, or a Status, it is a client
// redirect: a cookie that goes with it must not be lost.
func (res *Response) LocalRedirect() string {
	loc := res.Header.Get("Location")
	if res.chosen || !strings.HasPrefix(loc, "/") || strings.HasPrefix(loc, "//") {
		return ""
	}
	for name := range res.Header {
		if name != "Location" && name != "Content-Type" {
			return ""
		}
	}
	return loc
}

// clip shortens what a script wrote, for an error message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
