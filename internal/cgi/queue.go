package cgi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// QueueLimits bound one script. They belong to the script's route.
type QueueLimits struct {
	// Running is the most processes at once.
	Running int64
	// Length is the most requests that may wait for one.
	Length int
	// Wait is how long one may wait.
	Wait time.Duration
}

// QueueConfig sets up a [Queue].
type QueueConfig struct {
	// MaxRunning is the most processes at once over all scripts.
	MaxRunning int64
	// OneLine has all scripts wait in one line: they are one application's.
	OneLine bool
	// Waiting is told how the number of waiting requests changes (+1, -1), and
	// Waited how long a request has waited and how that ended (nil: it runs).
	Waiting func(req *Request, delta int)
	Waited  func(req *Request, d time.Duration, err error)
}

// Queue is a [Backend] that lets a bounded number of requests into the next one,
// first come, first served; those beyond wait, a bounded number of them and a
// bounded time. Then they fail with [ErrQueueFull] or [ErrQueueWait].
//
// A place is held until [Request.End], not until the answer has ended: what counts
// is processes.
type Queue struct {
	next Backend
	c    QueueConfig
	all  *semaphore.Weighted

	mu      sync.Mutex
	scripts map[string]*line // by key
}

// line is the queue of one script; it exists while somebody is in it.
type line struct {
	sem     *semaphore.Weighted
	users   int // waiting or running
	waiting int
}

// NewQueue puts a queue in front of next.
func NewQueue(next Backend, c QueueConfig) *Queue {
	return &Queue{next: next, c: c, all: semaphore.NewWeighted(c.MaxRunning), scripts: map[string]*line{}}
}

// RoundTrip waits for a place and passes the request on.
func (q *Queue) RoundTrip(ctx context.Context, req *Request) (*Response, error) {
	lim := req.Queue
	l := q.enter(req, lim)
	var waited time.Duration
	var err error
	if !q.tryAcquire(l) {
		waited, err = q.wait(ctx, l, req, lim)
	}
	if q.c.Waited != nil {
		q.c.Waited(req, waited, err)
	}
	if err != nil {
		q.leave(req, l)
		req.End(Exit{})
		return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
	}
	req.AtEnd(func(Exit) {
		q.all.Release(1)
		l.sem.Release(1)
		q.leave(req, l)
	})
	answered := false
	defer func() {
		if !answered { // a panic must not cost a place for ever
			req.End(Exit{})
		}
	}()
	res, err := q.next.RoundTrip(ctx, req)
	answered = true
	return res, err
}

// key names a line.
func (q *Queue) key(req *Request) string {
	if q.c.OneLine {
		return ""
	}
	return req.Script.File
}

// enter finds the script's line.
func (q *Queue) enter(req *Request, lim QueueLimits) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.scripts[q.key(req)]
	if l == nil {
		l = &line{sem: semaphore.NewWeighted(lim.Running)}
		q.scripts[q.key(req)] = l
	}
	l.users++
	return l
}

// leave forgets a line that nobody is in.
func (q *Queue) leave(req *Request, l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(q.scripts, q.key(req))
	}
}

// tryAcquire takes a place of the script's and one of all, if nobody waits for them.
func (q *Queue) tryAcquire(l *line) bool {
	if !l.sem.TryAcquire(1) {
		return false
	}
	if !q.all.TryAcquire(1) {
		l.sem.Release(1)
		return false
	}
	return true
}

// wait takes both places, as they become free.
func (q *Queue) wait(ctx context.Context, l *line, req *Request, lim QueueLimits) (time.Duration, error) {
	q.mu.Lock()
	if l.waiting >= lim.Length {
		q.mu.Unlock()
		return 0, fmt.Errorf("%w: %d wait", ErrQueueFull, lim.Length)
	}
	l.waiting++
	q.mu.Unlock()
	if q.c.Waiting != nil {
		q.c.Waiting(req, +1)
	}
	began := time.Now()
	err := waitFor(ctx, l.sem, lim.Wait)
	if err == nil {
		if err = waitFor(ctx, q.all, lim.Wait-time.Since(began)); err != nil {
			l.sem.Release(1)
		}
	}
	q.mu.Lock()
	l.waiting--
	q.mu.Unlock()
	if q.c.Waiting != nil {
		q.c.Waiting(req, -1)
	}
	return time.Since(began), err
}

// waitFor takes one place, in order of arrival.
func waitFor(ctx context.Context, sem *semaphore.Weighted, d time.Duration) error {
	waitCtx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if sem.Acquire(waitCtx, 1) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ErrGone
	}
	return ErrQueueWait
}
