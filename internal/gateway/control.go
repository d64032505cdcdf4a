package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"warmcgi/internal/admin"
	"warmcgi/internal/cgi"
	"warmcgi/internal/live"
	"warmcgi/internal/pool"
)

// control is what can be changed while the gateway runs.
type control struct {
	level    *slog.LevelVar // nil: it stays as it is
	draining atomic.Pointer[Drain]
	process  atomic.Pointer[Process]
}

// Drain says who has had the gateway drained, and when.
type Drain struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

func (c *control) levelName() string {
	if c.level == nil {
		return ""
	}
	return strings.ToLower(c.level.Level().String())
}

// A Process is the program around a server: it does what the server can't do alone.
type Process interface {
	// Reload reads the configuration again, see [Server.Reload].
	Reload(ctx context.Context) (*Reloaded, error)
	// Upgrade starts the program as it is on disk now, and has it take over. It returns its process.
	Upgrade(ctx context.Context) (pid int, err error)
}

// SetProcess gives the admin door a process to reload and upgrade. Without it the door says that it can't.
func (s *Server) SetProcess(p Process) { s.control.process.Store(&p) }

// adminView is the server as the admin door sees it.
type adminView struct{ s *Server }

var _ admin.Gateway = adminView{}

func (v adminView) Ready() string {
	switch {
	case v.s.isStopping():
		return "shutting down"
	case v.s.control.draining.Load() != nil:
		return "draining"
	}
	return ""
}

func (v adminView) Status() any { return v.s.Status() }
func (v adminView) Live() any   { return v.s.live() }
func (v adminView) About() any  { return v.s.about() }

func (v adminView) Tick(now time.Time, watched bool) { v.s.tick(now, watched) }

func (v adminView) History() []live.Sample {
	v.s.watch.mu.Lock()
	defer v.s.watch.mu.Unlock()
	return v.s.watch.history.Samples()
}

func (v adminView) Failures(script string, most int) []live.Failure {
	return v.s.watch.failures.Last(script, most)
}

func (v adminView) FailureChanges() int64 { return v.s.watch.failures.Changes() }

func (v adminView) Reload(ctx context.Context, _ string) (string, error) {
	p := v.s.control.process.Load()
	if p == nil {
		return "", fmt.Errorf("reload: %w: this gateway can't read its configuration again while it runs", admin.ErrUnsupported)
	}
	r, err := (*p).Reload(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: the configuration was not taken, the one before it is served:\n%w", admin.ErrConflict, err)
	}
	done := "the configuration was taken: " + r.String()
	for _, n := range r.Notes {
		done += "\nnote: " + n
	}
	return done, nil
}

func (v adminView) Upgrade(ctx context.Context, _ string) (string, error) {
	p := v.s.control.process.Load()
	if p == nil {
		return "", fmt.Errorf("upgrade: %w: nothing can take over from this gateway", admin.ErrUnsupported)
	}
	pid, err := (*p).Upgrade(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: this process (%d) goes on:\n%w", admin.ErrConflict, os.Getpid(), err)
	}
	return fmt.Sprintf("process %d has taken over, process %d ends when its requests have", pid, os.Getpid()), nil
}

func (v adminView) Drain(on bool, by string) error {
	if on {
		v.s.control.draining.CompareAndSwap(nil, &Drain{By: by, At: time.Now()})
	} else {
		v.s.control.draining.Store(nil)
	}
	return nil
}

func (v adminView) SetLogLevel(level, _ string) error {
	if v.s.control.level == nil {
		return fmt.Errorf("log level: %w: the log of this gateway has one for good", admin.ErrUnsupported)
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	v.s.control.level.Set(l)
	return nil
}

func (v adminView) Restart(script, _ string) (string, error) {
	if v.s.pools == nil {
		return "", errNoPools
	}
	why, err := v.s.pools.Restart(script)
	return why, controlError(err)
}

func (v adminView) SetWorkers(script string, l *admin.WorkerLimits, by string) error {
	if v.s.pools == nil {
		return errNoPools
	}
	var limits *pool.Limits
	if l != nil {
		limits = &pool.Limits{Max: l.Max, Spare: l.Spare, By: by, At: time.Now()}
	}
	files, err := v.s.pools.Limit(script, limits)
	if err != nil {
		return controlError(err)
	}
	for file, most := range files {
		v.s.queue.SetRunning(file, int64(most), limits != nil)
	}
	return nil
}

func (v adminView) SetMode(script, mode, by string) error {
	if v.s.pools == nil {
		return errNoPools
	}
	var pin *pool.Pin
	if mode != "" {
		pin = &pool.Pin{Mode: cgi.Mode(mode), By: by, At: time.Now()}
	}
	return controlError(v.s.pools.Pin(script, pin))
}

var errNoPools = fmt.Errorf("%w: every script of this gateway is spawned", admin.ErrUnsupported)

// controlError says what kind of error one of the pools' is to the admin door.
func controlError(err error) error {
	switch {
	case errors.Is(err, pool.ErrNoScript):
		return fmt.Errorf("%w: %w", admin.ErrNotFound, err)
	case errors.Is(err, pool.ErrCantWarm):
		return fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	return err
}
