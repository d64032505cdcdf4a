package main

import "bufio"

// content is what an answer must hold: a piece, over and over. A copy of it can be
// matched again.
type content struct {
	piece string
	size  int64
	at    int64 // octets that were matched
}

func whole(piece string) content { return content{piece: piece, size: int64(len(piece))} }

func (c *content) left() int64 { return c.size - c.at }

// match reads the next n octets. The caller must see to it that as many are left.
func (c *content) match(r *bufio.Reader, n int64) (bool, error) {
	for n > 0 {
		if _, err := r.Peek(1); err != nil {
			return false, noEOF(err)
		}
		want := c.piece[c.at%int64(len(c.piece)):]
		b, _ := r.Peek(int(min(int64(r.Buffered()), int64(len(want)), n)))
		if string(b) != want[:len(b)] {
			return false, nil
		}
		r.Discard(len(b))
		c.at += int64(len(b))
		n -= int64(len(b))
	}
	return true, nil
}
