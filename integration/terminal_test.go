//go:build linux

package integration

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A terminal is one in which a program runs. What it shows is what a person would see.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	ours   *os.File
	theirs *os.File // kept, so that its settings can be looked at when the program has ended
	before unix.Termios
	reads  sync.WaitGroup

	mu    sync.Mutex // for what shows has on its screen
	shows *vt.Emulator
}

// Write has the terminal show what the program writes.
func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shows.Write(p)
}

// screen is what a person sees.
func (term *terminal) screen() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shows.String()
}

func (term *terminal) isFull() bool {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shows.IsAltScreen()
}

func startInTerminal(t *testing.T, width, height int, name string, args ...string) *terminal {
	t.Helper()
	ours, theirs, err := pty.Open()
	require.NoError(t, err)
	term := &terminal{t: t, cmd: exec.Command(name, args...), ours: ours, theirs: theirs, shows: vt.NewEmulator(width, height)}
	term.resize(width, height)
	term.before = term.settings()
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = theirs, theirs, theirs
	term.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0")
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, term.cmd.Start())
	term.reads.Go(func() { io.Copy(term, ours) })       // ends when ours is closed
	term.reads.Go(func() { io.Copy(ours, term.shows) }) // what a terminal answers; ends when shows is closed
	t.Cleanup(func() {
		if term.cmd.ProcessState == nil {
			term.cmd.Process.Kill()
			term.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the terminal shows:\n%s", term.screen())
		}
		term.theirs.Close()
		term.ours.Close()
		term.shows.InputPipe().(io.Closer).Close() // Close would race with Read
		term.reads.Wait()
	})
	return term
}

func (term *terminal) resize(width, height int) {
	term.mu.Lock()
	term.shows.Resize(width, height)
	term.mu.Unlock()
	require.NoError(term.t, pty.Setsize(term.ours, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}))
}

// settings are those of the line: echo, line by line, and so on.
func (term *terminal) settings() unix.Termios {
	s, err := unix.IoctlGetTermios(int(term.theirs.Fd()), unix.TCGETS)
	require.NoError(term.t, err)
	return *s
}

func (term *terminal) types(keys string) {
	_, err := io.WriteString(term.ours, keys)
	require.NoError(term.t, err)
}

