package main

import (
	"bufio"
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// round is one measurement of one server.
type round struct {
	Requests int
	Wrong    int // answers that were not the right one, and connections that broke
	Seconds  float64
	CPU      float64 // seconds, of the server's process tree
	Memory   int64   // PSS of the tree, at the end
	Load     float64 // CPU seconds of the load generator itself
	P50, P99 time.Duration
	Inside   *inside `json:",omitempty"` // of our own server
}

func (r *round) rps() float64 { return float64(r.Requests) / r.Seconds }

// cpuPerRequest is in microseconds.
func (r *round) cpuPerRequest() float64 { return r.CPU * 1e6 / float64(max(r.Requests, 1)) }

// measure asks over n connections, each as fast as it is answered, for the time of d.
func (s *server) measure(ctx context.Context, w *workload, n int, d time.Duration) (*round, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	look, err := s.look()
	if err != nil {
		return nil, err
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	began, load := time.Now(), ownCPU()
	clients := make([]client, n)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i].run(ctx, s.addr, w) }) // ends with ctx
	}
	wg.Wait()
	r := &round{Seconds: time.Since(began).Seconds(), Load: ownCPU() - load}
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	r.CPU, r.Memory = after.cpu-before.cpu, after.memory
	var times []time.Duration
	for i := range clients {
		times = append(times, clients[i].times...)
		r.Wrong += clients[i].wrong
	}
	if r.Requests = len(times); r.Requests > 0 {
		slices.Sort(times)
		r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	r.Inside, err = s.since(look, r.Requests-n)
	return r, err
}

// client is one connection's worth of requests.
type client struct {
	times []time.Duration
	wrong int
}

// maxRequests bounds what one connection asks in one measurement.
const maxRequests = 1 << 20

// answerTime is how long an answer may take behind the end of a measurement.
const answerTime = 10 * time.Second

func (c *client) run(ctx context.Context, addr string, w *workload) {
	var conn net.Conn
	var r *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	request := requestFor(addr, w)
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	for ctx.Err() == nil && len(c.times)+c.wrong < maxRequests {
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", addr, time.Second); err != nil {
				c.wrong++
				time.Sleep(10 * time.Millisecond)
				continue
			}
			conn.SetDeadline(end.Add(answerTime)) // once: each setting of it costs
			r = bufio.NewReader(conn)
		}
		began := time.Now()
		keep, err := ask(conn, r, request, w)
		if err != nil {
			c.wrong++
		} else {
			c.times = append(c.times, time.Since(began))
		}
		if err != nil || !keep {
			conn.Close()
			conn = nil
		}
	}
}

func requestFor(addr string, w *workload) []byte {
	return []byte("GET " + w.target() + " HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
}

// ask sends one request and checks the answer.
func ask(conn net.Conn, r *bufio.Reader, request []byte, w *workload) (keep bool, err error) {
	if _, err := conn.Write(request); err != nil {
		return false, err
	}
	return readAnswer(r, w.body)
}

// once asks for one answer.
func once(addr string, w *workload) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err = ask(conn, bufio.NewReader(conn), requestFor(addr, w), w)
	return err
}
