package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"warmcgi/internal/cgi"
	"warmcgi/internal/gateway"
	"warmcgi/internal/pool"
)

// Script is one that is to be measured.
type Script struct {
	File        string // absolute
	Path        string // extra path and query
	Interpreter string
	Env         map[string]string
	Preload     []string
	User        string
	Limits      map[string]string
	// Gateway is the command line that runs this program again, as `gateway`.
	Gateway []string
}

// Name is its SCRIPT_NAME.
func (s *Script) Name() string { return "/" + filepath.Base(s.File) }

// config is that of a gateway with this script alone, in one mode. All else is as it is without a word in a configuration,
// but for the access log, what bounds the load (the load generator does), and the time after which a script would go cold.
func (s *Script) config(mode cgi.Mode, p *Plan) ([]byte, error) {
	timeout := p.Timeout.String()
	route := map[string]any{
		"path": "/", "cgi": map[string]any{"dir": filepath.Dir(s.File)}, "mode": string(mode),
		"timeout": map[string]any{"first_byte": timeout, "idle": timeout, "total": timeout},
		"queue":   map[string]any{"length": max(512, 2*p.Connections*max(p.Streams, 1)), "wait": timeout},
		"workers": map[string]any{"idle": "24h"},
		"body":    map[string]any{"max": 0},
	}
	if s.Interpreter != "" {
		route["interpreters"] = map[string]string{filepath.Ext(s.File): s.Interpreter}
	}
	if len(s.Env) > 0 {
		env := map[string]string{}
		for name, value := range s.Env {
			env[name] = strings.ReplaceAll(value, "${", "$${")
		}
		route["env"] = env
	}
	if len(s.Preload) > 0 {
		route["preload"] = s.Preload
	}
	if s.User != "" {
		route["user"] = s.User
	}
	if len(s.Limits) > 0 {
		route["limits"] = s.Limits
	}
	return yaml.Marshal(map[string]any{
		"listen": []any{map[string]any{"http": "127.0.0.1:0"}}, "admin": "127.0.0.1:0",
		"log":    map[string]any{"access": map[string]any{"format": "off"}, "level": "warn"},
		"routes": []any{route},
	})
}

// private is a gateway that was started for a measurement: a process of its own, so that its processor time and memory
// are not the load generator's.
type private struct {
	script      *Script
	mode        cgi.Mode
	dir         string
	cmd         *exec.Cmd
	addr, admin string
	out         *tail
}

// startTime is how long a gateway may take to listen, and loadTime how long a script may take until it is warm.
const (
	startTime = 10 * time.Second
	loadTime  = 35 * time.Second
	stopTime  = 5 * time.Second
)

func (s *Script) start(ctx context.Context, mode cgi.Mode, p *Plan) (*private, error) {
	conf, err := s.config(mode, p)
	if err != nil {
		return nil, err
	}
	g := &private{script: s, mode: mode, out: &tail{}}
	if g.dir, err = os.MkdirTemp("", "warmcgi-bench-"); err != nil {
		return nil, err
	}
	if err := g.run(ctx, conf); err != nil {
		g.stop()
		return nil, fmt.Errorf("the gateway for mode %s: %w%s", mode, err, g.said())
	}
	return g, nil
}

func (g *private) run(ctx context.Context, conf []byte) error {
	file := filepath.Join(g.dir, "gateway.yaml")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		return err
	}
	self := g.script.Gateway
	g.cmd = exec.Command(self[0], append(self[1:len(self):len(self)], "serve", "--config", file, "--wait", "1s")...)
	g.cmd.SysProcAttr = ownGroup()
	g.cmd.Stderr = g.out
	g.cmd.WaitDelay = stopTime
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := g.cmd.Start(); err != nil {
		g.cmd = nil
		return err
	}
	listens := make(chan error, 1)
	go func() { // ends with the gateway
		listens <- g.listens(stdout)
		io.Copy(io.Discard, stdout)
	}()
	select {
	case err := <-listens:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startTime):
		return fmt.Errorf("it did not listen after %s", startTime)
	}
}

// listens reads where the gateway says that it does.
func (g *private) listens(stdout io.Reader) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		url, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
		switch word {
		case "serving":
			g.addr = addr
		case "admin":
			g.admin = addr
			return nil
		}
	}
	return errors.New("it has ended")
}

// stop ends the gateway with all that it has started.
func (g *private) stop() {
	if g.cmd != nil {
		syscall.Kill(-g.cmd.Process.Pid, syscall.SIGTERM)
		t := time.AfterFunc(stopTime, func() { syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) })
		g.cmd.Wait()
		t.Stop()
	}
	os.RemoveAll(g.dir)
}

func (g *private) pid() int { return g.cmd.Process.Pid }

// said is what the gateway has logged last, with the script's own complaints. They may
// come a moment behind the answer.
func (g *private) said() string {
	for end := time.Now().Add(time.Second); time.Now().Before(end) && g.out.String() == ""; {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if s := strings.TrimSpace(g.out.String()); s != "" {
		return "\nThe gateway and the script say:\n" + s
	}
	return ""
}

// status is what the gateway knows of the script. One that is only spawned has no pool.
func (g *private) status(ctx context.Context) (pool.Status, error) {
	st := pool.Status{Mode: cgi.ModeSpawn}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/status", nil)
	if err != nil {
		return st, err
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return st, err
	}
	defer res.Body.Close()
	var all gateway.Status
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		return st, err
	}
	for _, s := range all.Scripts {
		if s.Script == g.script.Name() {
			return s, nil
		}
	}
	return st, nil
}

// errMode is a mode that the script can't be in; its text is the reason.
type errMode struct{ why string }

func (e errMode) Error() string { return e.why }

// await waits until the script, which has been asked for once, is in the mode.
func (g *private) await(ctx context.Context) error {
	if g.mode == cgi.ModeSpawn {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	for {
		st, err := g.status(ctx)
		why := strings.TrimSpace(st.Why)
		switch {
		case err != nil:
			return err
		case st.State == pool.Ready && st.Mode == g.mode && st.Idle > 0:
			return nil
		case st.State == pool.Ready && st.Mode != g.mode && why != "":
			return errMode{fmt.Sprintf("it may be %s only: %s", st.Mode, why)}
		case st.State == pool.NoRunner:
			return errMode{why}
		case st.State == pool.Unsafe:
			return errMode{"unsafe: " + why}
		case st.State == pool.Broken:
			return errMode{"it can't be loaded: " + why}
		}
		select {
		case <-ctx.Done():
			return errMode{fmt.Sprintf("it was not ready after %s (it is %s)", loadTime, st.State)}
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tail keeps the end of what a program writes.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const (
	maxTail   = 32 << 10
	tailLines = 8
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - maxTail; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

// String is the last few lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
