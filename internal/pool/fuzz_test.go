package pool

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"warmcgi/internal/shim"
)

// FuzzLine: no line of a warm parent is more than an error; what is taken is bounded, and its
// words are those that were written.
func FuzzLine(f *testing.F) {
	for _, in := range []string{
		"forked 12\n", "exit 12 0 100 200\n", "done 12 0 left%20a%0Afile\n", "failed no%20such\n", "late 12 a b\n", "hello 1 cookie perl 5.36\n", "exit -1 x\n", "file /a%ff\n", "file %zz\n", "file %\n", "  \n", "\n", "no end",
		"forked 99999999999999999999\n", strings.Repeat("x", maxLine+1) + "\n", "a\x00b c\n", "a  b \n",
	} {
		f.Add([]byte(in), "word", "two words\n\xff%")
	}
	f.Fuzz(func(t *testing.T, in []byte, verb, word string) {
		r := bufio.NewReaderSize(strings.NewReader(string(in)), maxLine)
		for {
			l, err := readLine(r)
			if err != nil {
				break
			}
			size := len(l.verb)
			for i, w := range l.words {
				size += 1 + len(w)
				require.Equal(t, w, l.word(i))
			}
			require.Less(t, size, maxLine)
			require.NotContains(t, l.verb, "\n")
			require.Empty(t, l.word(len(l.words)))
			if _, err := l.number(0); err == nil {
				require.NotEmpty(t, l.words)
			}
		}
		verb = shim.Escape(verb)
		text := verb + " " + shim.Escape(word) + " " + shim.Escape(word) + "\n"
		if len(text) > maxLine {
			return
		}
		l, err := readLine(bufio.NewReaderSize(strings.NewReader(text), maxLine))
		require.NoError(t, err)
		require.Equal(t, line{verb, []string{word, word}}, l)
	})
}
