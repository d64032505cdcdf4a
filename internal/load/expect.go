package load

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"regexp"
)

// Expect is what a right answer is.
type Expect struct {
	// Status is the only right one.
	Status int
	// Content is the body that it must have; nil is any.
	Content *Content
	// Match must be found in the body; nil is no matter.
	Match *regexp.Regexp
}

// Content is a body. Of a large one only the beginning is kept, and a sum of the rest.
type Content struct {
	head []byte
	size int64
	sum  uint64
	rest maphash.Hash // of what is behind head
}

// NewContent is a body that is known.
func NewContent(b []byte) *Content {
	c := &Content{}
	c.Write(b)
	return c
}

// maxHead is how much of a body is compared octet by octet.
const maxHead = 1 << 20

// Write adds to the body.
func (c *Content) Write(p []byte) (int, error) {
	n := min(len(p), maxHead-len(c.head))
	c.head = append(c.head, p[:n]...)
	c.rest.Write(p[n:])
	c.size += int64(len(p))
	c.sum = c.rest.Sum64()
	return len(p), nil
}

// Size is its length.
func (c *Content) Size() int64 { return c.size }

// Differs says where another body is not the same; empty is nowhere.
func (c *Content) Differs(of *Content) string {
	v := verifier{expect: Expect{Content: c}}
	v.rest.SetSeed(c.rest.Seed())
	err := v.body(of.head)
	switch {
	case err != nil:
		return err.Error()
	case c.size != of.size:
		return fmt.Sprintf("%d octets long, not %d", of.size, c.size)
	}
	return ""
}

// errWrong is an answer that is whole and not the right one.
type errWrong struct {
	status int    // if it is the status
	what   string // if it is the body
}

func (e *errWrong) Error() string {
	if e.status != 0 {
		return fmt.Sprintf("status %d %s", e.status, http.StatusText(e.status))
	}
	return e.what
}

// sink takes an answer.
type sink interface {
	// begin is the head; an error gives the answer up.
	begin(status int, h http.Header) error
	body(p []byte) error
	end() error
}

// verifier compares answers, one after another.
type verifier struct {
	expect Expect
	size   int64
	wrong  int // status
	rest   maphash.Hash
	buf    []byte // what Match is to look at
	octets int64  // of all bodies
}

func newVerifier(e Expect) *verifier {
	v := &verifier{expect: e}
	if e.Content != nil {
		v.rest.SetSeed(e.Content.rest.Seed())
	}
	return v
}

func (v *verifier) begin(status int, _ http.Header) error {
	v.size, v.wrong, v.buf = 0, 0, v.buf[:0]
	v.rest.Reset()
	if status != v.expect.Status {
		v.wrong = status // its body is read, so that the connection can be used again
	}
	return nil
}

// maxMatch bounds what is kept to look for a text in it.
const maxMatch = 16 << 20

func (v *verifier) body(p []byte) error {
	at := v.size
	v.size += int64(len(p))
	v.octets += int64(len(p))
	if v.wrong != 0 {
		return nil
	}
	if c := v.expect.Content; c != nil {
		if v.size > c.size {
			return &errWrong{what: fmt.Sprintf("longer than %d octets", c.size)}
		}
		if at < int64(len(c.head)) {
			n := min(len(p), len(c.head)-int(at))
			if !bytes.Equal(p[:n], c.head[at:int(at)+n]) {
				return &errWrong{what: difference(c.head, p[:n], int(at))}
			}
			p = p[n:]
		}
		v.rest.Write(p)
	}
	if v.expect.Match != nil {
		if len(v.buf)+len(p) > maxMatch {
			return &errWrong{what: fmt.Sprintf("larger than %d MiB, in which nothing is looked for", maxMatch>>20)}
		}
		v.buf = append(v.buf, p...)
	}
	return nil
}

func (v *verifier) end() error {
	c := v.expect.Content
	switch {
	case v.wrong != 0:
		return &errWrong{status: v.wrong}
	case c != nil && v.size != c.size:
		return &errWrong{what: fmt.Sprintf("%d octets long, not %d", v.size, c.size)}
	case c != nil && c.size > int64(len(c.head)) && v.rest.Sum64() != c.sum:
		return &errWrong{what: fmt.Sprintf("differs behind octet %d", len(c.head))}
	case v.expect.Match != nil && !v.expect.Match.Match(v.buf):
		return &errWrong{what: fmt.Sprintf("%q is not found in it", v.expect.Match)}
	}
	return nil
}

// difference shows the first one, with what stands around it.
func difference(want, got []byte, at int) string {
	i := 0
	for i < len(got) && got[i] == want[at+i] {
		i++
	}
	const before, behind = 12, 20
	from := max(at, at+i-before)
	return fmt.Sprintf("differs at octet %d: %q, not %q", at+i,
		got[from-at:min(len(got), i+behind)], want[from:min(len(want), at+i+behind)])
}

// Answer is one that is kept.
type Answer struct {
	Status  int
	Header  http.Header
	Content Content
}

func (a *Answer) begin(status int, h http.Header) error { a.Status, a.Header = status, h; return nil }
func (a *Answer) body(p []byte) error                   { a.Content.Write(p); return nil }
func (a *Answer) end() error                            { return nil }

// Text is the beginning of the body.
func (a *Answer) Text(most int) string {
	return string(a.Content.head[:min(most, len(a.Content.head))])
}

var errStopped = errors.New("interrupted")
