package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shimCommand runs the command line and returns what it printed.
func shimCommand(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	dir := t.TempDir()
	script, plain, bare := filepath.Join(dir, "a.pl"), filepath.Join(dir, "plain.pl"), filepath.Join(dir, "bare")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644))
	require.NoError(t, os.WriteFile(bare, []byte("#!/bin/sh\n"), 0o644))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"serv", dir}, `did you mean "serve"`},
		{[]string{"serve"}, `expected "<path>"`},
		{[]string{"serve", "/no/such"}, "there is no script or folder /no/such"},
		{[]string{"serve", dir, script}, "unexpected argument"},
		{[]string{"serve", "/dev/null"}, "it is neither a script nor a folder"},
		{[]string{"serve", plain}, "plain.pl is not executable: chmod +x it, or give --interpreter .pl=PROGRAM"},
		{[]string{"serve", bare}, "bare is not executable: chmod +x it"},
		{[]string{"serve", script, "--listen", taken.Addr().String()}, "choose another address with --listen"},
		{[]string{"serve", script, "--listen", "tcp:127.0.0.1:0", "--admin", taken.Addr().String()}, "admin door"},
		{[]string{"serve", script, "--listen", "9000"}, "write :9000 for all interfaces"},
		{[]string{"serve", script, "--listen", "/run/x.sock"}, "write unix:/run/x.sock"},
		{[]string{"serve", script, "--listen", "unix:/no/such/folder/x.sock"}, "no such file or directory"},
		{[]string{"serve", script, "--listen", "tls:127.0.0.1:0"}, "needs --tls-cert and --tls-key"},
		{[]string{"serve", script, "--listen", "tls:127.0.0.1:0", "--tls-cert", plain, "--tls-key", plain}, "certificate"},
		{[]string{"serve", script, "--listen", "tcp:127.0.0.1:0", "--tls-cert", plain}, "go with --listen tls:HOST:PORT"},
		{[]string{"serve", script, "--prefix", "cgi-bin"}, "write it like /cgi-bin/"},
		{[]string{"serve", script, "--mode", "hot"}, "--mode must be one of"},
		{[]string{"serve", script, "--env", "NAME"}, `--env: "NAME": write NAME=VALUE`},
		{[]string{"serve", script, "--limit", "memory=1"}, "--limit"},
		{[]string{"serve", script, "--user", "nobody-of-that-name"}, "--user"},
		{[]string{"serve", script, "--workers", "-1"}, "--workers"},
		{[]string{"serve", script, "--processes", "-1"}, "--processes"},
		{[]string{"serve", script, "--allow", "10.0.0.1/8"}, "write 10.0.0.0/8"},
		{[]string{"serve", script, "--allow", "unix"}, "--socket-mode"},
		{[]string{"serve", script, "--interpreter", "pl=perl"}, "write it like .pl=/usr/bin/perl"},
		{[]string{"serve", script, "--socket-mode", "rw"}, "is not a file mode"},
		{[]string{"serve", script, "--admin", "9180"}, "--admin"},
		{[]string{"serve", script, "--admin", "tls:127.0.0.1:1"}, "--admin"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			status, _, stderr := shimCommand(c.args...)
			assert.NotZero(t, status)
			assert.Contains(t, stderr, c.says)
		})
	}
}

func TestHelpAndVersionSucceed(t *testing.T) {
	status, stdout, _ := shimCommand("serve", "--help")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "--tls-client-ca")
	assert.Contains(t, stdout, "neither secrecy nor identity")
	status, stdout, _ = shimCommand("version")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "shim 0.")
}

func TestTheFlagsAreKeysOfTheConfiguration(t *testing.T) {
	script := filepath.Join(t.TempDir(), "a.pl")
	require.NoError(t, os.WriteFile(script, nil, 0o755))
	c := serveCmd{Path: script, Listen: []string{"tcp:0.0.0.0:9000", "unix:/run/x.sock", "tls::9001"}, Prefix: "/a//b/"}
	c.Mode, c.Workers, c.Processes, c.Timeout, c.Env, c.SocketMode, c.Allow = "warm", 3, 5, 7, []string{"A=b=c"}, "0600", []string{"10.0.0.0/8"}
	c.TLSCert, c.TLSKey, c.TLSClientCA, c.AccessLog, c.Authorization = "c", "k", "ca", "/log", "pass"
	conf, err := c.config()
	require.NoError(t, err)
	require.Len(t, conf.Listen, 3)
	r := conf.Listen[0].Front
	for i, l := range conf.Listen {
		assert.Same(t, r, l.Front)
		assert.EqualValues(t, 0o600, l.SocketMode)
		assert.Equal(t, i == 1, len(l.Allow) == 0, "peers of a unix socket have no address")
		assert.Equal(t, i == 2, l.TLS != nil)
	}
	assert.Equal(t, "0.0.0.0:9000", conf.Listen[0].FastCGI.Addr())
	assert.Equal(t, "ca", conf.Listen[2].TLS.ClientCA)
	assert.Equal(t, "/a/b", r.Path)
	assert.EqualValues(t, "warm", r.Mode)
	assert.Equal(t, 3, r.Workers.Max)
	assert.Equal(t, 5, conf.MaxProcesses)
	assert.EqualValues(t, 7, r.Timeout.FirstByte)
	assert.Equal(t, "b=c", r.Env["A"])
	assert.Equal(t, "/log", conf.Log.Access.To)
	assert.EqualValues(t, "combined", conf.Log.Access.Format)
}
