package fcgi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"warmcgi/internal/cgi"
)

// waiter is a request that waits for a server.
type waiter struct {
	tried attempts
	// got brings the server, whose request is counted already; nil is that there is none.
	got chan *server
}

// place finds a server for a request, and counts the request. It waits while those that
// there are have no room. [cgi.ErrUnreachable]: there is none left to try.
func (u *Upstream) place(ctx context.Context, req *cgi.Request, tried *attempts) (*server, error) {
	u.mu.Lock()
	s, none := u.chooseInTurn(tried)
	if s != nil {
		u.mu.Unlock()
		u.waited(req, 0, nil, tried)
		return s, nil
	}
	if none {
		u.mu.Unlock()
		return nil, tried.nobody()
	}
	if len(u.line) >= req.Queue.Length {
		u.mu.Unlock()
		err := fmt.Errorf("%w: %d wait", cgi.ErrQueueFull, req.Queue.Length)
		u.waited(req, 0, err, tried)
		return nil, err
	}
	if err := u.pace.Refuse(len(u.line), req.Queue.Wait); err != nil {
		u.mu.Unlock()
		u.waited(req, 0, err, tried)
		return nil, err
	}
	w := &waiter{tried: *tried, got: make(chan *server, 1)}
	u.line = append(u.line, w)
	began := time.Now()
	u.pace.Wait(began)
	u.mu.Unlock()

	if u.c.Waiting != nil {
		u.c.Waiting(req, +1)
		defer u.c.Waiting(req, -1)
	}
	limit := time.NewTimer(req.Queue.Wait)
	defer limit.Stop()
	var err error
	select {
	case s = <-w.got:
	case <-ctx.Done():
		err = cgi.ErrGone
	case <-limit.C:
		err = cgi.ErrQueueWait
	}
	if err != nil {
		u.mu.Lock()
		if at := slices.Index(u.line, w); at >= 0 {
			if u.line = slices.Delete(u.line, at, at+1); len(u.line) == 0 {
				u.pace.Rest()
			}
		} else if got := <-w.got; got != nil { // in the same moment
			got.running--
			u.serveLine()
		}
		u.mu.Unlock()
	} else if s == nil {
		return nil, tried.nobody()
	}
	u.waited(req, time.Since(began), err, tried)
	return s, err
}

// chooseInTurn is choose for a request that has just come: those that wait come first. The
// caller must hold u.mu.
func (u *Upstream) chooseInTurn(tried *attempts) (s *server, none bool) {
	if len(u.line) > 0 && tried.err == nil {
		return nil, false
	}
	return u.choose(tried)
}

// serveLine gives servers to those that wait, in order of arrival. The caller must hold
// u.mu.
func (u *Upstream) serveLine() {
	for len(u.line) > 0 {
		s, none := u.choose(&u.line[0].tried)
		if s == nil && !none {
			return
		}
		u.line[0].got <- s
		u.line[0] = nil
		if u.line = u.line[1:]; len(u.line) == 0 {
			u.pace.Rest()
		} else if s != nil {
			u.pace.Turn(time.Now())
		}
	}
}

// waited tells how long a request has waited before it was sent the first time.
func (u *Upstream) waited(req *cgi.Request, d time.Duration, err error, tried *attempts) {
	if u.c.Waited != nil && tried.err == nil {
		u.c.Waited(req, d, err)
	}
}

// nobody is that there is no server to try, or no other.
func (a *attempts) nobody() error {
	switch {
	case a.err == nil:
		return fmt.Errorf("%w: there is no server", cgi.ErrUnreachable)
	case len(a.failed) > 1:
		return fmt.Errorf("%w (the last of %d servers that were tried)", a.err, len(a.failed))
	}
	return a.err
}