// await waits until it shows all of some texts.
func (term *terminal) await(texts ...string) {
	term.t.Helper()
	assert.Eventually(term.t, func() bool {
		screen := term.screen()
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond, "the terminal shows %q", texts)
	if term.t.Failed() {
		term.t.FailNow()
	}
}

// ends waits for the program, and looks at what it leaves behind.
func (term *terminal) ends() {
	term.t.Helper()
	done := make(chan error, 1)
	go func() { done <- term.cmd.Wait() }() // ends with the program
	select {
	case err := <-done:
		assert.NoError(term.t, err)
	case <-time.After(patience):
		term.t.Fatal("it does not end")
	}
	assert.Equal(term.t, term.before, term.settings(), "the terminal is as it was")
	assert.Eventually(term.t, func() bool { return !term.isFull() }, patience, 10*time.Millisecond, "and shows what it showed")
}

const rudeScript = "#!/usr/bin/perl\nprint STDERR \"can't \\e[31mgo\\e]0;stolen\\a on\\n\"; exit 3;\n"

// terminalSite has a script that works and one that does not.
func terminalSite(t *testing.T) (dir, yaml string) {
	needs(t, "perl")
	dir = tempDir(t)
	writeFile(t, filepath.Join(dir, "cgi-bin", "good.pl"), "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nhi\\n\";\n", 0o755)
	writeFile(t, filepath.Join(dir, "cgi-bin", "rude.pl"), rudeScript, 0o755)
	return dir, "defaults: {mode: warm}\nlisten: [{http: 127.0.0.1:0}]\nroutes:\n  - {path: /cgi-bin/, cgi: {dir: cgi-bin}}\n"
}

// topProgram is without the race detector, which finds one in cancelreader, the library that reads the
// terminal: it closes a descriptor at the end while another goroutine may still look at it.
func topProgram(t *testing.T) string {
	binary, err := plainGateway()
	require.NoError(t, err)
	return binary
}

func TestTopShowsAGatewayInATerminal(t *testing.T) {
	dir, yaml := terminalSite(t)
	g := startGateway(t, dir, yaml)
	c := newClient(t, g.url())
	for range 3 {
		c.do(t, request{path: "/cgi-bin/good.pl"})
		c.do(t, request{path: "/cgi-bin/rude.pl"})
	}
	binary := topProgram(t)
	addr := strings.TrimPrefix(g.admin, "http://")
	term := startInTerminal(t, 80, 24, binary, "top", "--admin", addr)
	term.await("ready", "requests/s", "1 Scripts (2)", "/cgi-bin/good.pl", "/cgi-bin/rude.pl", "by load", "q quit")
	term.types("s")
	term.await("by name")

	term.types("4")
	term.await("GET /cgi-bin/rude.pl", "no_output", `| can't \x1b[31mgo\x1b]0;stolen\x07 on`)
	term.types("2")
	term.await("PID", "parent", "idle")
	term.types("3")
	term.await("SERVER")
	term.types("r")
	term.await("select a script (1) to restart it")

	term.types("1/goo")
	term.await("Only names with: goo", "by name  /goo")
	assert.NotContains(t, term.screen(), "rude.pl")
	term.types("\rr")
	term.await("Restart the workers of /cgi-bin/good.pl? y for yes")
	term.types("n")
	term.await("q quit")
	term.types("r")
	term.await("y for yes")
	term.types("y")
	term.await("/cgi-bin/good.pl is loaded anew")
	assert.Contains(t, g.out.String(), "action=restart")
	term.types("\x1b") // shows all again
	term.await("rude.pl")
	term.types("\x1b[B") // down
	term.types("r")
	term.await("Restart the workers of /cgi-bin/rude.pl?")
	term.types("n")

	term.resize(120, 40)
	term.await("MEDIAN", "FAILED")
	term.resize(40, 10)
	term.await("/cgi-bin/good.pl", "q quit")
	term.resize(80, 24)

	g.stop(t)
	term.await("CONNECTION LOST, this is old", "no admin door answers at "+addr, "/cgi-bin/good.pl")
	again := startGateway(t, dir, yaml+"admin: "+addr+"\n")
	term.await("process "+strconv.Itoa(again.cmd.Process.Pid), "ready")
	term.types("q")
	term.ends()
}

func TestTopGivesTheTerminalBackHoweverItEnds(t *testing.T) {
	dir, yaml := terminalSite(t)
	g := startGateway(t, dir, yaml)
	binary := topProgram(t)
	for _, end := range []func(*terminal){
		func(term *terminal) { term.types("\x03") },
		func(term *terminal) { term.cmd.Process.Signal(syscall.SIGINT) },
		func(term *terminal) { term.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		term := startInTerminal(t, 80, 24, binary, "top", "--admin", strings.TrimPrefix(g.admin, "http://"))
		term.await("1 Scripts (0)", "ready")
		assert.NotEqual(t, term.before, term.settings())
		end(term)
		term.ends()
	}
}

func TestTheCommandsForARunningGatewayDoWhatTheySay(t *testing.T) {
	dir, yaml := terminalSite(t)
	g := startGateway(t, dir, yaml)
	c := newClient(t, g.url())
	for range 3 {
		c.do(t, request{path: "/cgi-bin/good.pl"})
	}
	binary, err := raceGateway()
	require.NoError(t, err)
	run := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, append(args, "--admin", strings.TrimPrefix(g.admin, "http://"))...)
		out, err := cmd.CombinedOutput()
		require.NotNil(t, cmd.ProcessState, "%v", err)
		assert.Equal(t, code, cmd.ProcessState.ExitCode(), "%v: %s", args, out)
		return string(out)
	}
	assert.Equal(t, "No request has gone wrong since the gateway was started.\n", run(0, "logs"))

	assert.Equal(t, "/cgi-bin/good.pl is loaded anew; its workers are replaced when that is done\n", run(0, "restart", "/cgi-bin/good.pl"))
	assert.Contains(t, run(1, "restart", "good.pl"), "no such script: nobody has asked for it yet, or its route says mode: spawn\nDid you mean /cgi-bin/good.pl?\n")
	assert.Contains(t, run(1, "mode", "/cgi-bin/none", "spawn"), "\nThere are /cgi-bin/good.pl\n")
	assert.Contains(t, run(0, "mode", "/cgi-bin/good.pl", "spawn"), "is held in mode spawn")
	assert.Contains(t, run(0, "status"), "it is held in mode spawn by 127.0.0.1")
	run(0, "mode", "/cgi-bin/good.pl", "configured")
	assert.Contains(t, run(0, "workers", "/cgi-bin/good.pl", "--max", "3", "--spare", "1"), "at most 3 workers")
	assert.Contains(t, run(1, "workers", "/cgi-bin/good.pl", "--spare", "1"), "--spare goes with --max")
	assert.Contains(t, run(0, "workers", "/cgi-bin/good.pl"), "the configuration again")
	run(0, "drain")
	assert.Equal(t, 503, newClient(t, g.admin).do(t, request{path: "/readyz"}).status)
	run(0, "drain", "--undo")
	assert.Equal(t, 200, newClient(t, g.admin).do(t, request{path: "/readyz"}).status)
	run(0, "log-level", "debug")
	assert.Contains(t, run(0, "top"), "/cgi-bin/good.pl", "once, where there is no terminal")
	assert.Contains(t, run(1, "logs", "/cgi-bin/godo.pl"), "nobody has asked for a script /cgi-bin/godo.pl yet\nDid you mean /cgi-bin/good.pl?\n")

	c.do(t, request{path: "/cgi-bin/rude.pl"})
	assert.Contains(t, run(0, "logs", "/cgi-bin/good.pl"), "No request of /cgi-bin/good.pl is among")
	assert.Regexp(t, `^\d{4}-\d\d-\d\d [\d:.]+  502  GET /cgi-bin/rude\.pl  \(no_output, spawn\)  id \S+\n  script /cgi-bin/rude\.pl: no output: exit status 3\n`+
		`  \| can't \\x1b\[31mgo\\x1b\]0;stolen\\x07 on\n$`, run(0, "logs", "/cgi-bin/rude.pl"))
	assert.Contains(t, run(0, "logs", "--json"), `"stderr":["can't \u001b[31mgo`)

	follow := exec.Command(binary, "logs", "-f", "-n", "0", "--admin", strings.TrimPrefix(g.admin, "http://"))
	var out lastOutput
	follow.Stdout, follow.Stderr = &out, &out
	require.NoError(t, follow.Start())
	t.Cleanup(func() { follow.Process.Kill(); follow.Wait() })
	assert.Eventually(t, func() bool { return g.metric(t, "warmcgi_admin_listeners", "") == 1 }, patience, 10*time.Millisecond)
	c.do(t, request{path: "/cgi-bin/rude.pl?now"})
	assert.Eventually(t, func() bool { return strings.Contains(out.String(), "| can't") }, patience, 10*time.Millisecond)
	assert.Equal(t, 1, strings.Count(out.String(), "502"), "what was before is not asked for: %s", &out)
	require.NoError(t, follow.Process.Signal(syscall.SIGINT))
	assert.NoError(t, follow.Wait())

	g.stop(t)
	assert.Contains(t, run(1, "logs"), "no admin door answers at")
}
