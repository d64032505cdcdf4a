//go:build unix

package rawio

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair is both ends of a Unix connection.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestAStreamWritesAllOfBothHoweverLittleRoomThereIs(t *testing.T) {
	a, b := pair(t)
	s := NewStream(a)
	first, second := make([]byte, 1<<20), make([]byte, 1<<20+7)
	rand.Read(first)
	rand.Read(second)
	var waits atomic.Int32
	done := make(chan error, 1)
	go func() {
		n, err := s.Write(first, second, func() { waits.Add(1) })
		assert.Equal(t, len(first)+len(second), n)
		a.Close()
		done <- err
	}()
	got, err := io.ReadAll(struct{ io.Reader }{NewStream(b)})
	require.NoError(t, err)
	require.NoError(t, <-done)
	assert.True(t, bytes.Equal(append(first, second...), got))
	assert.Positive(t, waits.Load(), "it is told when there is no room")
}

func TestAStreamsErrorsAreThoseOfItsConnection(t *testing.T) {
	a, b := pair(t)
	s := NewStream(a)
	a.SetReadDeadline(time.Unix(1, 0))
	_, err := s.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	a.SetReadDeadline(time.Time{})

	b.Close()
	_, err = s.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	_, err = s.Write([]byte("x"), nil, nil)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "write", op.Op)
	assert.ErrorIs(t, err, syscall.EPIPE)

	a.Close()
	_, err = s.Read(make([]byte, 1))
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = s.Write([]byte("x"), nil, nil)
	assert.ErrorIs(t, err, net.ErrClosed)
}

func TestAConnectionWithoutADescriptorHasNoStream(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	assert.Nil(t, NewStream(a))
}

func TestAStreamAllocatesNothing(t *testing.T) {
	a, b := pair(t)
	from, to := NewStream(a), NewStream(b)
	head, rest, buf := []byte("head"), []byte("rest"), make([]byte, 64)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		from.Write(head, rest, nil)
		to.Read(buf)
	}))
}
