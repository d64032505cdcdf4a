package cgi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"warmcgi/internal/cgroup"
	"warmcgi/internal/confine"
)

// Spawn is the backend of mode spawn: a new process per request, RFC 3875 as
// written. It guarantees that
//
//   - the script gets descriptors 0, 1 and 2 and no other, default signal
//     dispositions, a process group of its own, its folder as working directory and
//     exactly the environment of the request;
//   - an answer is complete or an error, never silently short;
//   - no process of the script's group outlives the request: what it leaves behind
//     gets SIGTERM, then SIGKILL. A daemon that leaves the group (setsid) is let go;
//   - if the gateway dies, the script is killed with it (Linux);
//   - where the request says so it runs as another user and under limits, from its first
//     instruction on, or not at all.
type Spawn struct {
	log    *slog.Logger
	stderr func(req *Request, line string)
	null   *os.File
	shim   []string
	groups *cgroup.Tree
	// closeNull closes null, once.
	closeNull func() error

	mu     sync.Mutex
	live   map[*process]struct{}
	closed bool
	ending int           // processes, and those of which the request is being told
	empty  chan struct{} // closed when ending becomes 0 after closed
}

// SpawnConfig sets up a [Spawn]. The zero value is usable.
type SpawnConfig struct {
	// Log gets what goes wrong; nil is [slog.Default].
	Log *slog.Logger
	// Stderr gets each line a script writes to its standard error, without its end.
	// Nil logs it, tagged with the request and the script.
	Stderr func(req *Request, line string)
	// Shim is the command that executes a script under limits, see package shim; without
	// it such scripts can't be started.
	Shim []string
	// Groups is where the processes of scripts are held to limits together; nil is nowhere.
	Groups *cgroup.Tree
}

// NewSpawn returns a backend that starts processes until it is closed.
func NewSpawn(c SpawnConfig) (*Spawn, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &Spawn{log: c.Log, stderr: c.Stderr, shim: c.Shim, groups: c.Groups, null: null, closeNull: sync.OnceValue(null.Close), live: map[*process]struct{}{}, empty: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.stderr == nil {
		s.stderr = LogStderr(s.log)
	}
	return s, nil
}

// RoundTrip starts the script and reads the head of its answer.
func (s *Spawn) RoundTrip(ctx context.Context, req *Request) (*Response, error) {
	p, err := s.start(req)
	if err != nil {
		req.End(Exit{})
		return nil, err
	}
	return p.answer(ctx)
}

// answer reads the head of the answer.
func (p *process) answer(ctx context.Context) (*Response, error) {
	p.unwatch = context.AfterFunc(ctx, p.clientGone)
	out := &output{p: p, left: -1}
	if p.req.Script.NPH {
		// The first octet is waited for here, so that silence is still an error and
		// not an empty answer.
		if err := out.fill(); err != nil {
			return nil, out.fail(err)
		}
		return &Response{Raw: true, Length: -1, Body: out}, nil
	}
	res, err := out.head()
	if err != nil {
		return nil, out.fail(err)
	}
	res.Body = out
	return res, nil
}

// Running is the number of scripts whose process, or process group, still lives.
func (s *Spawn) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// Owns reports whether a process is a script of ours that still is to be waited for.
func (s *Spawn) Owns(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.live {
		if p.is(pid) {
			return true
		}
	}
	return false
}

// Close ends all scripts, TERM then KILL, and waits for them until ctx ends.
// Requests that come later fail with [ErrStart].
func (s *Spawn) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	var all []*process
	for p := range s.live {
		all = append(all, p)
	}
	if first && s.ending == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	for _, p := range all {
		p.kill(ReasonShutdown)
	}
	select {
	case <-s.empty:
		return s.closeNull()
	case <-ctx.Done():
		return fmt.Errorf("%d scripts still run: %w", s.Running(), ctx.Err())
	}
}

