package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// round is one measurement of one server.
type round struct {
	Requests   int
	Within     float64 // requests, of which one that ended late counts for the part within Seconds
	Wrong      int     // answers that were not the right one, and connections that broke
	Unanswered int     // requests that had no answer when the patience was over
	Starving   int     // connections that got fewer answers than a tenth of an equal share
	Seconds    float64
	CPU        float64 // seconds, of the server's process tree
	Behind     float64 // of these, php-fpm's
	Memory     int64   // PSS of the tree, at the end
	Growth     int64   // of the server's own processes at their largest, over what they had with small answers
	Load       float64 // CPU seconds of the load generator itself
	P50, P99   time.Duration
	Longest    time.Duration // wait for an answer, or in vain
	Inside     *inside       `json:",omitempty"` // of our own server
	Offered    *offered      `json:",omitempty"` // of the trial overload
	Idle       *idling       `json:",omitempty"` // of the trial with idle clients
}

func (r *round) rps() float64 { return r.Within / r.Seconds }

// cpuPerRequest is in microseconds.
func (r *round) cpuPerRequest() float64 { return r.CPU * 1e6 / float64(max(r.Requests, 1)) }

func (r *round) memory() float64 { return float64(r.Memory) }

// measure asks over n connections, each as fast as it is answered, for the time of d.
func (s *server) measure(ctx context.Context, w *workload, n int, d time.Duration) (*round, error) {
	look, err := s.look()
	if err != nil {
		return nil, err
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	s.forgetPeak()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began, load := time.Now(), ownCPU()
	clients := make([]client, n)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i].run(ctx, s, w) }) // ends with ctx, and the answer that is waited for
	}
	<-ctx.Done()
	r := &round{Seconds: time.Since(began).Seconds()}
	wg.Wait()
	r.Load = ownCPU() - load
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	r.CPU, r.Behind, r.Memory, r.Growth = after.cpu-before.cpu, after.behind-before.behind, after.memory, s.growth()
	r.sum(clients)
	r.Inside, err = s.since(look, r.Requests-n)
	return r, err
}

// client is one connection's worth of requests.
type client struct {
	times      []time.Duration
	within     float64
	wrong      int
	unanswered int
	longest    time.Duration
}

const (
	// maxRequests bounds what one connection asks in one measurement.
	maxRequests = 1 << 20
	// patience is how long an answer may take behind the end of a measurement.
	patience = 10 * time.Second
)

func (c *client) run(ctx context.Context, s *server, w *workload) {
	var conn net.Conn
	var r *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	speak := s.language()
	request := speak.request(s.addr, w)
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	for ctx.Err() == nil && len(c.times)+c.wrong < maxRequests {
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", s.addr, time.Second); err != nil {
				c.wrong++
				time.Sleep(10 * time.Millisecond)
				continue
			}
			conn.SetDeadline(end.Add(w.patience())) // once: each setting of it costs
			r = bufio.NewReaderSize(conn, w.readSize())
		}
		began := time.Now()
		keep, err := ask(conn, r, request, speak, w)
		c.took(began, time.Now(), end, err)
		if err != nil || !keep {
			conn.Close()
			conn = nil
		}
	}
}

// took counts one request.
func (c *client) took(began, done, end time.Time, err error) {
	d := done.Sub(began)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.unanswered++
	case err != nil:
		c.wrong++
		return
	default:
		c.times = append(c.times, d)
		c.within += min(1, end.Sub(began).Seconds()/max(d.Seconds(), 1e-9))
	}
	c.longest = max(c.longest, d)
}

// language is how a door is spoken to.
type language struct {
	request func(addr string, w *workload) []byte
	answer  func(r *bufio.Reader, want content) (keep bool, err error)
}

// language is HTTP where nothing else is said.
func (s *server) language() language {
	if s.speaks.request != nil {
		return s.speaks
	}
	return language{requestFor, readAnswer}
}

// requestFor has the body in it, but for a large one: its head, then.
func requestFor(addr string, w *workload) []byte {
	request := w.method() + " " + w.target() + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if w.upload != "" {
		request += fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", w.sends())
	}
	request += "\r\n"
	if w.uploadSize == 0 {
		request += w.upload
	}
	return []byte(request)
}

// ask sends one request and checks the answer.
func ask(conn net.Conn, r *bufio.Reader, request []byte, speak language, w *workload) (keep bool, err error) {
	if _, err := conn.Write(request); err != nil {
		return false, err
	}
	if w.uploadSize > 0 {
		piece := []byte(w.upload)
		for left := w.uploadSize; left > 0; left -= int64(len(piece)) {
			if _, err := conn.Write(piece[:min(left, int64(len(piece)))]); err != nil {
				return false, err
			}
		}
	}
	return speak.answer(r, w.content())
}

// once asks for one answer.
func (s *server) once(w *workload) error {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	speak := s.language()
	_, err = ask(conn, bufio.NewReaderSize(conn, w.readSize()), speak.request(s.addr, w), speak, w)
	return err
}
