package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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

	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nBEGIN { $q = $ENV{QUERY_STRING} } print \"Content-Type: text/plain\\n\\n$q\";\n"), 0o755))
	code, _, stderr := runGateway(t, "worker", "-q", script)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "it is unsafe: reads QUERY_STRING while it is loaded")
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
	gateway := filepath.Join(t.TempDir(), "gateway")
	build, err := exec.Command("go", "build", "-o", gateway, ".").CombinedOutput()
	require.NoError(t, err, string(build))
	var out, errs bytes.Buffer
	cmd := exec.Command(gateway, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
