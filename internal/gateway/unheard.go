package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// hearing is the part of a conn that tells a request that net/http has answered, or dropped, by
// itself: it has a beginning, and none of our handlers has seen it.
type hearing struct {
	fresh atomic.Bool // nothing of one has come, or a TLS handshake
	began atomic.Bool // of a request that no handler has seen
	broke atomic.Bool // a PROXY header was none
	late  atomic.Bool // the last read has timed out
	ended atomic.Bool // the last read has found the end
}

// read notes how a read went.
func (h *hearing) read(err error) {
	switch {
	case err == nil && h.late.Load(): // net/http ends its read ahead so
		h.late.Store(false)
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		h.late.Store(true)
	case errors.Is(err, io.EOF):
		h.ended.Store(true)
	case !errors.As(err, new(*net.OpError)):
		h.broke.Store(true)
	}
}

// changed is for [http.Server.ConnState]. It returns why net/http has turned a request away; "" is that
// it has not.
func (h *hearing) changed(is http.ConnState) (why string) {
	switch is {
	case http.StateNew:
		h.fresh.Store(true)
	case http.StateActive:
		h.fresh.Store(false)
		h.began.Store(true)
	case http.StateIdle:
		h.began.Store(false)
	case http.StateClosed:
		switch {
		case !h.began.Load() && !(h.fresh.Load() && (h.late.Load() || h.broke.Load())):
		case h.late.Load():
			return "timeout"
		case h.ended.Load():
			return "cut"
		default:
			return "refused"
		}
	}
	return ""
}

// newUnheard makes the counter of such requests.
func newUnheard() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "warmcgi_heads_refused_total",
		Help: "Requests over HTTP whose head was no request, by why (refused: it is not HTTP, or too large; timeout: it, or a TLS handshake, did not come in time; cut: the client has gone).",
	}, []string{"why"})
}

// unheard counts and logs a request that no handler has seen.
func (s *Server) unheard(c net.Conn, why string) {
	s.metrics.unheard.WithLabelValues(why).Inc()
	client := ""
	if a := c.RemoteAddr(); a != nil {
		client = a.String()
	}
	s.log.Debug("a request ended in its head", "why", why, "client", client)
}
