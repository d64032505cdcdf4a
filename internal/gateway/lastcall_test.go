package gateway

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADoorThatClosesLetsInWhoHasConnectedAlready(t *testing.T) {
	s := newSite(t)
	for _, network := range []string{"unix", "tcp"} {
		address := map[string]string{"unix": s.path("s"), "tcp": "127.0.0.1:0"}[network]
		inner, err := net.Listen(network, address)
		require.NoError(t, err)
		l := newLastCall(inner, ownedFile())
		for range 5 {
			c, err := net.Dial(network, inner.Addr().String())
			require.NoError(t, err)
			defer c.Close()
		}
		first, err := l.Accept()
		require.NoError(t, err)
		first.Close()
		called := make(chan struct{})
		go func() { // ends when the queue is empty
			defer close(called)
			l.call(context.Background())
		}()
		for range 4 {
			c, err := l.Accept()
			require.NoError(t, err, network)
			c.Close()
		}
		_, err = l.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
		<-called
		_, err = net.Dial(network, inner.Addr().String())
		assert.Error(t, err)
	}
	assert.False(t, exists(s.path("s")))
}

func TestADoorThatClosesLeavesTheSocketOfTheNextServerAlone(t *testing.T) {
	s := newSite(t)
	old, err := net.Listen("unix", s.path("s"))
	require.NoError(t, err)
	l := newLastCall(old, ownedFile())
	l.call(context.Background()) // nobody accepts: it doesn't wait
	next, err := net.Listen("unix", s.path("s"))
	require.NoError(t, err)
	defer next.Close()
	l.Close()
	c, err := net.Dial("unix", s.path("s"))
	require.NoError(t, err)
	c.Close()
}

// ownedFile: the socket's file is to be removed.
func ownedFile() *atomic.Bool {
	b := new(atomic.Bool)
	b.Store(true)
	return b
}
