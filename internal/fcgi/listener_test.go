package fcgi

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A closedListener accepts nothing.
type closedListener struct{ net.Listener }

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }

// A failingListener fails for now, then for good.
type failingListener struct {
	closedListener
	n int
}

var errForGood = errors.New("for good")

func (l *failingListener) Accept() (net.Conn, error) {
	if l.n++; l.n < 3 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return nil, errForGood
}

func TestServeTriesAgainWhenDescriptorsRunOut(t *testing.T) {
	l := &failingListener{}
	s := &Server{}
	assert.ErrorIs(t, s.Serve(l), errForGood)
	assert.Equal(t, 3, l.n)
	assert.NoError(t, s.Close())
	assert.ErrorIs(t, s.Serve(l), ErrServerClosed)
}
