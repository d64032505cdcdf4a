package cgi

import "golang.org/x/sync/semaphore"

// maxRunning is the most that a line can be made to let through at once.
const maxRunning = 1 << 20

// newLine makes a line that lets so many through at once. Its semaphore is larger, and what
// is beyond is taken, so that it can be changed.
func newLine(size int64) *line {
	size = min(size, maxRunning)
	l := &line{sem: semaphore.NewWeighted(maxRunning), size: size, places: size}
	l.sem.TryAcquire(maxRunning - size)
	return l
}

// SetRunning has the most processes of a script, by its file, be n from now on. Those that run
// beyond it end what they do. Where it is kept it also holds for requests that bring another
// number; else n is the one that they bring.
func (q *Queue) SetRunning(file string, n int64, keep bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if keep {
		q.most[file] = n
	} else {
		delete(q.most, file)
	}
	for key, l := range q.scripts {
		if key.file == file {
			q.resizeLocked(l, n)
		}
	}
}

// SetMaxRunning changes how many processes run at once, over all scripts. Those that run beyond it end what they do.
func (q *Queue) SetMaxRunning(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resizeLocked(q.all, n)
}

// resizeLocked changes a line that somebody is in. The caller must hold q.mu.
func (q *Queue) resizeLocked(l *line, n int64) {
	l.size = min(n, maxRunning)
	if more := l.size - l.places; more > 0 {
		l.places += more
		l.sem.Release(more)
	}
	for l.places > l.size && l.sem.TryAcquire(1) {
		l.places-- // one that is free; the others go when they are given back
	}
}

// giveBack gives back a place: to those that wait, unless there are too many.
func (q *Queue) giveBack(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.places > l.size {
		l.places--
		return
	}
	l.sem.Release(1)
}
