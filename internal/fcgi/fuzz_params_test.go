package fcgi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/yookoala/gofast"
)

// addRandom adds n inputs that are others each time; WARMCGI_FUZZ_SEED makes them the same
// again.
func addRandom(f *testing.F, n int, add func(r *rand.Rand)) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WARMCGI_FUZZ_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(f, err)
	}
	f.Logf("WARMCGI_FUZZ_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range n {
		add(r)
	}
}

// randomOctets are up to n.
func randomOctets(r *rand.Rand, n int) []byte {
	b := make([]byte, r.IntN(n+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sizes are those at which something changes: in a length, in a record, in a buffer.
var sizes = []int{0, 1, 2, 5, 126, 127, 128, 129, 255, 256, 4095, 16 << 10, 65_527, 65_528, 65_529, 65_534, 65_535, 65_536, 65_537, 70_000, 140_000}

// pairsOf makes name-value pairs of random octets, four for each.
func pairsOf(b []byte, empty bool) map[string]string {
	vars := map[string]string{}
	for total := 0; len(b) >= 4 && total < 400_000; b = b[4:] {
		n, m := sizes[int(b[0])%len(sizes)], sizes[int(b[1])%len(sizes)]
		if b[0] > 128 { // as most names are
			n = 1 + int(b[0])%30
		}
		name, value := string(b[2:3]), string(b[3:4])
		if name == "=" || name == "\x00" {
			name = "Q"
		}
		if value == "\x00" {
			value = "="
		}
		if n == 0 && !empty {
			n = 1
		}
		vars[strings.Repeat(name, n)] = strings.Repeat(value, m)
		total += n + m
	}
	return vars
}

// addPairs adds inputs of pairsOf.
func addPairs(f *testing.F) {
	f.Add([]byte{})
	for i := range sizes {
		f.Add([]byte{byte(i), byte(len(sizes) - 1 - i), 'A', 'a', byte(i), 1, 'B', 'b', 129, byte(i), 'C', 'c'})
	}
	f.Add(bytes.Repeat([]byte{129, 3, 'D', 'd', 140, 6, 'E', 'e', 150, 7, 'F', 'f'}, 100))
	addRandom(f, 100, func(r *rand.Rand) { f.Add(randomOctets(r, 40)) })
}

// serveStd has net/http/fcgi serve, and returns where.
func serveStd(t testing.TB, h http.HandlerFunc) string {
	dir, err := os.MkdirTemp("", "fcgi")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "std"))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		fcgi.Serve(ln, h)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func transportTo(t testing.TB, address string) *Transport {
	tr, err := NewTransport(TransportConfig{Network: "unix", Address: address, MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close(context.Background()) })
	return tr
}

func FuzzVariablesReachAnotherServerAsTheyAre(f *testing.F) {
	addPairs(f)
	got := make(chan map[string]string, 1)
	tr := transportTo(f, serveStd(f, func(w http.ResponseWriter, r *http.Request) { got <- fcgi.ProcessEnv(r) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		want := pairsOf(b, true)
		req := aRequest(withVars("REQUEST_URI=/", "SERVER_PROTOCOL=HTTP/1.1", "HTTP_HOST=x"))
		for name, value := range want {
			req.Vars = append(req.Vars, name+"="+value)
		}
		res, err := tr.RoundTrip(t.Context(), req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		res.Body.Close()
		env := <-got
		delete(env, "SERVER_PROTOCOL")
		delete(env, "REQUEST_URI")
		requireSame(t, want, env)
	})
}

// requireSame fails with a short text.
func requireSame(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, value := range want {
		v, ok := got[name]
		require.True(t, ok && v == value, "%.20q (%d octets): %.20q of %d octets became %.20q of %d octets", name, len(name), value, len(value), v, len(v))
	}
	require.Len(t, got, len(want))
}

// The records may be cut anywhere.
func FuzzVariablesMayBeCutAnywhereAndAreReadAsAnotherServerReadsThem(f *testing.F) {
	addPairs(f)
	got := make(chan map[string]string, 1)
	std := serveStd(f, func(w http.ResponseWriter, r *http.Request) { got <- fcgi.ProcessEnv(r) })
	ours := serve(f, "unix", func(w http.ResponseWriter, r *http.Request) {
		p, _ := ParamsFromContext(r.Context())
		got <- maps.Collect(p.All())
	}, func(s *Server) { s.MaxParams = 1 << 22 })
	f.Fuzz(func(t *testing.T, b []byte) {
		want := pairsOf(b, false)
		content := appendParam(nil, "REQUEST_METHOD", "GET")
		for name, value := range want {
			content = appendParam(content, name, value)
		}
		content = appendParam(content, "SERVER_PROTOCOL", "HTTP/1.1")
		out := appendBegin(nil, requestID, roleResponder, 0)
		for i := 0; len(content) > 0; i++ {
			n := maxContent
			if i < len(b) {
				n = 1 + sizes[int(b[i])%len(sizes)]
			}
			n = min(n, len(content), maxContent)
			out = appendRecord(out, typeParams, requestID, content[:n])
			content = content[n:]
		}
		out = appendRecord(appendRecord(out, typeParams, requestID, nil), typeStdin, requestID, nil)
		for name, address := range map[string]string{"net/http/fcgi": std, "ours": ours.addr.String()} {
			c, err := net.Dial("unix", address)
			require.NoError(t, err)
			go io.Copy(io.Discard, c) // ends with the connection
			_, err = c.Write(out)
			require.NoError(t, err, name)
			select {
			case env := <-got:
				delete(env, "SERVER_PROTOCOL")
				delete(env, "REQUEST_METHOD")
				requireSame(t, want, env)
			case <-time.After(patience):
				require.Fail(t, "no request came", name)
			}
			c.Close()
		}
	})
}

// gofastTo asks by gofast, on a connection of its own, and returns the head and the body.
func gofastTo(t testing.TB, s *testServer, vars map[string]string, body []byte) *bytes.Buffer {
	t.Helper()
	client, err := gofast.SimpleClientFactory(gofast.SimpleConnFactory(s.addr.Network(), s.addr.String()))()
	require.NoError(t, err)
	defer client.Close()
	req := &gofast.Request{Role: gofast.RoleResponder, Params: vars}
	if body != nil {
		req.Stdin = io.NopCloser(bytes.NewReader(body))
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	w, complaints := newPlainWriter(), new(bytes.Buffer)
	require.NoError(t, res.WriteTo(w, complaints))
	require.Empty(t, complaints.String())
	return &w.body
}

// A plainWriter is a [http.ResponseWriter] that keeps the body.
type plainWriter struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func newPlainWriter() *plainWriter { return &plainWriter{header: http.Header{}, status: 200} }

func (w *plainWriter) Header() http.Header         { return w.header }
func (w *plainWriter) WriteHeader(status int)      { w.status = status }
func (w *plainWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

func FuzzARequestOfAnotherClientIsReadAsItIs(f *testing.F) {
	addPairs(f)
	got := make(chan map[string]string, 1)
	s := serve(f, "unix", func(w http.ResponseWriter, r *http.Request) {
		p, _ := ParamsFromContext(r.Context())
		got <- maps.Collect(p.All())
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, r.Body)
	}, func(s *Server) { s.MaxParams, s.ErrorLog = 1<<22, slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, b []byte) {
		want := pairsOf(b, false)
		var body []byte
		if len(b) > 4 {
			body = bytes.Repeat(b, 1+sizes[int(b[4])%len(sizes)]/len(b))
		}
		vars := maps.Clone(want)
		vars["REQUEST_METHOD"], vars["CONTENT_LENGTH"] = "POST", fmt.Sprint(len(body))
		echo := gofastTo(t, s, vars, body)
		requireSame(t, vars, <-got)
		require.True(t, bytes.Equal(body, echo.Bytes()), "%d octets became %d", len(body), echo.Len())
	})
}
