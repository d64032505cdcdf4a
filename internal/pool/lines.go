package pool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// maxLine is the longest line that a warm parent may send, in octets.
const maxLine = 8 << 10

// A line is one of the control socket's, its words unescaped.
type line struct {
	verb  string
	words []string
}

// readLine takes the next line; see docs/worker-protocol.md.
func readLine(r *bufio.Reader) (line, error) {
	b, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return line{}, fmt.Errorf("a line of more than %d octets", maxLine)
	}
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return line{}, err
	}
	verb, rest, more := strings.Cut(string(b[:len(b)-1]), " ")
	l := line{verb: verb}
	for more {
		var w string
		w, rest, more = strings.Cut(rest, " ")
		if strings.IndexByte(w, '%') >= 0 {
			if w, err = url.PathUnescape(w); err != nil {
				return l, fmt.Errorf("line %q: %w", clip(string(b)), err)
			}
		}
		l.words = append(l.words, w)
	}
	return l, nil
}

// word is the i-th, or "".
func (l line) word(i int) string {
	if i < len(l.words) {
		return l.words[i]
	}
	return ""
}

// number is the i-th word as a number; what is none is an error.
func (l line) number(i int) (int, error) {
	n, err := strconv.Atoi(l.word(i))
	if err != nil {
		return 0, fmt.Errorf("line %q: word %d is no number", l.verb, i+1)
	}
	return n, nil
}

// clip shortens what a script wrote, for a message.
func clip(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
