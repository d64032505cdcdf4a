package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// maxListeners bounds the streams of events.
	maxListeners = 32
	// heartbeat is after how long without anything a sign of life is sent.
	heartbeat = 15 * time.Second
	// stall is how long a listener may take nothing.
	stall = 10 * time.Second
	// eventFailures is how many of the last failures are sent.
	eventFailures = 50
)

// hub wakes those who listen. Nothing is queued for them: who is slow gets the newest state,
// and not those between.
type hub struct {
	mu        sync.Mutex
	listeners map[chan struct{}]bool
	state     []byte // the newest, as JSON
	closed    chan struct{}
	once      sync.Once
}

func newHub() *hub {
	return &hub{listeners: map[chan struct{}]bool{}, closed: make(chan struct{})}
}

func (h *hub) close() { h.once.Do(func() { close(h.closed) }) }

// join adds a listener; nil: there are too many.
func (h *hub) join() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= maxListeners {
		return nil
	}
	c := make(chan struct{}, 1)
	h.listeners[c] = true
	return c
}

func (h *hub) leave(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, c)
}

func (h *hub) isWatched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners) > 0
}

// publish has everybody send a state, as soon as they can.
func (h *hub) publish(state []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = state
	for c := range h.listeners {
		select {
		case c <- struct{}{}:
		default: // it has not sent the one before yet
		}
	}
}

func (h *hub) newest() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// tick looks at the gateway once a second, until ctx ends.
func (d *Door) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			watched := d.hub.isWatched()
			d.g.Tick(now, watched)
			if !watched {
				continue
			}
			if b, err := json.Marshal(d.g.Live()); err != nil {
				d.c.Log.Error("the state of the gateway can't be written as JSON", "err", err)
			} else {
				d.hub.publish(b)
			}
		}
	}
}

// events is a stream of server-sent events: about and history once, live every second, and
// failures when there is a new one.
func (d *Door) events(w http.ResponseWriter, r *http.Request) {
	wake := d.hub.join()
	if wake == nil {
		no := &refusal{http.StatusServiceUnavailable, "listeners", fmt.Sprintf("%d listen already, which is the most", maxListeners)}
		d.metrics.refused.WithLabelValues(no.why).Inc()
		d.logRefusal(r, no)
		w.Header().Set("Retry-After", "10")
		refuse(w, no.code, no.text)
		return
	}
	d.metrics.listeners.Inc()
	defer func() {
		d.hub.leave(wake)
		d.metrics.listeners.Dec()
	}()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for an nginx before the door
	s := stream{w, http.NewResponseController(w)}
	if s.object("about", d.g.About()) != nil || s.object("history", d.history()) != nil || s.object("live", d.g.Live()) != nil {
		return
	}
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	seen := int64(-1)
	for {
		if n := d.g.FailureChanges(); n != seen {
			seen = n
			if s.object("failures", map[string]any{"failures": d.g.Failures("", eventFailures)}) != nil {
				return
			}
		}
		select {
		case <-wake:
			if s.event("live", d.hub.newest()) != nil {
				return
			}
		case <-alive.C:
			if s.send(": alive\n\n") != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-d.hub.closed:
			return
		}
	}
}

// stream is one listener's.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s stream) object(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.event(name, b)
}

// event sends one; JSON has no line breaks.
func (s stream) event(name string, data []byte) error {
	return s.send("event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (s stream) send(text string) error {
	s.rc.SetWriteDeadline(time.Now().Add(stall))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}
