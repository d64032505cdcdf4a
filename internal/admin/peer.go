package admin

import (
	"context"
	"net"
)

type peerKey struct{}

// WithPeer is for [net/http.Server].ConnContext: it notes who is at the other end of a Unix
// socket, where the system says so.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	if user := userOf(u); user != "" {
		return context.WithValue(ctx, peerKey{}, user)
	}
	return ctx
}
