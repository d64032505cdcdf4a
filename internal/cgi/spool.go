package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// SpoolConfig bounds a request body that is received before its script starts.
type SpoolConfig struct {
	// Max is the largest body, in octets; 0 is none at all. Over it: [ErrBodyTooLarge].
	Max int64
	// Memory is how much of it is held in memory; a larger one goes to a file.
	Memory int64
	// Size is the size to expect, or not above 0.
	Size int64
	// Dir is the folder of that file; "" is the system's for temporary files.
	Dir string
}

// Spooled is a body that was received whole, so that its length is known: a chunked
// one, whose CONTENT_LENGTH the script must be told.
type Spooled struct {
	mem  []byte
	file *os.File
	size int64
	r    io.Reader
}

// Spool receives a body. Up to c.Memory octets stay in memory, more go to a
// temporary file that has no name any more. The caller must close what it gets.
func Spool(body io.Reader, c SpoolConfig) (*Spooled, error) {
	var mem bytes.Buffer
	if n := min(c.Size, c.Memory); n > 0 {
		mem.Grow(int(n) + bytes.MinRead) // ReadFrom looks for the end behind the last octet
	}
	n, err := mem.ReadFrom(io.LimitReader(body, min(c.Memory, c.Max, math.MaxInt64-1)+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if n > c.Max {
		return nil, fmt.Errorf("%w: over %d octets", ErrBodyTooLarge, c.Max)
	}
	if n <= c.Memory {
		return &Spooled{mem: mem.Bytes(), size: n, r: bytes.NewReader(mem.Bytes())}, nil
	}
	f, err := unnamedFile(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	s := &Spooled{file: f, size: n, r: f}
	if err := s.fill(mem.Bytes(), body, c.Max); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Spooled) fill(head []byte, body io.Reader, limit int64) error {
	if _, err := s.file.Write(head); err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if s.size += int64(n); s.size > limit {
			return fmt.Errorf("%w: over %d octets", ErrBodyTooLarge, limit)
		}
		if _, werr := s.file.Write((*buf)[:n]); werr != nil {
			return fmt.Errorf("%w: %w", ErrSpool, werr)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return bodyError(err)
		}
	}
	_, err := s.file.Seek(0, io.SeekStart)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return nil
}

// Read reads the body.
func (s *Spooled) Read(b []byte) (int, error) { return s.r.Read(b) }

// Len is the body's length in octets.
func (s *Spooled) Len() int64 { return s.size }

// Bytes is a body that is in memory.
func (s *Spooled) Bytes() []byte { return s.mem }

// File is the file of one that is not, or nil.
func (s *Spooled) File() *os.File { return s.file }

// Close frees the body. A script that has started keeps its own descriptor.
func (s *Spooled) Close() error {
	if s.file != nil {
		return s.file.Close()
	}
	return nil
}

// unnamedFile is gone from the folder before anybody can open it, and from the disk
// with its last descriptor.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "warmcgi-body-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// bodyError is the client's fault, unless it says itself what it is.
func bodyError(err error) error {
	for _, kind := range []error{ErrBodyTooLarge, ErrBodyTimeout, ErrGone} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrBody, err)
}
