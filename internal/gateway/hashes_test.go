package gateway

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// costly are hashes of which one would keep a processor for minutes or for days.
var costly = []string{
	"$2y$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
	"$2b$15$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
	"$6$rounds=999999999$salt$hash",
	"$5$rounds=500001$salt$hash",
}

func TestAHashThatTakesForEverIsRefusedWhenItIsRead(t *testing.T) {
	s := newSite(t)
	const yaml = "routes:\n  - {path: /, files: {root: .}, auth: {basic: {htpasswd: htpasswd}}}\n"
	for _, hash := range costly {
		s.write("htpasswd", "a:"+hash+"\n")
		_, err := New(s.config(yaml), Options{})
		require.ErrorIs(t, err, errCostly, hash)
		assert.NotContains(t, err.Error(), hash)
		assert.Contains(t, err.Error(), "the most is")
	}
	s.write("htpasswd", "a:$6$rounds=x$salt$hash\na:$5$rounds=$salt$hash\nb:{SHA}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=\n")
	g := s.serve(yaml)
	assert.Equal(t, 401, g.as("a", "x", "/none").StatusCode, "rounds that are no number are nobody's")
	assert.Zero(t, g.metric("warmcgi_request_errors_total"))
}

func TestAFileOfPasswordsThatNamesAHashThatTakesForEverIsNotTakenUp(t *testing.T) {
	g := guarded(t, "")
	assert.Equal(t, 200, g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode)
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	g.site.write("htpasswd", string(b)+"new:"+costly[0]+"\n")
	eventually(t, func() bool {
		assert.Equal(t, 401, g.as("new", "x", "/cgi-bin/p").StatusCode)
		return strings.Contains(g.log.String(), "changed file of passwords is not read")
	}, "the log says so")
	assert.Equal(t, 200, g.as("sha", "secret of sha", "/cgi-bin/p").StatusCode)
}

// crypt(3) hashes a password over and over: of a head's length it would be for minutes.
func TestALongPasswordIsNotHashed(t *testing.T) {
	g := guarded(t, "")
	h := g.hashers
	h.wait = 20 * time.Millisecond
	require.NoError(t, h.sem.Acquire(t.Context(), h.limit-maxHashWaits)) // whoever would hash has to wait
	for _, user := range []string{"sha512", "apr1", "bcrypt", "openssl"} {
		for n, status := range map[int]int{60_000: 401, maxPassword + 1: 401, maxPassword: 503} {
			a := g.get("/cgi-bin/p", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+strings.Repeat("x", n))))
			assert.Equal(t, status, a.StatusCode, "%s, %d octets", user, n)
		}
	}
	h.sem.Release(h.limit - maxHashWaits)
}

func TestFewPasswordsAreHashedAtATimeAndTheRestWaitsOrIsRefused(t *testing.T) {
	h := newHashers(slog.New(slog.DiscardHandler))
	most := h.limit - maxHashWaits
	var running, seen atomic.Int64
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			assert.NoError(t, h.do(t.Context(), func() { running.Add(1); <-release }))
		})
	}
	eventually(t, func() bool { return running.Load() == most }, "all that may are hashing")
	for range maxHashWaits {
		wg.Go(func() {
			assert.NoError(t, h.do(t.Context(), func() {
				if n := running.Load(); n > most {
					seen.Store(n)
				}
			}))
		})
	}
	eventually(t, func() bool { return h.busy.Load() == h.limit }, "as many wait as may")
	assert.ErrorIs(t, h.do(t.Context(), func() { assert.Fail(t, "it is hashed") }), errLogins)
	close(release)
	wg.Wait()
	assert.Zero(t, seen.Load())

	// Nobody waits for ever, and who has gone waits no longer.
	h.wait = 20 * time.Millisecond
	require.NoError(t, h.sem.Acquire(t.Context(), most))
	assert.ErrorIs(t, h.do(t.Context(), func() { assert.Fail(t, "it is hashed") }), errLogins)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, h.do(ctx, func() { assert.Fail(t, "it is hashed") }), context.Canceled)
	h.sem.Release(most)
	assert.Zero(t, h.busy.Load())
}

func TestAFloodOfPasswordsIsAnsweredWith503(t *testing.T) {
	s := newSite(t)
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s.write("htpasswd", string(b))
	s.script("cgi-bin/p", helloWorld)
	g := s.serve("routes:\n  - {path: /open/, cgi: {dir: cgi-bin}}\n  - {path: /cgi-bin/, cgi: {dir: cgi-bin}, auth: {basic: {htpasswd: htpasswd}}}\n", func(s *Server) { s.hashers.wait = 20 * time.Millisecond })
	n := g.hashers.limit - maxHashWaits
	require.NoError(t, g.hashers.sem.Acquire(t.Context(), n)) // as hashing does
	a := g.as("bcrypt", "guess", "/cgi-bin/p")
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	g.requireFailure("logins", 503)
	assert.Equal(t, 401, g.as("nobody", "guess", "/cgi-bin/p").StatusCode, "there is nothing to hash")
	assert.Equal(t, 200, g.get("/open/p").StatusCode)
	g.hashers.sem.Release(n)
	assert.Equal(t, 401, g.as("bcrypt", "guess", "/cgi-bin/p").StatusCode)
}
