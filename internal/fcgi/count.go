package fcgi

import "sync/atomic"

// An Event is something that a [Server] counts.
type Event uint8

const (
	EventAccepted     Event = iota // a connection
	EventRequest                   // one that a handler got
	EventAborted                   // one that the front server has aborted (spec 5.4)
	EventGone                      // one whose connection has ended before its answer
	EventTooLong                   // its variables are longer than MaxParams: status 431
	EventBadParams                 // its variables can't be read: status 400
	EventTooSlow                   // it took longer than ReadTimeout to come: status 408 where there is a request
	EventUnknownRole               // it was to be answered in another role than the responder's
	EventMultiplexed               // it came while the connection had another one
	EventProtocol                  // the connection broke the protocol, and was closed
	EventFull                      // a connection that had to wait, as there were MaxConns already
	EventEvicted                   // an idle connection that was closed in favour of one that waited
	EventAcceptFailed              // a connection could not be accepted, for want of descriptors
	numEvents
)

type counts [numEvents]atomic.Uint64

// Count is how often something has happened.
func (s *Server) Count(e Event) uint64 { return s.counts[e].Load() }

func (s *Server) count(e Event) { s.counts[e].Add(1) }

// Conns is how many connections there are.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
