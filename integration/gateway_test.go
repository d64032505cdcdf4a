//go:build linux

package integration

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A gateway is the real program, running on a configuration.
type gateway struct {
	*server
	dir   string   // of its configuration, and of all that its scripts know of
	doors []string // where it listens, in the order of `listen`: URLs without the last slash, or sockets
	admin string   // URL without the last slash
	owed  bool     // the test ends it in its own way: exit status 0 is not expected
}

// how a gateway is started, where that is not as usual.
type how struct {
	plain bool     // without the race detector
	via   []string // a command that starts it
	env   []string // over the environment of the test
}

// startGateway runs the gateway in the folder dir on a configuration, with an admin
// door beside the doors that it names.
func startGateway(t *testing.T, dir, yaml string) *gateway {
	t.Helper()
	return startGatewayAs(t, dir, yaml, how{})
}

func startGatewayAs(t *testing.T, dir, yaml string, h how) *gateway {
	t.Helper()
	built := raceGateway
	if h.plain {
		built = plainGateway
	}
	binary, err := built()
	require.NoError(t, err)
	return startGatewayOf(t, binary, dir, yaml, h)
}

// startGatewayOf runs a build of its own.
func startGatewayOf(t *testing.T, binary, dir, yaml string, h how) *gateway {
	t.Helper()
	file := filepath.Join(dir, "gateway.yaml")
	if !strings.Contains("\n"+yaml, "\nadmin:") {
		yaml += "\nadmin: 127.0.0.1:0\n"
	}
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o644))

	args := append(h.via[:len(h.via):len(h.via)], binary, "serve", "--config", file, "--wait", "10s")
	return startServing(t, "gateway", dir, args, h.env)
}

// startServing starts a command that says where it listens as the gateway does. All that
// its scripts know of is in dir.
func startServing(t *testing.T, name, dir string, args, env []string) *gateway {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = w
	g := &gateway{dir: dir}
	t.Cleanup(func() {
		if assert.Empty(t, scriptsIn(dir), "scripts have outlived the %s", name) {
			return
		}
		t.Logf("the %s wrote:\n%s", name, g.out)
	})
	g.server = startServer(t, name, cmd)
	w.Close()
	t.Cleanup(func() { g.end(t) }) // before the cleanup of the server
	lines := g.readLines(r)
	g.awaitReady(t, lines)
	return g
}

// readLines passes on the lines of standard output, and keeps them.
func (g *gateway) readLines(r *os.File) <-chan string {
	lines := make(chan string, 16)
	go func() { // ends with the program's standard output
		defer r.Close()
		b := bufio.NewReader(r)
		for ready := false; ; {
			line, err := b.ReadString('\n')
			io.WriteString(g.out, line)
			if !ready {
				lines <- strings.TrimSpace(line)
				ready = err != nil || strings.HasPrefix(line, "admin ")
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// awaitReady reads where the gateway listens; the admin door is the last.
func (g *gateway) awaitReady(t *testing.T, lines <-chan string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-lines:
			switch f := strings.Fields(line); {
			case len(f) >= 2 && f[0] == "serving":
				at := f[len(f)-1]
				g.doors = append(g.doors, strings.TrimSuffix(strings.TrimPrefix(at, "unix:"), "/"))
			case len(f) >= 2 && f[0] == "admin":
				g.admin = strings.TrimSuffix(f[1], "/")
				return
			default:
				<-g.gone
				t.Fatalf("the %s did not start: %v\n%s", g.name, g.err, g.out)
			}
		case <-timeout:
			t.Fatalf("the %s did not say where it listens\n%s", g.name, g.out)
		}
	}
}

// end ends the gateway and looks at how it went.
func (g *gateway) end(t *testing.T) {
	t.Helper()
	g.stop(t)
	if !g.owed {
		assert.NoError(t, g.err, "the gateway's exit status")
	}
	for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
		assert.NotContains(t, g.out.String(), bad, "in what the gateway wrote")
	}
}

// url is the first door's.
func (g *gateway) url() string { return g.doors[0] }

// metric is the sum of a metric's values, over all its labels that contain with.
func (g *gateway) metric(t *testing.T, name, with string) float64 {
	t.Helper()
	sum := 0.0
	page := newClient(t, g.admin).do(t, request{path: "/metrics", header: map[string]string{"Connection": "close"}})
	for line := range strings.Lines(page.body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		label := strings.TrimPrefix(series, name)
		if label == series || (label != "" && label[0] != '{') || !strings.Contains(label, with) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(t, err, line)
		sum += n
	}
	return sum
}
