package fcgi

import "time"

const (
	// learnTime is how long it is looked how many requests the application has at most.
	learnTime = 100 * time.Millisecond
	// learnClaims is how many connections must have been closed in that time for requests
	// that waited.
	learnClaims = 32
	// learnEach is after how many of them it is looked: that takes a system call for each
	// request.
	learnEach = 8
	// learnedFor is how long what was learned holds. Then more processes may be there.
	learnedFor = 2 * time.Second
)

// A learner finds out how many requests at once an application takes where nobody says so.
//
// Where it has fewer processes than there are requests, nearly each finished connection is
// closed for a request that waits, and a new one is made for the next: see makeWay. That is
// fair, and costs as much again as the rest of the way. The most requests that it was seen
// to have taken at the same time, over many looks, is how many processes it has for us; when
// no more are sent, the others wait here, and connections are kept.
type learner struct {
	since  time.Time
	claims int
	most   int
}

// claimed notes that a connection is closed for a request that waits. It returns how many
// requests the application takes, or 0 as long as that is not known. taken is asked how many
// it has now.
func (l *learner) claimed(now time.Time, taken func() int) int {
	if now.Sub(l.since) > 2*learnTime { // there was a time without
		*l = learner{since: now}
	}
	l.claims++
	if l.claims%learnEach == 1 {
		l.most = max(l.most, taken())
	}
	if now.Sub(l.since) < learnTime {
		return 0
	}
	most := l.most
	if l.claims < learnClaims {
		most = 0
	}
	*l = learner{since: now}
	return most
}

// full lets a server have no more requests than it was seen to take, for a while. Requests
// that wait are served when that is over, too.
func (u *Upstream) full(s *server, room int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if room >= s.room {
		return
	}
	s.learned, s.learnedUntil = room, time.Now().Add(learnedFor)
	time.AfterFunc(learnedFor, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.serveLine()
	})
}

// roomNow is how many requests a server may have. The caller must hold the Upstream's lock.
func (s *server) roomNow(now time.Time) int {
	if now.Before(s.learnedUntil) {
		return min(s.room, s.learned)
	}
	return s.room
}
