package live

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxFailures are kept.
	maxFailures = 100
	// maxTails is of how many requests the end of standard error is kept.
	maxTails = 400
	// maxLines and maxLine bound what is kept of one.
	maxLines = 20
	maxLine  = 1 << 10
	// maxText bounds what a failure says of itself.
	maxText = 2 << 10
)

// A Failure is a request that went wrong.
type Failure struct {
	Number int64     `json:"number"` // counts up from 1
	At     time.Time `json:"at"`
	ID     string    `json:"id"`
	Status int       `json:"status"`
	// Why is the word for it in the metrics; script: the script itself has answered so.
	Why    string `json:"why"`
	Broken bool   `json:"broken_off,omitempty"` // the answer had begun
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Route  string `json:"route,omitempty"`
	Script string `json:"script,omitempty"`
	Mode   string `json:"mode,omitempty"`
	Error  string `json:"error,omitempty"`
	// Stderr are the last lines that the script has written to standard error.
	Stderr []string `json:"stderr,omitempty"`
}

// Failures are the last requests that went wrong.
type Failures struct {
	mu      sync.Mutex
	number  int64      // of the last one
	changes int64      // also lines that came later
	all     []*failure // the oldest first
	byID    map[string]*failure
	tails   map[string]*tail
	order   []string // of tails, the oldest first
}

type failure struct {
	Failure
	tail *tail
}

// tail is the end of what a request's script has written to standard error.
type tail struct{ lines []string }

func (t *tail) add(line string) {
	if len(t.lines) == maxLines {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:maxLines-1]
	}
	t.lines = append(t.lines, clip(line, maxLine))
}

// clip shortens a text, and lets go of what it was a part of.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Clone(s)
}

// Line takes one that a script has written for a request: as a rule before the request is
// known to have failed, but sometimes after it.
func (f *Failures) Line(id, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tails[id]
	if t == nil {
		if f.tails == nil {
			f.tails = map[string]*tail{}
		}
		if len(f.order) == maxTails {
			delete(f.tails, f.order[0])
			f.order = slices.Delete(f.order, 0, 1)
		}
		t = &tail{}
		f.tails[id] = t
		f.order = append(f.order, id)
	}
	t.add(line)
	if e := f.byID[id]; e != nil {
		e.tail = t
		f.changes++
	}
}

// Add notes a failure, and gives it its number.
func (f *Failures) Add(e Failure) {
	e.Error, e.Path, e.Query = clip(e.Error, maxText), clip(e.Path, maxText), clip(e.Query, maxText)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	f.changes++
	e.Number = f.number
	if len(f.all) == maxFailures {
		if old := f.all[0]; f.byID[old.ID] == old {
			delete(f.byID, old.ID)
		}
		f.all = slices.Delete(f.all, 0, 1)
	}
	one := &failure{Failure: e, tail: f.tails[e.ID]}
	f.all = append(f.all, one)
	if f.byID == nil {
		f.byID = map[string]*failure{}
	}
	f.byID[e.ID] = one
}

// Changes counts up when there is something new.
func (f *Failures) Changes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// Last are the failures of a script, the newest first, at most so many; "" is of all scripts.
func (f *Failures) Last(script string, most int) []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Failure{}
	for _, e := range slices.Backward(f.all) {
		if len(list) == most {
			break
		}
		if script != "" && e.Script != script {
			continue
		}
		one := e.Failure
		if e.tail != nil {
			one.Stderr = slices.Clone(e.tail.lines)
		}
		list = append(list, one)
	}
	return list
}
