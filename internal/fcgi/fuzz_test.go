package fcgi

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func FuzzParamsDecodeOrFailAndSurviveARoundTrip(f *testing.F) {
	for _, s := range []string{
		"", "\x01\x01Aa", "\x01\x01A1\x01\x01A2", "\x80\x00\x00\x01\x00A", "\x05\x00abc", "\xff\xff\xff\xff\xff\xff\xff\xffA",
		string(params(1, "REQUEST_METHOD", "GET", "REQUEST_URI", "/", "HTTP_HOST", "h", "CONTENT_LENGTH", "1")[8:]),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := decodeParams(s)
		if err != nil {
			require.ErrorIs(t, err, ErrParams)
			return
		}
		var b []byte
		seen := map[string]bool{}
		for name, value := range p.All() {
			require.False(t, seen[name] || name == "", "%q", name)
			seen[name] = true
			b = appendParam(b, name, value)
		}
		again, err := decodeParams(string(b))
		require.NoError(t, err)
		require.True(t, slices.Equal(p, again))
		if r, err := newRequest(t.Context(), p); err == nil {
			assert.NotNil(t, r.URL)
			assert.NotEmpty(t, r.Method)
			for name := range r.Header {
				assert.True(t, isToken(name))
			}
		}
	})
}

// A script is a connection whose other side sends what it sends and then goes.
type script struct {
	io.Reader
	out bytes.Buffer
	net.Conn
}

func (s *script) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func FuzzAConnectionSurvivesWhateverItIsSent(f *testing.F) {
	cat := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	f.Add(get(1, true, "/"))
	f.Add(cat(get(1, true, "/"), get(1, false, "/?2")))
	f.Add(cat(post(1, true, "4"), stream(typeStdin, 1, []byte("body")), stdinEnd(1)))
	f.Add(cat(post(1, true, ""), stream(typeStdin, 1, []byte("body")), abort(1), get(2, true, "/")))
	f.Add(cat(post(7, true, "9"), stream(typeStdin, 7, []byte("short")), stdinEnd(7)))
	f.Add(cat(appendRecord(nil, typeGetValues, 0, appendParam(nil, "FCGI_MPXS_CONNS", "")), appendRecord(nil, 99, 0, nil)))
	f.Add(cat(appendBegin(nil, 1, roleFilter, 1), begin(1, true), begin(2, false), abort(2), abort(1)))
	f.Add(cat(begin(1, true), params(1, "REQUEST_METHOD", "GET", "BIG", string(make([]byte, 5000))), stdinEnd(1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &Server{
			MaxParams: 4096,
			ErrorLog:  slog.New(slog.DiscardHandler),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(w, r.Body)
			}),
		}
		s.mu.Lock()
		s.init()
		s.mu.Unlock()
		defer s.Close()
		conn := &script{Reader: bytes.NewReader(in)}
		c := newConn(s, conn, t.Context())
		c.serve()
		require.LessOrEqual(t, cap(c.raw), 2*max(4096, keepParams))

		// Whatever was answered is in whole records.
		for out := conn.out.Bytes(); len(out) > 0; {
			require.GreaterOrEqual(t, len(out), headerLen)
			h, err := parseHeader(out)
			require.NoError(t, err)
			n := headerLen + h.length + h.padding
			require.LessOrEqual(t, n, len(out))
			out = out[n:]
		}
	})
}
