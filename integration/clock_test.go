//go:build linux

package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jumps is put into time.Now: every 50 ms the clock of the wall is set, a day on, two back, one on. The monotonic one
// goes on as it does when an administrator sets the time.
const jumps = "\n\tsec += [3]int64{0, 86400, -86400}[mono/50_000_000%3]\n"

// jumpyGateway is the program with a clock that is set all the time. There is no clock for one process alone, so it is built
// with another package time.
var jumpyGateway = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	was := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(was)
	if err != nil {
		return "", err
	}
	before, after, ok := strings.Cut(string(text), "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n")
	if !ok {
		return "", fmt.Errorf("%s: time.Now is not what it was", was)
	}
	is := filepath.Join(binDir, "time.go")
	if err := os.WriteFile(is, []byte(before+"\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"+jumps+after), 0o644); err != nil {
		return "", err
	}
	overlay := filepath.Join(binDir, "overlay.json")
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, was, is), 0o644); err != nil {
		return "", err
	}
	return build("gateway-jumpy", "gateway", "-overlay", overlay)
})

// application is a FastCGI server in this process, which says how long a body is, or nothing at all if the query is silent.
func application(t *testing.T, dir string) (socket string) {
	t.Helper()
	socket = filepath.Join(dir, "app.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	silent := make(chan struct{})
	go fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with the listener
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.RawQuery == "silent" {
			<-silent
		}
		fmt.Fprint(w, n)
	}))
	t.Cleanup(func() { l.Close(); close(silent) })
	return socket
}

func TestTheClockMayBeSetAtAnyTime(t *testing.T) {
	binary, err := jumpyGateway()
	require.NoError(t, err)
	dir := faultSite(t)
	socket := application(t, dir)
	g := startGatewayOf(t, binary, dir, strings.Replace(faultYAML, "total: 3s", "first_byte: 3s, idle: 3s, total: 2m", 1)+
		"  - {path: /app, fastcgi: {servers: ['unix:"+socket+"']}}\n", how{})
	c := newClient(t, g.url())
	for _, mode := range []string{"warm", "reuse"} {
		g.until(t, c, mode, "/"+mode+"/echo.pl")
	}
	apps := []string{"/app", "/app", "/app", "/app"}
	var all sync.WaitGroup
	for i, path := range append(apps, "/spawn/echo.pl", "/warm/echo.pl", "/reuse/echo.pl", "/spool/echo.pl") {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 17 * time.Millisecond) // the clock is another one for each
			status, body := dribble(t, g.url()+path)
			assert.Equal(t, "200 102400", fmt.Sprint(status, " ", body), path)
		})
	}
	all.Wait()
	for i, path := range append(apps, "/spawn/wait.pl?"+dir+"/a", "/warm/wait.pl?"+dir+"/b", "/reuse/wait.pl?"+dir+"/c") {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 17 * time.Millisecond)
			if path == "/app" {
				path += "?silent"
			}
			a, err := newClient(t, g.url()).try(request{method: "POST", path: path, body: strings.Repeat("x", 100<<10)})
			assert.NoError(t, err)
			assert.Equal(t, 504, a.status, path)
		})
	}
	all.Wait()
	assert.NotContains(t, g.out.String(), "(total", "they end by the limit that is hit first")
	assert.Equal(t, "0", c.get(t, "/app").body)
	g.end(t) // the wait for connections that have no request ends, too
}

// dribble sends 100 KiB, a piece every 64 ms, for longer than first_byte lasts: between two of them the clock is set.
func dribble(t *testing.T, url string) (status int, body string) {
	r, w := io.Pipe()
	go func() { // ends with the body, or with who reads it
		defer w.Close()
		for range 64 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1600)); err != nil {
				return
			}
			time.Sleep(64 * time.Millisecond)
		}
	}()
	defer r.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, r)
	if !assert.NoError(t, err) {
		return 0, ""
	}
	req.ContentLength, req.Close = 100<<10, true
	res, err := http.DefaultClient.Do(req)
	if !assert.NoError(t, err) {
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	assert.NoError(t, err)
	return res.StatusCode, string(b)
}
