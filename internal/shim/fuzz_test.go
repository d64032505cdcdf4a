package shim

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOrder: no octets on the control socket are more than an error, and an order that is
// obeyed is whole: written again it is read the same, and nothing behind it was taken.
func FuzzOrder(f *testing.F) {
	o := &Order{Version: Version, Script: "/a\xff", Dir: "/", Mode: Spawn, Argv: []string{"/bin/sh", ""}, Env: []string{"A=\x01"}, Gateway: 7}
	b, err := o.Encode()
	require.NoError(f, err)
	f.Add(b)
	for _, in := range []string{"", ":", "0:,", "2:{},", "5:{},", "-1:,", "99999999999999999999:", "16777217:x", "16:{\"Version\":null},", "14:{\"Version\": 2},", "20:{\"Version\":2,\"Env\":[},"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		o, err := readOrder(r)
		if err != nil {
			return
		}
		require.Equal(t, Version, o.Version)
		taken := in[:len(in)-r.Len()]
		colon := bytes.IndexByte(taken, ':')
		require.True(t, colon >= 0 && taken[len(taken)-1] == ',', "%q", taken)
		b, err := o.Encode()
		require.NoError(t, err)
		again, err := readOrder(bytes.NewReader(b))
		require.NoError(t, err)
		require.Equal(t, o, again)
	})
}

// FuzzSpawned: what the shim says is a process that can be waited for and signalled, or an
// error; and the text of an error arrives as it was.
func FuzzSpawned(f *testing.F) {
	for _, in := range []string{"pid 12\n", "pid 12\nfailed 2 \n", "failed 1 user%20x\n", "pid -12\n", "pid 0\n", "pid 1\n", "pid\n", "pid 99999999999999999999\n", "failed x y\n", "failed -1 %\n", "hello\n", "\n", "pid 12", strings.Repeat("x", 70000)} {
		f.Add(in, "user x: 100% not\n\xff")
	}
	f.Fuzz(func(t *testing.T, in, text string) {
		pid, err := Spawned(strings.NewReader(in))
		require.True(t, err != nil || pid > 1, "%q: %d", in, pid)
		require.True(t, pid == 0 || pid > 1, "%q: %d", in, pid)
		if len(text) > 10_000 || text == "" {
			return
		}
		_, err = Spawned(strings.NewReader("pid 7\n" + failedToSpawn(errors.Join(errors.New(text), syscall.EPERM))))
		require.EqualError(t, err, errors.Join(errors.New(text), syscall.EPERM).Error())
		require.ErrorIs(t, err, syscall.EPERM)
		require.Equal(t, text, Unescape(Escape(text)))
	})
}
