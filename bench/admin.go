package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"warmcgi/internal/cgi"
	"warmcgi/internal/proctree"
)

// admin is the gateway's door for questions about itself.
type admin struct {
	addr   string
	mode   cgi.Mode // that the script is to be in
	script string   // its SCRIPT_NAME
	behind *admin   // the script host's, where the script is there
}

// inside is what the gateway knows of a measured time.
type inside struct {
	Own               float64 // CPU seconds of the gateway's own process, without the scripts
	Fork, Leave, Wait spread
	Queue             spread // wait of those that ran in the end
}

// look is the state of it at one moment.
type look struct {
	own               float64
	answers           map[cgi.Mode]float64
	fork, leave, wait *dto.Histogram
	queue             *dto.Histogram
}

// get asks for one page; accept may be empty.
func (a *admin) get(ctx context.Context, path, accept string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.addr+path, nil)
	if err != nil {
		return err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", req.URL, res.Status)
	}
	return read(res)
}

// scriptStatus is what is needed of /status; the whole is in package pool.
type scriptStatus struct {
	Script string   `json:"script"`
	Mode   cgi.Mode `json:"mode"`
	State  string   `json:"state"`
	Why    string   `json:"why"`
	Idle   int      `json:"idle"`
}

func (a *admin) status(ctx context.Context) (st scriptStatus, err error) {
	var all struct {
		Scripts []scriptStatus `json:"scripts"`
	}
	err = a.get(ctx, "/status", "", func(res *http.Response) error { return json.NewDecoder(res.Body).Decode(&all) })
	for _, s := range all.Scripts {
		if s.Script == a.script {
			return s, err
		}
	}
	return scriptStatus{Script: a.script, Mode: cgi.ModeSpawn}, err // what is never warm is not listed
}

// await waits until the script is in the mode that is to be measured.
func (a *admin) await(ctx context.Context) error {
	if a.behind != nil {
		return a.behind.await(ctx)
	}
	if a.mode == cgi.ModeFastCGI {
		return nil // there is no other for it
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		st, err := a.status(ctx)
		if err == nil && st.Mode == a.mode && (a.mode == cgi.ModeSpawn || st.Idle > 0) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("the script is in mode %s and not %s: %s, %s", st.Mode, a.mode, st.State, st.Why))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// queueWait is of a route, and there is only one.
const queueWait = "warmcgi_queue_wait_seconds"

// look reads the metrics of the script.
func (a *admin) look() (*look, error) {
	l := &look{answers: map[cgi.Mode]float64{}}
	format := string(expfmt.NewFormat(expfmt.TypeProtoDelim)) // the text has no native histograms
	return l, a.get(context.Background(), "/metrics", format, func(res *http.Response) error {
		d := expfmt.NewDecoder(res.Body, expfmt.ResponseFormat(res.Header))
		for {
			var f dto.MetricFamily
			if err := d.Decode(&f); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			for _, m := range f.Metric {
				if label(m, "script") == a.script || f.GetName() == queueWait {
					l.take(f.GetName(), m)
				}
			}
		}
	})
}

func (l *look) take(name string, m *dto.Metric) {
	switch strings.TrimPrefix(name, "warmcgi_") {
	case "requests_total":
		if label(m, "status") != "503" { // which a worker had no part in
			l.answers[cgi.Mode(label(m, "mode"))] += m.GetCounter().GetValue()
		}
	case "worker_fork_seconds":
		l.fork = m.GetHistogram()
	case "worker_leave_seconds":
		l.leave = m.GetHistogram()
	case "worker_wait_seconds":
		l.wait = m.GetHistogram()
	case strings.TrimPrefix(queueWait, "warmcgi_"):
		if label(m, "end") == "run" {
			l.queue = m.GetHistogram()
		}
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// look is nil for a peer.
func (s *server) look() (*look, error) {
	if s.gateway == nil {
		return nil, nil
	}
	l, err := s.gateway.look()
	if err == nil {
		l.own, err = s.ownCPU()
	}
	return l, err
}

// since sums up what happened after a look. It is an error when an answer came in another
// mode than the one that is measured, or when fewer than the least came in it.
func (s *server) since(before *look, least int) (*inside, error) {
	if before == nil {
		return nil, nil
	}
	after, err := s.look()
	if err != nil {
		return nil, err
	}
	for mode, n := range after.answers {
		if n -= before.answers[mode]; mode != s.gateway.mode && n > 0 {
			st, _ := s.gateway.status(context.Background())
			return nil, fmt.Errorf("%.0f answers came in mode %s and not %s; it is %s: %s\n%s", n, mode, s.gateway.mode, st.State, st.Why, s.output)
		}
	}
	if mode := s.gateway.mode; after.answers[mode]-before.answers[mode] < float64(least) {
		return nil, fmt.Errorf("only %.0f answers came in mode %s", after.answers[mode]-before.answers[mode], mode)
	}
	return &inside{
		Own:   after.own - before.own,
		Fork:  spreadSince(before.fork, after.fork),
		Leave: spreadSince(before.leave, after.leave),
		Wait:  spreadSince(before.wait, after.wait),
		Queue: spreadSince(before.queue, after.queue),
	}, nil
}

// ownCPU is that of the gateway's process alone, in seconds.
func (s *server) ownCPU() (float64, error) {
	t, err := proctree.CPU(s.procs[len(s.procs)-1].Process.Pid)
	return t.Own, err
}
