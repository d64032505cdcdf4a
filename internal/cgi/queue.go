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
	// Processors are those that the processes share; 0 is one.
	Processors int
	// OneLine has all scripts wait in one line: they are one application's.
	OneLine bool
	// Waiting is told how the number of waiting requests changes (+1, -1), and
	// Waited how long a request has waited and how that ended (nil: it runs).
	Waiting func(req *Request, delta int)
	Waited  func(req *Request, d time.Duration, err error)
}

// Queue is a [Backend] that lets a bounded number of requests into the next one,
// first come, first served; those beyond wait, a bounded number of them and a
// bounded time. Then they fail with [ErrQueueFull] or [ErrQueueWait]; with the latter at
// once where they would wait in vain.
//
// A place is held until [Request.End], not until the answer has ended: what counts
// is processes.
type Queue struct {
	next Backend
	c    QueueConfig
	all  *line // the places of all scripts together

	mu      sync.Mutex
	scripts map[lineKey]*line
	most    map[string]int64 // by file: what SetRunning has said
	costs   costs            // by file
}

// lineKey names a line. Where the limit that a script's requests bring changes, those under the new one have a line of
// their own: the old one may never be empty.
type lineKey struct {
	file    string
	running int64
}

// line is the queue of one script; it exists while somebody is in it.
type line struct {
	key     lineKey
	sem     *semaphore.Weighted
	users   int // waiting or running
	waiting int
	pace    Pace

	size   int64 // how many it is to let through at once
	places int64 // how many it does: more than size until some have ended
}

// NewQueue puts a queue in front of next.
func NewQueue(next Backend, c QueueConfig) *Queue {
	return &Queue{next: next, c: c, all: newLine(c.MaxRunning), scripts: map[lineKey]*line{}, most: map[string]int64{}, costs: costs{}}
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
		q.leave(l, Exit{})
		req.End(Exit{})
		return nil, fmt.Errorf("script %s: %w", req.Script.Name, err)
	}
	req.AtEnd(func(e Exit) {
		q.giveBack(q.all)
		q.giveBack(l)
		q.leave(l, e)
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

func (q *Queue) key(req *Request) lineKey {
	if q.c.OneLine {
		return lineKey{}
	}
	return lineKey{req.Script.File, req.Queue.Running}
}

// enter finds the script's line.
func (q *Queue) enter(req *Request, lim QueueLimits) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := q.key(req)
	l := q.scripts[key]
	if l == nil {
		most := lim.Running
		if n, ok := q.most[key.file]; ok {
			most = n
		}
		l = newLine(most)
		l.key = key
		q.scripts[key] = l
	}
	l.users++
	return l
}

// leave forgets a line that nobody is in, but not what it has cost.
func (q *Queue) leave(l *line, e Exit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.costs.note(l.key.file, e)
	if l.users--; l.users == 0 {
		delete(q.scripts, l.key)
	}
}

// tryAcquire takes a place of the script's and one of all, if nobody waits for them.
func (q *Queue) tryAcquire(l *line) bool {
	if !l.sem.TryAcquire(1) {
		return false
	}
	if !q.all.sem.TryAcquire(1) {
		q.giveBack(l)
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
	l.pace.Least = q.costs[l.key.file] / time.Duration(max(q.c.Processors, 1))
	if err := l.pace.Refuse(l.waiting, lim.Wait); err != nil {
		q.mu.Unlock()
		return 0, err
	}
	began := time.Now()
	l.pace.Wait(began)
	l.waiting++
	q.mu.Unlock()
	if q.c.Waiting != nil {
		q.c.Waiting(req, +1)
	}
	err := waitFor(ctx, l.sem, lim.Wait)
	if err == nil {
		if err = waitFor(ctx, q.all.sem, lim.Wait-time.Since(began)); err != nil {
			q.giveBack(l)
		}
	}
	now := time.Now()
	q.mu.Lock()
	if err == nil {
		l.pace.Turn(now)
	}
	if l.waiting--; l.waiting == 0 {
		l.pace.Rest()
	}
	q.mu.Unlock()
	if q.c.Waiting != nil {
		q.c.Waiting(req, -1)
	}
	return now.Sub(began), err
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
