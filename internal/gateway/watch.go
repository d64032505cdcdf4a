package gateway

import (
	"sync"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/live"
)

// watch is what the admin door shows of this moment. Requests only add to it.
type watch struct {
	began       time.Time
	showQueries bool
	requests    live.Requests
	all         live.Pulse
	failures    live.Failures

	mu        sync.Mutex
	history   live.History
	sample    live.Sample               // the last one
	scripts   map[string]*scriptFigures // while somebody looks
	scriptsAt time.Time
}

func newWatch(showQueries bool) *watch { return &watch{began: time.Now(), showQueries: showQueries} }

// stderr also keeps what scripts write, for the failures.
func (w *watch) stderr(next func(*cgi.Request, string)) func(*cgi.Request, string) {
	return func(req *cgi.Request, line string) {
		w.failures.Line(req.ID, line)
		next(req, line)
	}
}

// failed reports whether an exchange has gone wrong by no fault of the client's.
func (x *exchange) failed() bool { return x.status >= 500 || x.broken }

// ended counts an exchange.
func (w *watch) ended(x *exchange, took time.Duration, failed bool) {
	w.all.Add(took, failed)
	if !failed {
		return
	}
	f := live.Failure{
		At: time.Now(), ID: x.id, Status: x.status, Why: x.why, Broken: x.broken, Method: x.now.Method, Path: x.now.Path,
		Route: x.route.label(), Script: x.script, Mode: x.mode,
	}
	if f.Why == "" {
		f.Why = "script"
	}
	if x.err != nil {
		f.Error = x.err.Error()
	}
	if w.showQueries {
		f.Query = x.now.Query
	}
	w.failures.Add(f)
}

// underway are the requests that have been for the longest.
func (w *watch) underway(most int) []live.Underway {
	all := w.requests.Oldest(most)
	if !w.showQueries {
		for i := range all {
			all[i].Query = ""
		}
	}
	return all
}

// scriptFigures are the rates of one script, over ten to twenty seconds.
type scriptFigures struct {
	older, newer *live.Counts
	olderAt      time.Time
	newerAt      time.Time
	window       *live.Counts
	seconds      float64
}

const figuresTime = 10 * time.Second

func (f *scriptFigures) take(now time.Time, c *live.Counts) {
	if now.Sub(f.newerAt) >= figuresTime {
		f.older, f.olderAt, f.newer, f.newerAt = f.newer, f.newerAt, c, now
	}
	f.window, f.seconds = c.Since(f.older), now.Sub(f.olderAt).Seconds()
}

// tick is once a second; watched: somebody looks.
func (s *Server) tick(now time.Time, watched bool) {
	w := s.watch
	var scripts map[string]*live.Counts
	if watched {
		scripts = s.metrics.countsOfScripts()
	}
	total, queue, running := w.all.Read(), s.waitingNow(), w.requests.Len()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sample = w.history.Take(now, total, queue, running)
	if !watched {
		w.scripts = nil
		return
	}
	since, figures := w.scriptsAt, make(map[string]*scriptFigures, len(scripts))
	for name, c := range scripts {
		f := w.scripts[name]
		switch {
		case f != nil:
		case w.scripts == nil: // what was before nobody has looked at
			f = &scriptFigures{older: c, newer: c, olderAt: now, newerAt: now}
		default: // it is new
			none := &live.Counts{}
			f = &scriptFigures{older: none, newer: none, olderAt: since, newerAt: since}
		}
		f.take(now, c)
		figures[name] = f
	}
	w.scripts, w.scriptsAt = figures, now
}

// waitingNow is how many requests wait, for whatever.
func (s *Server) waitingNow() int {
	n := 0
	s.metrics.found.Range(func(_, f any) bool {
		n += int(f.(*scriptMetrics).queued.Load())
		return true
	})
	if s.pools != nil {
		n += s.pools.Waiting()
	}
	for _, a := range s.served() {
		if a.upstream != nil {
			n += a.upstream.Waiting()
		}
	}
	return n
}

// countsOfScripts are those of each script, in all routes and modes.
func (m *metrics) countsOfScripts() map[string]*live.Counts {
	all := map[string]*live.Counts{}
	m.found.Range(func(k, f any) bool {
		if name := k.(metricKey).script; name != "" {
			c := f.(*scriptMetrics).pulse.Read()
			if have := all[name]; have != nil {
				have.Join(c)
			} else {
				all[name] = c
			}
		}
		return true
	})
	return all
}
