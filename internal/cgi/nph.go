package cgi

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// Cook reads the head of a raw answer, status line and fields, so that it can go
// where no raw answer can: RFC 3875 section 5.1 lets an nph- script write HTTP, and
// the client may speak HTTP/2.
func (res *Response) Cook() (*Response, error) {
	b := make([]byte, 0, 4<<10)
	for {
		n, err := res.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if fields, body, ok := headEnd(b); ok {
			line, rest, _ := bytes.Cut(b[:fields], []byte{'\n'})
			version, status, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\r'}), []byte{' '})
			if !bytes.HasPrefix(version, []byte("HTTP/")) {
				return nil, fmt.Errorf("%w: an nph- script's first line is %q", ErrBadHead, clip(string(line)))
			}
			cooked, err := parseHead("Status: " + string(status) + "\n" + string(rest))
			if err != nil {
				return nil, err
			}
			cooked.Body = &tail{ahead: b[body:], left: cooked.Length, Body: res.Body}
			return cooked, nil
		}
		if err != nil {
			if err == io.EOF {
				err = fmt.Errorf("%w: the output ends within it", ErrBadHead)
			}
			return nil, err
		}
		if len(b) == cap(b) {
			if len(b) >= MaxHead {
				return nil, fmt.Errorf("%w: longer than %d octets", ErrBadHead, MaxHead)
			}
			b = append(make([]byte, 0, 4*cap(b)), b...)
		}
	}
}

// tail is a body whose first octets were read already. It is held to the length that
// its head has announced, as [output] is.
type tail struct {
	ahead []byte
	left  int64 // of an announced length; -1 is unknown
	Body
}

func (t *tail) Read(b []byte) (int, error) { return t.read(b, t.Body.Read) }

func (t *tail) ReadWithin(b []byte, d time.Duration) (int, error) {
	return t.read(b, func(b []byte) (int, error) { return t.Body.ReadWithin(b, d) })
}

func (t *tail) read(b []byte, more func([]byte) (int, error)) (n int, err error) {
	for {
		if len(t.ahead) > 0 {
			n = copy(b, t.ahead)
			t.ahead = t.ahead[n:]
		} else {
			n, err = more(b)
		}
		if t.left < 0 {
			return n, err
		}
		extra := t.left == 0 && n > 0 // the script ends all the same: it is read on
		n = int(min(int64(n), t.left))
		t.left -= int64(n)
		if err == io.EOF && t.left > 0 {
			err = fmt.Errorf("%w: %d octets of its Content-Length are missing", ErrTruncated, t.left)
		}
		if err != nil || !extra {
			return n, err
		}
	}
}
