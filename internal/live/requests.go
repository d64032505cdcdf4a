package live

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A Request is one under way. It lies within what its owner has for it anyway.
type Request struct {
	ID, Method, Path, Query string
	Began                   time.Time

	// The list's lock guards what is below.
	script     string
	prev, next *Request
}

// Requests are those under way.
type Requests struct {
	mu    sync.Mutex // held for some instructions, or while All looks
	first *Request
	n     int
}

// Enter adds one, which must stay as it is until it leaves.
func (l *Requests) Enter(r *Request) {
	l.mu.Lock()
	r.prev, r.next = nil, l.first
	if l.first != nil {
		l.first.prev = r
	}
	l.first = r
	l.n++
	l.mu.Unlock()
}

// Runs notes which script answers.
func (l *Requests) Runs(r *Request, script string) {
	l.mu.Lock()
	r.script = script
	l.mu.Unlock()
}

// Leave takes it out.
func (l *Requests) Leave(r *Request) {
	l.mu.Lock()
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	l.n--
	l.mu.Unlock()
}

// Len is how many there are.
func (l *Requests) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Underway is what there is to tell of a request.
type Underway struct {
	ID     string    `json:"id"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query,omitempty"`
	Script string    `json:"script,omitempty"`
	Began  time.Time `json:"began"`
}

// Oldest are the ones that have been under way for the longest, at most so many.
func (l *Requests) Oldest(most int) []Underway {
	l.mu.Lock()
	all := make([]Underway, 0, l.n)
	for r := l.first; r != nil; r = r.next {
		all = append(all, Underway{ID: r.ID, Method: r.Method, Path: r.Path, Query: r.Query, Script: r.script, Began: r.Began})
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b Underway) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID)) })
	return all[:min(most, len(all))]
}
