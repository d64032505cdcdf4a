package fcgi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const nginxConfig = `
daemon off;
user root;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/error.log info;
events { worker_connections 64; }
http {
	access_log off;
	client_max_body_size 8m;
	client_body_temp_path %[1]s/body;
	fastcgi_temp_path %[1]s/fastcgi;
	proxy_temp_path %[1]s/proxy;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream kept { server unix:%[2]s; keepalive 4; }
	fastcgi_param QUERY_STRING $query_string;
	fastcgi_param REQUEST_METHOD $request_method;
	fastcgi_param CONTENT_TYPE $content_type;
	fastcgi_param CONTENT_LENGTH $content_length;
	fastcgi_param SCRIPT_NAME $fastcgi_script_name;
	fastcgi_param REQUEST_URI $request_uri;
	fastcgi_param SERVER_PROTOCOL $server_protocol;
	fastcgi_param HTTPS $https if_not_empty;
	fastcgi_param REMOTE_ADDR $remote_addr;
	fastcgi_param REMOTE_PORT $remote_port;
	fastcgi_param SERVER_NAME $server_name;
	server {
		listen 127.0.0.1:%[3]d;
		location /plain/ { fastcgi_pass unix:%[2]s; }
		location /keep/ { fastcgi_pass kept; fastcgi_keep_conn on; }
		location /stream/ {
			fastcgi_pass kept; fastcgi_keep_conn on;
			fastcgi_buffering off; fastcgi_request_buffering off;
		}
	}
}
`

func nginxBinary(t *testing.T) string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			require.NoError(t, err, "CI needs nginx")
		}
		t.Skip("nginx is not installed")
	}
	return path
}

// startNginx runs nginx in front of s, and returns its URL.
func startNginx(t *testing.T, s *testServer) string {
	t.Helper()
	binary := nginxBinary(t)
	dir := filepath.Dir(s.addr.String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()

	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, s.addr, port), 0o600))
	cmd := exec.Command(binary, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx: %s\n%s", &out, log)
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond, "nginx does not answer: %s", &out)
	return "http://" + addr
}

// An nginxHandler does what the last part of the path says.
type nginxHandler struct {
	mu    sync.Mutex
	conns map[*conn]int
	here  chan struct{} // "wait" has begun
	gone  chan error    // "wait" has ended
}

func (h *nginxHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.conns[r.Context().(*requestContext).ex.c]++
	h.mu.Unlock()
	switch filepath.Base(r.URL.Path) {
	case "sum":
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, hash.Sum(nil), err)
	case "large":
		w.Write(make([]byte, 3<<20))
	case "refuse":
		w.(StatusWriter).WriteStatus(http.StatusRequestEntityTooLarge, "Far Too Much")
	case "broken":
		io.WriteString(w, strings.Repeat("some", 5000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "wait":
		h.here <- struct{}{}
		<-r.Context().Done()
		h.gone <- context.Cause(r.Context())
	default:
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Remote", r.RemoteAddr)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, r.Header.Get("X-Some-Thing"))
	}
}

func TestNginxInFront(t *testing.T) {
	h := &nginxHandler{conns: map[*conn]int{}, here: make(chan struct{}, 8), gone: make(chan error, 8)}
	s := serve(t, "unix", h.ServeHTTP)
	base := startNginx(t, s)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	do := func(t *testing.T, method, path string, body io.Reader) (*http.Response, string, error) {
		t.Helper()
		r, err := http.NewRequest(method, base+path, body)
		require.NoError(t, err)
		r.Header.Set("X-Some-Thing", "here")
		res, err := client.Do(r)
		if err != nil {
			return nil, "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res, string(b), err
	}
	mb := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := fmt.Sprintf("%d %x <nil>", len(mb), sha256.Sum256(mb))

	for _, kind := range []string{"/plain/", "/keep/", "/stream/"} {
		t.Run(strings.Trim(kind, "/"), func(t *testing.T) {
			t.Run("GET", func(t *testing.T) {
				res, body, err := do(t, "GET", kind+"a%20b?q=%2F", nil)
				require.NoError(t, err)
				assert.Equal(t, 200, res.StatusCode)
				assert.Equal(t, "text/plain", res.Header.Get("Content-Type"))
				assert.True(t, strings.HasPrefix(res.Header.Get("X-Remote"), "127.0.0.1:"))
				assert.Equal(t, "GET "+strings.TrimPrefix(base, "http://")+" "+kind+"a%20b?q=%2F here", body)
			})
			t.Run("HEAD", func(t *testing.T) {
				res, body, err := do(t, "HEAD", kind, nil)
				require.NoError(t, err)
				assert.Equal(t, "text/plain", res.Header.Get("Content-Type"))
				assert.Empty(t, body)
			})
			t.Run("POST of a megabyte", func(t *testing.T) {
				_, body, err := do(t, "POST", kind+"sum", bytes.NewReader(mb))
				require.NoError(t, err)
				assert.Equal(t, sum, body)
			})
			t.Run("chunked POST", func(t *testing.T) {
				_, body, err := do(t, "POST", kind+"sum", struct{ io.Reader }{bytes.NewReader(mb)})
				require.NoError(t, err)
				assert.Equal(t, sum, body)
			})
			t.Run("large answer", func(t *testing.T) {
				_, body, err := do(t, "GET", kind+"large", nil)
				require.NoError(t, err)
				assert.Len(t, body, 3<<20)
			})
			t.Run("unread body", func(t *testing.T) {
				res, _, err := do(t, "POST", kind+"refuse", bytes.NewReader(mb))
				require.NoError(t, err)
				assert.Equal(t, "413 Far Too Much", res.Status)
			})
			t.Run("broken answer", func(t *testing.T) {
				_, _, err := do(t, "GET", kind+"broken", nil)
				assert.Error(t, err, "it must not pass for a whole one")
			})
			t.Run("client that goes", func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				r, err := http.NewRequestWithContext(ctx, "GET", base+kind+"wait", nil)
				require.NoError(t, err)
				did := make(chan error, 1)
				go func() {
					_, err := client.Do(r)
					did <- err
				}()
				await(t, h.here)
				cancel()
				assert.Error(t, await(t, did))
				assert.ErrorIs(t, await(t, h.gone), ErrGone)
			})
		})
	}

	t.Run("connections are kept only when they are to be", func(t *testing.T) {
		for kind, want := range map[string]int{"/plain/": 10, "/keep/": 1} {
			h.mu.Lock()
			clear(h.conns)
			h.mu.Unlock()
			for range 10 {
				_, _, err := do(t, "GET", kind, nil)
				require.NoError(t, err)
			}
			h.mu.Lock()
			assert.Len(t, h.conns, want, kind)
			h.mu.Unlock()
		}
	})
	assert.Empty(t, s.log.String())
}
