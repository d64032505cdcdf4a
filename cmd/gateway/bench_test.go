package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/measure"
)

func TestMistakesInABenchmarkAreNamed(t *testing.T) {
	script := write(t, "a.cgi", echoScript, 0o755)
	plain := write(t, "plain.txt", "text", 0o644)
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "give a URL, or --script FILE"},
		{[]string{"http://127.0.0.1:1/"}, "nobody serves there"},
		{[]string{"http://192.0.2.1/"}, "give --other-hosts"},
		{[]string{"ftp://127.0.0.1/"}, "there is only http and https"},
		{[]string{"http://127.0.0.1:1", "--script", script}, "not both"},
		{[]string{"http://127.0.0.1:1", "--path", "/x"}, "--path goes with --script"},
		{[]string{"http://127.0.0.1:1", "--http2", "--no-keepalive"}, "--no-keepalive one on each"},
		{[]string{"http://127.0.0.1:1", "--streams", "2"}, "--streams goes with --http2"},
		{[]string{"http://127.0.0.1:1", "--request", "get"}, "write METHOD:/path?query"},
		{[]string{"http://127.0.0.1:1", "--body", "/no/such"}, "--body: "},
		{[]string{"http://127.0.0.1:1", "--expect-regexp", "("}, "--expect-regexp: "},
		{[]string{"http://127.0.0.1:1", "--report", "/no/such/r.html"}, "there is no such folder"},
		{[]string{"--script", "/no/such"}, "no such file or directory"},
		{[]string{"--script", t.TempDir()}, "is a folder"},
		{[]string{"--script", plain}, "is not executable: chmod +x it"},
		{[]string{"--script", script, "--limit", "ram=1GiB"}, "there is no such limit"},
	} {
		t.Run(c.says, func(t *testing.T) {
			status, _, stderr := gatewayCommand(append([]string{"bench"}, c.args...)...)
			assert.NotZero(t, status)
			assert.Contains(t, stderr, c.says)
		})
	}
}

func TestAURLIsMeasuredAndItsAnswersAreChecked(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/none" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, r.Method+" "+string(b))
	}))
	defer srv.Close()
	body := write(t, "body", "a=1", 0o644)
	few := []string{"--requests", "20", "--warm-up", "0s", "--connections", "2"}
	status, stdout, stderr := gatewayCommand(append([]string{"bench", srv.URL + "/x", "--body", body, "--expect", "POST a=1"}, few...)...)
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "20 right, 0 not")

	status, stdout, _ = gatewayCommand(append([]string{"bench", srv.URL, "--json"}, few...)...)
	assert.Zero(t, status)
	var r measure.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	assert.EqualValues(t, 20, r.Right())
	assert.EqualValues(t, 20, r.Series[0].Full().Latency.Count)

	status, _, stderr = gatewayCommand(append([]string{"bench", srv.URL + "/none"}, few...)...)
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "status 404 Not Found, not 200 (give --expect-status 404")
}

func TestAScriptIsMeasuredInEveryModeThatItCanBeIn(t *testing.T) {
	dir := t.TempDir()
	report, script := filepath.Join(dir, "r.html"), filepath.Join(dir, "a.pl")
	few := []string{"--requests", "10", "--warm-up", "0s", "--connections", "2", "--rounds", "1"}
	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nour $n; $n++; print \"Content-Type: text/plain\\n\\n$ENV{QUERY_STRING} $n\";\n"), 0o755))
	code, out, errs := runGateway(t, append([]string{"bench", "--script", script, "--request", "GET:?q=1", "--report", report}, few...)...)
	assert.Equal(t, 1, code, "in mode reuse the script counts on")
	assert.Contains(t, out, "mode reuse, not right:", errs)
	assert.Contains(t, out, `not "q=1 1"`)
	assert.Regexp(t, `(?m)^spawn .* 0$`, out)
	assert.Regexp(t, `(?m)^warm .* 0$`, out)
	page, err := os.ReadFile(report)
	require.NoError(t, err)
	assert.Contains(t, string(page), "Not all was right in mode reuse")

	require.NoError(t, os.WriteFile(script, []byte(echoScript), 0o755))
	code, out, errs = runGateway(t, append([]string{"bench", "--script", script, "--expect-status", "201"}, few...)...)
	assert.Zero(t, code, errs)
	assert.Contains(t, out, "mode warm: not measured, as the script can't be in it: no runner for it: it runs by /bin/sh")

	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\ndie qq(no database\\n)\n"), 0o755))
	code, _, errs = runGateway(t, append([]string{"bench", "--script", script}, few...)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "502 Bad Gateway")
	assert.Contains(t, errs, "no database")
}
