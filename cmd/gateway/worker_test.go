package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWorkerComparesAScriptWithPlainCGI(t *testing.T) {
	script := filepath.Join(t.TempDir(), "a.pl")
	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n$ENV{QUERY_STRING}\"; exit 3;\n"), 0o755))
	code, out, _ := runGateway(t, "worker", script, "--query", "a=1")
	assert.Zero(t, code, out)
	assert.Contains(t, out, "<- hello 1 ")
	assert.Contains(t, out, "request 3:  status 200, 3 octets, exit status 3")

	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n$$\";\n"), 0o755))
	code, out, _ = runGateway(t, "worker", "-q", script)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "3 of 3 answers differ")
	assert.Regexp(t, `request 1: .*: differs from plain CGI in line 1: "\d+", not "\d+"`, out)

	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nBEGIN { $q = $ENV{QUERY_STRING} } print \"Content-Type: text/plain\\n\\n$q\";\n"), 0o755))
	code, _, stderr := runGateway(t, "worker", "-q", script)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "it is unsafe: reads QUERY_STRING while it is loaded")
}

func TestWorkerSaysAtOnceWhyAScriptStaysInModeSpawn(t *testing.T) {
	script := filepath.Join(t.TempDir(), "a.cgi")
	for text, why := range map[string]string{
		"#!/bin/sh\necho Content-Type: text/plain; echo; echo a\n":    "it stays in mode spawn: no runner for it: it runs by /bin/sh",
		"#!/usr/bin/perl\r\nprint \"Content-Type: text/plain\\n\\n\"": "it stays in mode spawn: no runner for it: its #! line ends in CRLF",
		"print 1;\n":                            "it stays in mode spawn: no runner for it: it has no #! line",
		"#!/usr/local/no/such/perl\nprint 1;\n": "it is broken: interpreter /usr/local/no/such/perl: no such file or directory\n",
		"#!/usr/bin/ruby\nputs (1 +\n":          "a.cgi:2: syntax error",
	} {
		require.NoError(t, os.WriteFile(script, []byte(text), 0o755))
		code, out, stderr := runGateway(t, "worker", "-q", "--timeout", "10s", script)
		assert.Equal(t, 1, code, out)
		assert.Contains(t, stderr, why)
	}
	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\n"), 0o644))
	require.NoError(t, os.Chmod(script, 0o644))
	_, _, stderr := runGateway(t, "worker", script)
	assert.Contains(t, stderr, "a.cgi is not executable: chmod +x it, or give --interpreter")
}

func TestWorkerGivesAScriptTheEnvironmentThatTheGatewayGives(t *testing.T) {
	t.Setenv("PATH", "/not/the/gateways:"+os.Getenv("PATH"))
	script := filepath.Join(t.TempDir(), "a.pl")
	text := "#!/usr/bin/perl\nprint qq(Content-Type: text/plain\\n\\n); exit !($ENV{PATH} eq '/usr/local/bin:/usr/bin:/bin' && $ENV{SITE} eq 'x' && $INC{'Text/Wrap.pm'})\n"
	require.NoError(t, os.WriteFile(script, []byte(text), 0o755))
	code, out, _ := runGateway(t, "worker", "-q", "--env", "SITE=x", "--preload", "Text::Wrap", script)
	assert.Equal(t, 1, code, "plain CGI has no preload")
	assert.Contains(t, out, "plain CGI:  status 200, 0 octets, exit status 1")
	assert.Contains(t, out, "request 3:  status 200, 0 octets, exit status 0")
	_, _, stderr := runGateway(t, "worker", "-q", "--preload", "No::Such", script)
	assert.Contains(t, stderr, "it is broken: preload No::Such: Can't locate No/Such.pm")
}

func TestAScriptThatFailsInModeWarmAsInPlainCGIIsTheSame(t *testing.T) {
	script := filepath.Join(t.TempDir(), "a.pl")
	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\ndie qq(no database\\n)\n"), 0o755))
	code, out, _ := runGateway(t, "worker", "-q", script)
	assert.Zero(t, code, out)
	assert.Contains(t, out, "request 3:  no output: exit status 255: as plain CGI")
}

func TestTheAnswersOfWorkerAreComparedInEverything(t *testing.T) {
	plain := func() workerAnswer {
		return workerAnswer{status: 200, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte("a\nb\n")}
	}
	assert.Empty(t, plain().differs(plain()))
	for want, change := range map[string]func(*workerAnswer){
		"differs from plain CGI: not status 200":                                func(a *workerAnswer) { a.status = 500 },
		"differs from plain CGI: not exit status 0":                             func(a *workerAnswer) { a.exit.Code = 3 },
		`differs from plain CGI in Content-Type: "text/html", not "text/plain"`: func(a *workerAnswer) { a.header.Set("Content-Type", "text/html") },
		`differs from plain CGI in X-New: "1", not nothing`:                     func(a *workerAnswer) { a.header.Set("X-New", "1") },
		`differs from plain CGI in line 2: "c", not "b"`:                        func(a *workerAnswer) { a.body = []byte("a\nc\n") },
		`differs from plain CGI in line 4: "more", not nothing`:                 func(a *workerAnswer) { a.body = []byte("a\nb\n\nmore") },
		"differs from plain CGI":                                                func(a *workerAnswer) { a.err = errSilent },
	} {
		a := plain()
		change(&a)
		assert.Equal(t, want, plain().differs(a))
	}
	failed := plain()
	failed.err = errSilent
	assert.Equal(t, "plain CGI has no answer to compare with", failed.differs(plain()))
}

func TestACommandThatIsInterruptedLeavesNothingOfTheScript(t *testing.T) {
	for _, command := range []string{"run", "worker"} {
		dir := t.TempDir()
		script, pid := filepath.Join(dir, "a.sh"), filepath.Join(dir, "pid")
		require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nsleep 300 & echo $! >"+pid+".new; mv "+pid+".new "+pid+"; wait\n"), 0o755))
		cmd := exec.Command(buildGateway(t), command, script)
		require.NoError(t, cmd.Start())
		var child int
		require.Eventually(t, func() bool {
			b, _ := os.ReadFile(pid)
			child, _ = strconv.Atoi(strings.TrimSpace(string(b)))
			return child > 0
		}, 30*time.Second, 10*time.Millisecond)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		assert.Error(t, cmd.Wait(), command)
		assert.Eventually(t, func() bool { return syscall.Kill(child, 0) == syscall.ESRCH }, 10*time.Second, 10*time.Millisecond, command)
	}
}

func TestTheExampleRunnerInCIsAWorker(t *testing.T) {
	dir := t.TempDir()
	runner := filepath.Join(dir, "worker")
	out, err := exec.Command("cc", "-Wall", "-Werror", "-o", runner, "../../docs/examples/worker.c").CombinedOutput()
	require.NoError(t, err, string(out))
	script := filepath.Join(dir, "hello.tmpl")
	require.NoError(t, os.WriteFile(script, []byte("Hello ${QUERY_STRING}\n"), 0o644))
	code, text, stderr := runGateway(t, "worker", "--runner", runner, script, "--query", "you")
	assert.Zero(t, code, text+stderr)
	assert.Contains(t, text, "request 3:  status 200, 10 octets, exit status 0")
}

// runGateway runs the program itself: it starts shims of its own.
func runGateway(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(buildGateway(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// buildGateway builds it once; TestMain removes it.
func buildGateway(t *testing.T) string {
	t.Helper()
	dir, err := built()
	require.NoError(t, err)
	return filepath.Join(dir, "gateway")
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "warmcgi-bin-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "gateway"), ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

var builtIn string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}
