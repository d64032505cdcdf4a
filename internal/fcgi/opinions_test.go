package fcgi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yookoala/gofast"
)

// applications are two that speak FastCGI without any of this package's code, and our own
// server, each with the same handler.
func applications(t *testing.T, h http.HandlerFunc) map[string]TransportConfig {
	t.Helper()
	dir, err := os.MkdirTemp("", "fcgi")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "std"))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fcgi.Serve(ln, h)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	s := serve(t, "unix", h)
	return map[string]TransportConfig{
		"net/http/fcgi":    {Network: "unix", Address: filepath.Join(dir, "std"), Keep: time.Hour},
		"the FastCGI door": {Network: s.addr.Network(), Address: s.addr.String(), Keep: time.Hour},
	}
}

// mirror answers with what it was asked.
func mirror(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	w.Header().Set("X-Long", r.Header.Get("X-Long"))
	fmt.Fprintf(w, "%s %s %d ", r.Method, r.URL.RequestURI(), len(b))
	w.Write(b)
}

func TestTheTransportIsUnderstoodByOtherServers(t *testing.T) {
	for name, c := range applications(t, mirror) {
		t.Run(name, func(t *testing.T) {
			c.MaxConns = 4
			tr, err := NewTransport(c)
			require.NoError(t, err)
			defer tr.Close(context.Background())
			for _, n := range []int{0, 1, 8, 65_535, 65_536, 300_000} {
				for i := range 3 {
					text := strings.Repeat("b", n)
					req := aRequest(withVars(fmt.Sprint("REQUEST_URI=/a?i=", i), "SERVER_PROTOCOL=HTTP/1.1", "HTTP_HOST=x", "HTTP_X_LONG="+text[:n/8]))
					if n > 0 {
						withBody(strings.NewReader(text), n)(req)
						req.Vars = append(req.Vars, fmt.Sprint("CONTENT_LENGTH=", n))
					}
					res, err := tr.RoundTrip(t.Context(), req)
					require.NoError(t, err)
					b, err := io.ReadAll(res.Body)
					require.NoError(t, err)
					res.Body.Close()
					want := fmt.Sprintf("GET /a?i=%d 0 ", i)
					if n > 0 {
						want = fmt.Sprintf("POST /a?i=%d %d %s", i, n, text)
					}
					assert.True(t, strings.HasSuffix(string(b), want), "%d octets: %.60q", n, b)
					assert.Equal(t, text[:n/8], res.Header.Get("X-Long"))
				}
			}
		})
	}
}

func TestTheFastCGIDoorUnderstandsAnotherClient(t *testing.T) {
	s := serve(t, "unix", mirror)
	factory := gofast.SimpleClientFactory(gofast.SimpleConnFactory(s.addr.Network(), s.addr.String()))
	h := gofast.NewHandler(gofast.Chain(gofast.BasicParamsMap, gofast.MapHeader)(gofast.BasicSession), factory)
	for _, n := range []int{0, 1, 65_535, 200_000} {
		body := bytes.Repeat([]byte("b"), n)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/x?n="+fmt.Sprint(n), bytes.NewReader(body)))
		assert.Equal(t, 200, w.Code)
		assert.True(t, strings.HasSuffix(w.Body.String(), fmt.Sprintf(" %d %s", n, body)), "%d octets: %.80q", n, w.Body.String())
	}
}
