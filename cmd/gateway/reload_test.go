package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/gateway"
)

func TestReloadAndUpgradeSayWhatTheGatewaySays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST", r.Method)
		assert.Equal(t, "1", r.Header.Get("X-Warmcgi-Control"))
		if r.URL.Path == "/api/v1/reload" {
			w.Write([]byte(`{"done": "it was taken"}`))
			return
		}
		w.WriteHeader(http.StatusConflict)
		w.Write([]byte(`{"error": "the new process does not start"}`))
	})}
	go srv.Serve(l) // ends with the test
	t.Cleanup(func() { srv.Close() })
	code, out, _ := runGateway(t, "reload", "--admin", l.Addr().String())
	assert.Equal(t, 0, code)
	assert.Equal(t, "it was taken\n", out)
	code, out, stderr := runGateway(t, "upgrade", "--admin", l.Addr().String())
	assert.Equal(t, 1, code)
	assert.Empty(t, out)
	assert.Contains(t, stderr, "the new process does not start")
}

func TestAReloadOfAGatewayThatIsNotThereFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	for _, command := range []string{"reload", "upgrade"} {
		code, _, stderr := runGateway(t, command, "--admin", l.Addr().String())
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "no admin door answers at "+l.Addr().String())
		assert.Contains(t, stderr, "Does the gateway run")
	}
}

func TestAReloadOfAFileThatIsWrongDoesNotAskTheGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	require.NoError(t, os.WriteFile(file, []byte("listen: [{http: 127.0.0.1:0}]\nadmin: 127.0.0.1:1\nroutes:\n  - {path: /, mode: worm}\n"), 0o644))
	code, _, stderr := runGateway(t, "reload", "-c", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "the running gateway was not asked, and goes on as it was")
	assert.Contains(t, stderr, file+":4:21: routes[0].mode: \"worm\" is not one of")
	assert.Contains(t, stderr, "4 |   - {path: /, mode: worm}", "with the line")
}

func TestStatusSaysThatTheLastReloadWasRefused(t *testing.T) {
	now := time.Now()
	tried := now.Add(-time.Minute)
	var b strings.Builder
	require.NoError(t, printStatus(&b, gateway.Status{Software: "warmcgi", Configuration: gateway.ReloadStatus{
		Since: now.Add(-time.Hour), Tried: &tried, Error: "gateway.yaml:3:1: routes: wrong",
		Leaving: []gateway.Leaving{{Since: now.Add(-2 * time.Hour), Requests: 1}},
	}}, now, 100))
	assert.Contains(t, b.String(), "The configuration of 1h0m0s ago is served. A reload 1m0s ago was refused: gateway.yaml:3:1: routes: wrong\n")
	assert.Contains(t, b.String(), "1 request still runs on the configuration of 2h0m0s ago\n")
	b.Reset()
	require.NoError(t, printStatus(&b, gateway.Status{Configuration: gateway.ReloadStatus{Since: now}}, now, 100))
	assert.NotContains(t, b.String(), "configuration")
}
