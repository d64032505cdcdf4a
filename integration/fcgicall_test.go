//go:build linux

package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/probe"
)

// fcgiCall runs `gateway fcgi-call`.
func fcgiCall(t *testing.T, stdin string, args ...string) (status int, out, log string) {
	t.Helper()
	binary, err := raceGateway()
	require.NoError(t, err)
	cmd := exec.CommandContext(bounded(t), binary, append([]string{"fcgi-call"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := cmd.Run(); cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestPHPIsCalledFromTheShell(t *testing.T) {
	dir := tempDir(t)
	for name, text := range phpScripts {
		writeFile(t, filepath.Join(dir, "www", name), text, 0o644)
	}
	f := startFPM(t, dir, children4+"pm.status_path = /fpm-status\nping.path = /fpm-ping\n")
	at, www := "unix:"+f.socket, filepath.Join(dir, "www")

	status, out, log := fcgiCall(t, "", at, www+"/index.php", "--path", "/a%20b?d=1", "--param", "APP_ENV=shell")
	assert.Zero(t, status, log)
	assert.True(t, strings.HasPrefix(out, "HTTP/1.1 200 OK\r\n"), out)
	assert.True(t, strings.HasSuffix(out, `"info":"/a b","self":"/index.php/a b","uri":"/index.php/a%20b?d=1","root":"`+www+`","get":{"d":"1"},"env":"shell"}`), out)

	body := strings.Repeat("k=v&", 100_000)
	status, out, log = fcgiCall(t, body, at, www+"/raw.php", "--method", "POST", "--body", "-", "-H", "Content-Type: text/plain")
	assert.Zero(t, status, log)
	assert.Contains(t, out, "\r\n\r\n400000 400000 ")

	_, _, log = fcgiCall(t, "", at, www+"/errors.php")
	assert.Contains(t, log, "first line\n")

	status, out, log = fcgiCall(t, "", at, www+"/half.php")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "xxxx")
	assert.Contains(t, log, "answer cut short", "a part is not taken for the whole")

	status, out, log = fcgiCall(t, "", at, "/fpm-status", "--status")
	assert.Zero(t, status, log)
	assert.Regexp(t, `(?s)^pool +www \(static\).*processes +1 active, 3 idle, 4 in all`, out)
	status, out, log = fcgiCall(t, "", at, "/fpm-ping", "--ping")
	assert.Zero(t, status, log)
	assert.Contains(t, out, "is alive")
	status, _, log = fcgiCall(t, "", at, "/other", "--ping")
	assert.Equal(t, 1, status)
	assert.Contains(t, log, "status 404 for /other")
	status, out, log = fcgiCall(t, "", at, "--values")
	assert.Zero(t, status, log)
	assert.Equal(t, "FCGI_MPXS_CONNS=0\n", out)
}

func TestPHPsStatusIsRead(t *testing.T) {
	dir := tempDir(t)
	f := startFPM(t, dir, "pm.max_children = 3\npm.status_path = /status\nping.path = /ping\nping.response = here\n")
	to := probe.Target{Network: "unix", Address: f.socket}
	for range 20 {
		require.NoError(t, to.Ping(bounded(t), "/ping"))
	}
	s, err := to.FPMStatus(bounded(t), "/status")
	require.NoError(t, err)
	assert.Equal(t, "www", s.Pool)
	assert.Equal(t, "static", s.Manager)
	assert.Equal(t, 3, s.Total)
	assert.Equal(t, 3, s.Active+s.Idle)
	assert.GreaterOrEqual(t, s.Accepted, int64(21))
	assert.ErrorIs(t, to.Ping(bounded(t), "/nothing"), probe.ErrAnswer)
	_, err = to.FPMStatus(bounded(t), "/ping")
	assert.ErrorIs(t, err, probe.ErrAnswer)
}

// startFastCGI runs a FastCGI program with its listening socket on descriptor 0.
func startFastCGI(t *testing.T, dir, file string) (address string) {
	t.Helper()
	socket := filepath.Join(dir, "app.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	cmd := exec.Command(file)
	cmd.Stdin, err = ln.File()
	require.NoError(t, err)
	startServer(t, filepath.Base(file), cmd)
	return "unix:" + socket
}

func TestAFastCGIProgramIsCalledFromTheShell(t *testing.T) {
	needs(t, "CGI::Fast")
	dir := tempDir(t)
	at := startFastCGI(t, dir, writeFile(t, filepath.Join(dir, "perl.fcgi"), fastCGIPrograms["perl.fcgi"], 0o755))
	for range 2 {
		status, out, log := fcgiCall(t, "the body", at, "/srv/x", "--path", "?warn", "--method", "POST", "--body", "-", "-H", "Content-Type: text/plain")
		assert.Zero(t, status, log)
		assert.Regexp(t, `POST warn the body [12]$`, out)
		assert.Contains(t, log, "noted\n")
	}
}

func TestAnAddressThatDoesNotAnswerIsSaidToBe(t *testing.T) {
	dir := tempDir(t)
	status, _, log := fcgiCall(t, "", "unix:"+dir+"/none", "/x")
	assert.Equal(t, 1, status)
	assert.Contains(t, log, "can't be reached")

	ln, err := net.Listen("tcp", "127.0.0.1:0") // connects, and is never accepted from
	require.NoError(t, err)
	defer ln.Close()
	at := ln.Addr().String()
	for _, args := range [][]string{{at, "/x"}, {at, "/ping", "--ping"}, {at, "/status", "--status"}, {at, "--values"}} {
		status, _, log := fcgiCall(t, "", append(args, "--timeout", "100ms")...)
		assert.Equal(t, 1, status)
		assert.Contains(t, log, at+": no answer within 100ms", args)
	}
	ctx, cancel := context.WithTimeout(bounded(t), 20*time.Millisecond)
	defer cancel()
	assert.Error(t, probe.Target{Network: "tcp", Address: at}.Ping(ctx, "/ping"))
}

// selfSigned writes a certificate for 127.0.0.1 that is its own authority, and its key.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	c, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	b, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return writeFile(t, dir+"/cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})), 0o644),
		writeFile(t, dir+"/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})), 0o600)
}

func TestAScriptHostIsCalledFromTheShellOverTLS(t *testing.T) {
	dir, bin := hostSite(t)
	cert, key := selfSigned(t, tempDir(t))
	h := startHost(t, dir, bin, "--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert)
	at := h.url()
	require.True(t, strings.HasPrefix(at, "tls:"), at)
	status, out, log := fcgiCall(t, "", at, bin+"/vars.sh", "--path", "/info?q=1", "--ca", cert, "--cert", cert, "--key", key)
	assert.Zero(t, status, log)
	assert.Contains(t, out, "PATH_INFO=/info\n")
	status, out, _ = fcgiCall(t, "", at, "--values", "--ca", cert, "--cert", cert, "--key", key)
	assert.Zero(t, status)
	assert.Contains(t, out, "FCGI_MAX_CONNS=")
	status, _, log = fcgiCall(t, "", at, bin+"/vars.sh")
	assert.Equal(t, 1, status)
	assert.Contains(t, log, "certificate signed by unknown authority")
	status, out, _ = fcgiCall(t, "", at, bin+"/vars.sh", "--ca", cert)
	assert.Equal(t, 1, status, "without a certificate of ours")
	assert.Empty(t, out)
}
