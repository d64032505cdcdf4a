package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// readAnswer reads one HTTP/1 answer and checks it. It allocates nothing while answers are
// right: the generator shares the machine with what it measures.
func readAnswer(r *bufio.Reader, want content) (keep bool, err error) {
	h, err := readFinalHead(r)
	if err != nil {
		return false, err
	}
	return readBody(r, h, want)
}

// readFinalHead leaves out interim ones.
func readFinalHead(r *bufio.Reader) (head, error) {
	h, err := readHead(r)
	for err == nil && h.status >= 100 && h.status < 200 {
		h, err = readHead(r)
	}
	return h, err
}

// readBody reads the rest of an answer and checks it.
func readBody(r *bufio.Reader, h head, want content) (keep bool, err error) {
	var ok bool
	switch {
	case h.chunked:
		ok, err = matchChunks(r, &want)
	case h.length >= 0:
		// One that is too long is wrong before it is read: the connection is given up.
		if ok = h.length == want.left(); ok {
			ok, err = want.match(r, want.left())
		}
	default:
		h.keep = false
		if ok, err = want.match(r, want.left()); ok && err == nil {
			if _, err = r.ReadByte(); err == io.EOF {
				err = nil
			} else if err == nil {
				ok = false
			}
		}
	}
	if err != nil {
		return false, fmt.Errorf("status %d, body broken off: %w", h.status, err)
	}
	if h.status != 200 || !ok {
		return false, fmt.Errorf("status %d, right body: %t", h.status, ok)
	}
	return h.keep, nil
}

type head struct {
	status        int
	length        int64 // -1 is unknown
	chunked, keep bool
}

var errHead = errors.New("not an HTTP/1 answer")

func readHead(r *bufio.Reader) (head, error) {
	h := head{length: -1}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, errHead
	}
	h.keep = line[7] == '1'
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, errHead
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if h.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || h.length < 0 {
				return h, errHead
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			if bytes.EqualFold(value, []byte("close")) {
				h.keep = false
			} else if bytes.EqualFold(value, []byte("keep-alive")) { // HTTP/1.0
				h.keep = true
			}
		}
	}
}

func matchChunks(r *bufio.Reader, want *content) (bool, error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return false, noEOF(err)
		}
		size, _, _ := bytes.Cut(line, []byte{';'})
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return false, errHead
		}
		if int64(n) > want.left() {
			return false, nil
		}
		if ok, err := want.match(r, int64(n)); !ok || err != nil {
			return ok, err
		}
		if n > 0 {
			if line, err = r.ReadSlice('\n'); err != nil {
				return false, noEOF(err)
			} else if string(line) != "\r\n" {
				return false, errHead
			}
			continue
		}
		for { // trailers, and the empty line
			if line, err = r.ReadSlice('\n'); err != nil {
				return false, noEOF(err)
			}
			if len(bytes.TrimRight(line, "\r\n")) == 0 {
				return want.left() == 0, nil
			}
		}
	}
}

// noEOF: an end of file in the middle of an answer is an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
