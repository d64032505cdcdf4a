package gateway

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

var trustingLoopback = config.Prefixes{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}

// passedOn is what clientOf makes of a trusted proxy's fields.
func passedOn(xff, fwd string) client {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	if xff != "" {
		r.Header["X-Forwarded-For"] = []string{xff}
	}
	if fwd != "" {
		r.Header["Forwarded"] = []string{fwd}
	}
	return clientOf(r, trustingLoopback, false)
}

func TestAProxysWordForAnAddressIsOne(t *testing.T) {
	for in, want := range map[string]string{
		"6.6.6.6": "6.6.6.6", "6.6.6.6:80": "6.6.6.6:80", "[2001:db8::1]:80": "[2001:db8::1]:80", "2001:db8::1": "2001:db8::1",
		"6.6.6.6:evil": "6.6.6.6", "6.6.6.6:": "6.6.6.6", "6.6.6.6:99999": "6.6.6.6", "[2001:db8::1]:_x": "2001:db8::1",
		"fe80::1%<script>": "127.0.0.1:1", "[fe80::1%eth0\" 200 1]:80": "127.0.0.1:1", "unknown": "127.0.0.1:1",
	} {
		assert.Equal(t, want, passedOn(in, "").addr, in)
		assert.Equal(t, want, passedOn("", `for="`+in+`"`).addr, in)
	}
}

// FuzzForwarded: whatever fields a trusted proxy passes on, the client is an address, with
// a port that is a number or none.
func FuzzForwarded(f *testing.F) {
	for _, in := range []string{
		"1.2.3.4", "1.2.3.4, 127.0.0.1", "[2001:db8::1]:80", "unknown", "fe80::1%x", "1.2.3.4:x", ",,", "]", `for="[2001:db8::1]:4711";proto=https;host=x`, "for=_hidden;by=1",
	} {
		f.Add(in, "")
		f.Add("", in)
	}
	f.Fuzz(func(t *testing.T, xff, fwd string) {
		c := passedOn(xff, fwd)
		host, port, err := net.SplitHostPort(c.addr)
		if err != nil {
			host = c.addr
		} else {
			_, err = strconv.ParseUint(port, 10, 16)
			require.NoError(t, err, c.addr)
		}
		addr, err := netip.ParseAddr(host)
		require.NoError(t, err, c.addr)
		require.Empty(t, addr.Zone())
	})
}

// FuzzAcceptEncoding: a coding is chosen only if the client named it or anything, and
// q-values are within their bounds.
func FuzzAcceptEncoding(f *testing.F) {
	for _, in := range []string{"gzip", "gzip;q=0", "*;q=0.5, zstd", "identity;q=1, *;q=0", "gzip;q=NaN", "gzip;q=1e400", "gzip;;q=0.5", "x-gzip", ",;,", "gzip;q=0x1p-2"} {
		f.Add(in)
	}
	k := newCompression(config.Compress{With: []config.Coding{"zstd", "gzip"}})
	f.Fuzz(func(t *testing.T, in string) {
		for _, name := range []string{"gzip", "zstd", "identity"} {
			q := quality([]string{in}, name)
			require.True(t, q >= 0 && q <= 1000, q)
		}
		if c := k.choose([]string{in}); c != nil {
			require.True(t, strings.Contains(in, "*") || strings.Contains(strings.ToLower(in), c.name), "%s for %q", c.name, in)
		}
	})
}

// FuzzHtpasswd: no file brings the gateway down, and none lets in who gives no name.
func FuzzHtpasswd(f *testing.F) {
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(f, err)
	f.Add(b, "bcrypt", "x")
	for _, in := range []string{"a:b\n", "a:{SHA}\n", "a:$apr1$\n", "a:$2y$\n", "a:$6$\n", "a:$5$rounds=1$x$\n", "a:{SSHA}x\n", ":\n", "a\n", "a:$apr1$$\n"} {
		f.Add([]byte(in), "a", "b")
	}
	path := filepath.Join(f.TempDir(), "htpasswd")
	h := newHashers(slog.New(slog.DiscardHandler))
	allow := func(t *testing.T, a *basicAuth, r *http.Request) bool {
		_, ok, err := a.allow(r, h)
		require.NoError(t, err)
		return ok
	}
	for _, in := range []string{"a:$2y$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234\n", "a:$6$rounds=999999999$x$y\n", "a:$5$rounds=x$x$y\n", "a:$6$rounds=-1$x$\n", "a:$6$$\n", "a:$5$\n"} {
		f.Add([]byte(in), "a", "b")
	}
	f.Fuzz(func(t *testing.T, in []byte, user, password string) {
		require.NoError(t, os.WriteFile(path, in, 0o600))
		a, err := newBasicAuth("x", path)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", http.NoBody)
		require.False(t, allow(t, a, r))
		r.SetBasicAuth("", password)
		require.False(t, allow(t, a, r))
		if !bytes.Contains(in, []byte("$2")) && !bytes.Contains(in, []byte("rounds=")) { // up to a second each
			r.SetBasicAuth(user, password)
			allow(t, a, r)
		}
	})
}
