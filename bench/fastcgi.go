package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// The load generator as a front server: a FastCGI client of its own, so that the
// gateway's code is not on both sides.

// Record types (FastCGI specification, 8).
const (
	fcgiBegin  = 1
	fcgiEnd    = 3
	fcgiParams = 4
	fcgiStdin  = 5
	fcgiStdout = 6
)

func appendRecord(b []byte, typ byte, content string) []byte {
	b = append(b, 1, typ, 0, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(content)))
	b = append(b, 0, 0)
	return append(b, content...)
}

// fastcgiRequest is a request as nginx would send it, to keep the connection.
func fastcgiRequest(addr string, w *workload) []byte {
	host, port, _ := net.SplitHostPort(addr)
	var params strings.Builder
	for _, p := range [][2]string{
		{"SCRIPT_FILENAME", w.script()}, {"QUERY_STRING", w.query}, {"REQUEST_METHOD", "GET"}, {"CONTENT_TYPE", ""},
		{"CONTENT_LENGTH", ""}, {"SCRIPT_NAME", w.path()}, {"REQUEST_URI", w.target()}, {"DOCUMENT_URI", w.path()},
		{"DOCUMENT_ROOT", w.dir}, {"SERVER_PROTOCOL", "HTTP/1.1"}, {"REQUEST_SCHEME", "http"}, {"GATEWAY_INTERFACE", "CGI/1.1"},
		{"SERVER_SOFTWARE", "bench"}, {"REMOTE_ADDR", "127.0.0.1"}, {"REMOTE_PORT", "40000"}, {"SERVER_ADDR", host},
		{"SERVER_PORT", port}, {"SERVER_NAME", host}, {"REDIRECT_STATUS", "200"}, {"HTTP_HOST", addr},
	} {
		for _, s := range p {
			if len(s) > 127 {
				params.Write(binary.BigEndian.AppendUint32(nil, 1<<31|uint32(len(s))))
			} else {
				params.WriteByte(byte(len(s)))
			}
		}
		params.WriteString(p[0] + p[1])
	}
	b := appendRecord(nil, fcgiBegin, "\x00\x01\x01\x00\x00\x00\x00\x00") // responder, FCGI_KEEP_CONN
	b = appendRecord(b, fcgiParams, params.String())
	b = appendRecord(b, fcgiParams, "")
	return appendRecord(b, fcgiStdin, "")
}

// stdout is the STDOUT stream of one answer. Its end is that of the request.
type stdout struct {
	r       *bufio.Reader
	left    int // of the record
	padding int
	over    bool
}

func (o *stdout) Read(b []byte) (int, error) {
	for o.left == 0 && !o.over {
		if err := o.next(); err != nil {
			return 0, noEOF(err)
		}
	}
	if o.over {
		return 0, io.EOF
	}
	n, err := o.r.Read(b[:min(len(b), o.left)])
	o.left -= n
	return n, noEOF(err)
}

// next reads what is between two pieces of output.
func (o *stdout) next() error {
	if _, err := o.r.Discard(o.padding); err != nil {
		return err
	}
	h, err := o.r.Peek(8)
	if err != nil {
		return err
	}
	typ, id, length := h[1], binary.BigEndian.Uint16(h[2:]), int(binary.BigEndian.Uint16(h[4:]))
	o.padding = int(h[6])
	if h[0] != 1 || id != 1 {
		return errors.New("not a FastCGI answer to this request")
	}
	o.r.Discard(8)
	switch typ {
	case fcgiStdout:
		o.left = length
		return nil
	case fcgiEnd:
		end, err := o.r.Peek(8)
		if err != nil || length != 8 {
			return errors.Join(err, errors.New("END_REQUEST is too short"))
		}
		if end[4] != 0 {
			return fmt.Errorf("protocol status %d", end[4])
		}
		o.over = true
		_, err = o.r.Discard(8 + o.padding)
		return err
	}
	return fmt.Errorf("a record of type %d", typ)
}

// fastcgiAnswer is what the reading of an answer needs.
type fastcgiAnswer struct {
	out stdout
	r   *bufio.Reader // of out
}

var fastcgiAnswers = sync.Pool{New: func() any { return &fastcgiAnswer{r: bufio.NewReader(nil)} }}

// readFastCGI reads one answer and checks it.
func readFastCGI(r *bufio.Reader, want content) (keep bool, err error) {
	a := fastcgiAnswers.Get().(*fastcgiAnswer)
	defer fastcgiAnswers.Put(a)
	a.out = stdout{r: r}
	a.r.Reset(&a.out)
	for {
		line, err := a.r.ReadSlice('\n')
		if err != nil {
			return false, noEOF(err)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Status: ")); ok && !bytes.HasPrefix(v, []byte("200")) {
			return false, fmt.Errorf("status %s", v)
		}
	}
	if ok, err := want.match(a.r, want.left()); err != nil || !ok {
		return false, fmt.Errorf("right body: %t: %w", ok, err)
	}
	if _, err := a.r.ReadByte(); err != io.EOF {
		return false, fmt.Errorf("the answer is too long, or breaks off: %w", err)
	}
	return true, nil
}
