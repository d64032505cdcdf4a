package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"warmcgi/internal/proctree"
)

// Many clients that have been answered once and keep their connections, while a few ask as
// fast as they are answered; then each of the many asks again.

// idleCount is how many there are.
const idleCount = 10_000

// idling is what they cost.
type idling struct {
	Clients   int
	PerClient float64 // octets of resident memory of the gateway's process
	Failed    int     // requests of the idle clients, before and after
	Failure   string  `json:",omitempty"` // the first of them
}

// idleClients is a trial.
func idleClients(ctx context.Context, s *server, w *workload, n int, d time.Duration) (*round, error) {
	return s.withIdle(ctx, w, n, d, idleCount)
}

func (s *server) withIdle(ctx context.Context, w *workload, n int, d time.Duration, count int) (*round, error) {
	if _, err := s.measure(ctx, w, n, d); err != nil { // what load alone takes is not theirs
		return nil, err
	}
	if s.rest == 0 { // later rounds find the room that the first clients have left
		s.rest = s.gatewayMemory()
	}
	crowd := &crowd{s: s, w: w, request: requestFor(s.addr, w), members: make([]openConn, count)}
	defer crowd.close()
	crowd.ask(n)
	after := s.gatewayMemory()
	r, err := s.measure(ctx, w, n, d)
	if err != nil {
		return nil, err
	}
	crowd.ask(n)
	r.Idle = &idling{Clients: count, PerClient: float64(after-s.rest) / float64(count), Failed: int(crowd.failed.Load())}
	if err := crowd.failure.Load(); err != nil {
		r.Idle.Failure = (*err).Error()
	}
	return r, nil
}

// gatewayMemory is the resident memory of the gateway's process alone.
func (s *server) gatewayMemory() int64 {
	return proctree.Status(s.procs[len(s.procs)-1].Process.Pid, "VmRSS")
}

// crowd is the idle clients.
type crowd struct {
	s       *server
	w       *workload
	request []byte
	members []openConn
	failed  atomic.Int64
	failure atomic.Pointer[error]
}

// ask has each member ask once, n at a time.
func (c *crowd) ask(n int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { // ends with the last member's answer
			for i := next.Add(1) - 1; i < int64(len(c.members)); i = next.Add(1) - 1 {
				if err := c.once(&c.members[i]); err != nil {
					c.failed.Add(1)
					c.failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
}

// once asks over a member's connection, which is made when there is none yet.
func (c *crowd) once(m *openConn) error {
	if m.Conn == nil {
		conn, err := net.DialTimeout("tcp", c.s.addr, 5*time.Second)
		if err != nil {
			return err
		}
		*m = openConn{conn, bufio.NewReaderSize(conn, 512)}
	}
	m.SetDeadline(time.Now().Add(patience))
	if _, err := m.Write(c.request); err != nil {
		return err
	}
	keep, err := readAnswer(m.r, c.w.content())
	if err == nil && !keep {
		err = fmt.Errorf("the connection was not kept")
	}
	return err
}

func (c *crowd) close() {
	for i := range c.members {
		if m := &c.members[i]; m.Conn != nil {
			m.Close()
		}
	}
}
