package cgi

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRequestOfAWorker: what a worker gets is one netstring of pairs (docs/worker-protocol.md),
// in which each variable and argument is itself and no other, or the request is refused.
func FuzzRequestOfAWorker(f *testing.F) {
	f.Add("A", "b", "arg", "QUERY_STRING")
	f.Add("A", "b\x00HTTP_EVIL\x00c", "", "")
	f.Add("=arg", "x", "\x00", "A=B")
	f.Add("", "", "a=b", "\xff\n")
	f.Add("A\x00B", "9:", ",", "a,1:")
	f.Fuzz(func(t *testing.T, name, value, arg, other string) {
		name, other = strings.ReplaceAll(name, "=", "_"), strings.ReplaceAll(other, "=", "_")
		if name == other || name == "" || other == "" {
			return // no variable has no name, and none comes twice
		}
		req := &Request{Script: Script{Name: "x", Args: []string{arg, arg + "2"}}, Env: []string{other + "=" + value + value}, Vars: []string{name + "=" + value}}
		b, from, err := appendRequest([]byte("before")[:0], req)
		if err != nil {
			require.ErrorIs(t, err, ErrStart)
			require.Contains(t, name+value+arg+other, "\x00")
			return
		}
		digits, rest, ok := bytes.Cut(b[from:], []byte(":"))
		require.True(t, ok)
		n, err := strconv.Atoi(string(digits))
		require.NoError(t, err)
		require.Equal(t, digits, []byte(strconv.Itoa(n)))
		require.Len(t, rest, n+1)
		require.Equal(t, byte(','), rest[n])
		words := strings.Split(string(rest[:n]), "\x00")
		require.Equal(t, []string{other, value + value, name, value, "=arg", arg, "=arg", arg + "2", ""}, words)
	})
}
