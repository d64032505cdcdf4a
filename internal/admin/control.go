package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
)

// Control is what can be done to a gateway. by says who asks. Errors are of the kinds below,
// or faults of the gateway.
type Control interface {
	// Reload reads the configuration again, and says what came of it. An error leaves everything as it was.
	Reload(ctx context.Context, by string) (done string, err error)
	// Upgrade starts the program anew and has it take over. An error leaves everything as it was.
	Upgrade(ctx context.Context, by string) (done string, err error)
	// Drain has the gateway say that it is not ready, while it serves on; or takes that back.
	Drain(on bool, by string) error
	// SetLogLevel is debug, info, warn or error.
	SetLogLevel(level, by string) error
	// Restart has a script loaded anew and its workers replaced. It returns why there is
	// nothing to restart, or "".
	Restart(script, by string) (why string, err error)
	// SetWorkers changes a script's limits; nil has them as in the configuration.
	SetWorkers(script string, l *WorkerLimits, by string) error
	// SetMode gives a script a mode until further notice; "" has it as in the configuration.
	SetMode(script, mode, by string) error
}

// WorkerLimits are how many workers a script may have: at once with a request, and idle.
type WorkerLimits struct{ Max, Spare int }

// Kinds of errors of a [Control].
var (
	// ErrInvalid: the request makes no sense.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: there is no such script.
	ErrNotFound = errors.New("not found")
	// ErrConflict: it can't be done as things are.
	ErrConflict = errors.New("not possible")
	// ErrUnsupported: this gateway can't do it.
	ErrUnsupported = errors.New("not supported")
)

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrConflict):
		return http.StatusConflict
	case errors.Is(err, ErrUnsupported):
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

// maxBody is the longest request for control.
const maxBody = 64 << 10

// controls lets in who may control the gateway. do reads the request and returns what was
// done, in words. Whatever comes of it is logged with who has asked, and counted.
func (d *Door) controls(action string, do func(r *http.Request, by string) (string, error)) http.Handler {
	return d.guarded(func(w http.ResponseWriter, r *http.Request) {
		by := who(r)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		done, err := do(r, by)
		if err != nil {
			code := statusOf(err)
			d.metrics.actions.WithLabelValues(action, "failed").Inc()
			d.c.Log.Warn("control: not done", "action", action, "by", by, "status", code, "err", err)
			refuse(w, code, err.Error())
			return
		}
		d.metrics.actions.WithLabelValues(action, "done").Inc()
		d.c.Log.Info("control: done", "action", action, "by", by, "what", done)
		answer(w, map[string]string{"done": done})
	}, true, true)
}

// read takes the body of a request for control, a JSON object whose keys are all known.
func read(r *http.Request, into any) error {
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
		return fmt.Errorf("%w: the body must be JSON (Content-Type: application/json)", ErrInvalid)
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: the body: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%w: the body must be one JSON object", ErrInvalid)
	}
	return nil
}

func (d *Door) reload(r *http.Request, by string) (string, error) {
	return d.g.Reload(r.Context(), by)
}

func (d *Door) upgrade(r *http.Request, by string) (string, error) {
	return d.g.Upgrade(r.Context(), by)
}

func (d *Door) drain(r *http.Request, by string) (string, error) {
	var b struct {
		Draining *bool `json:"draining"`
	}
	if err := read(r, &b); err != nil {
		return "", err
	}
	if b.Draining == nil {
		return "", fmt.Errorf(`%w: write {"draining": true} or {"draining": false}`, ErrInvalid)
	}
	if err := d.g.Drain(*b.Draining, by); err != nil {
		return "", err
	}
	if *b.Draining {
		return "the gateway says that it is not ready (/readyz), and serves on", nil
	}
	return "the gateway is ready again", nil
}

func (d *Door) logLevel(r *http.Request, by string) (string, error) {
	var b struct {
		Level string `json:"level"`
	}
	if err := read(r, &b); err != nil {
		return "", err
	}
	var l slog.Level
	if l.UnmarshalText([]byte(b.Level)) != nil || strings.ContainsAny(b.Level, "+-") {
		return "", fmt.Errorf("%w: level %q is not one of debug, info, warn, error", ErrInvalid, b.Level)
	}
	level := strings.ToLower(b.Level)
	if err := d.g.SetLogLevel(level, by); err != nil {
		return "", err
	}
	return "the log shows " + level + " and above", nil
}

func (d *Door) restart(r *http.Request, by string) (string, error) {
	var b struct {
		Script string `json:"script"`
	}
	if err := read(r, &b); err != nil {
		return "", err
	}
	if err := named(b.Script); err != nil {
		return "", err
	}
	why, err := d.g.Restart(b.Script, by)
	if err != nil {
		return "", err
	}
	if why != "" {
		return "", fmt.Errorf("script %s: %w: %s", b.Script, ErrConflict, why)
	}
	return b.Script + " is loaded anew; its workers are replaced when that is done", nil
}

func (d *Door) workers(r *http.Request, by string) (string, error) {
	var b struct {
		Script string `json:"script"`
		Max    *int   `json:"max"`
		Spare  *int   `json:"spare"`
	}
	if err := read(r, &b); err != nil {
		return "", err
	}
	if err := named(b.Script); err != nil {
		return "", err
	}
	if b.Max == nil && b.Spare == nil {
		if err := d.g.SetWorkers(b.Script, nil, by); err != nil {
			return "", err
		}
		return b.Script + " has the workers of the configuration again", nil
	}
	if b.Max == nil || b.Spare == nil || *b.Max < 1 || *b.Max > MaxWorkers || *b.Spare < 0 || *b.Spare > *b.Max {
		return "", fmt.Errorf("%w: max is from 1 to %d, and spare from 0 to max; leave out both for those of the configuration", ErrInvalid, MaxWorkers)
	}
	if err := d.g.SetWorkers(b.Script, &WorkerLimits{*b.Max, *b.Spare}, by); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has at most %d workers, %d of them spare", b.Script, *b.Max, *b.Spare), nil
}

// MaxWorkers is the most that a script can be given.
const MaxWorkers = 1024

func (d *Door) mode(r *http.Request, by string) (string, error) {
	var b struct {
		Script string `json:"script"`
		Mode   string `json:"mode"`
	}
	if err := read(r, &b); err != nil {
		return "", err
	}
	if err := named(b.Script); err != nil {
		return "", err
	}
	switch b.Mode {
	case "configured":
		if err := d.g.SetMode(b.Script, "", by); err != nil {
			return "", err
		}
		return b.Script + " has the mode of the configuration again", nil
	case "spawn", "warm", "reuse":
	default:
		return "", fmt.Errorf("%w: mode %q is not one of spawn, warm, reuse, configured", ErrInvalid, b.Mode)
	}
	if err := d.g.SetMode(b.Script, b.Mode, by); err != nil {
		return "", err
	}
	if b.Mode == "spawn" {
		return b.Script + " is held in mode spawn", nil
	}
	return b.Script + " may be " + b.Mode, nil
}

func named(script string) error {
	if script == "" {
		return fmt.Errorf(`%w: which script? {"script": "/cgi-bin/name"}`, ErrInvalid)
	}
	return nil
}