func (s *Spawn) add(p *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.live[p] = struct{}{}
		s.ending++
	}
	return !s.closed
}

func (s *Spawn) forget(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, p)
}

func (s *Spawn) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending--; s.closed && s.ending == 0 {
		close(s.empty)
	}
}

func (s *Spawn) lostExit(req *Request, err error) {
	s.log.Error("a script's exit status was lost", "id", req.ID, "script", req.Script.Name, "err", err)
}

func (s *Spawn) stderrLine(req *Request, line string) { s.stderr(req, line) }

// start forks and execs. On success the process is registered, and its owner is
// the caller until output.Close.
func (s *Spawn) start(req *Request) (*process, error) {
	p := &process{owner: s, req: req, exited: make(chan struct{}), began: time.Now()}
	if !s.add(p) {
		return nil, fmt.Errorf("script %s: %w: the gateway is shutting down", req.Script.Name, ErrStart)
	}
	if err := p.exec(s); err != nil {
		p.quit()
		s.forget(p)
		s.ended()
		return nil, fmt.Errorf("script %s: %w: %w", req.Script.Name, ErrStart, explain(req, err))
	}
	return p, nil
}

// environ is the script's whole environment. What the configuration sets wins over
// a meta-variable of the same name.
func environ(req *Request) []string {
	env := make([]string, 0, len(req.Env)+len(req.Vars))
	env = append(env, req.Env...)
vars:
	for _, v := range req.Vars {
		name := v[:strings.IndexByte(v, '=')+1]
		for _, e := range req.Env {
			if strings.HasPrefix(e, name) {
				continue vars
			}
		}
		env = append(env, v)
	}
	return env
}

// explain says what a stranger to exec(2) would want to hear.
func explain(req *Request, err error) error {
	sc, as := req.Script, ""
	if u := req.Confine.RunsAs(); u != nil {
		as = " by user " + u.Name
	}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w (no #! line?)", err)
	case errors.Is(err, fs.ErrNotExist):
		if i := interpreterOf(sc.File); sc.Interpreter == "" && i != "" {
			if root := req.Confine.Root(); root != "" {
				return fmt.Errorf("%w: interpreter %q of the #! line, or a library of it, below %s", err, i, root)
			}
			if strings.HasSuffix(i, "\r") {
				return fmt.Errorf("%w: the #! line ends in CRLF, so %q is looked for", err, i)
			}
			return fmt.Errorf("%w: interpreter %q of the #! line", err, i)
		}
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (no execute bit, or a folder on the way that may not be entered%s)", err, as)
	case as != "" && errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w (the gateway may not run anything%s)", err, strings.Replace(as, "by", "as", 1))
	case errors.Is(err, syscall.EAGAIN) && req.Confine.Limited() && req.Confine.Limits.Processes > 0:
		return fmt.Errorf("%w (its user has as many as the limit allows: %s)", err, req.Confine.Describe(confine.Processes))
	case errors.Is(err, syscall.EAGAIN) && req.Confine.Grouped() && req.Confine.Script.Processes > 0:
		return fmt.Errorf("%w: %w (it has as many processes as the limit allows: %s)", ErrLimit, err, req.Confine.Describe(confine.ScriptProcesses))
	case errors.Is(err, syscall.ENOMEM) && (req.Confine.Limited() || req.Confine.Grouped()):
		return fmt.Errorf("%w (limits: %s)", err, req.Confine.Words())
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w: %w: the gateway's own limit (ulimit -n, LimitNOFILE= in systemd)", ErrExhausted, err)
	case errors.Is(err, syscall.EAGAIN), IsExhausted(err):
		return fmt.Errorf("%w: %w", ErrExhausted, err)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%w: %w", err, ErrVarsTooLarge)
	}
	return err
}

// interpreterOf reads the program of a #! line, or "".
func interpreterOf(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.Read(b)
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	rest = strings.Trim(rest, " \t")
	prog, _, _ := strings.Cut(rest, " ")
	return prog
}
