//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// faultScripts echo the body, and say first who they are.
var faultScripts = map[string]string{
	"echo.pl": "#!/usr/bin/perl\n# cgi: reuse\nmy $b = do { local $/; <STDIN> } // '';\nprint \"Content-Type: text/plain\\n\\n\", length $b;\n",
	"wait.pl": "#!/usr/bin/perl\n# cgi: reuse\nopen my $f, '>', \"$ENV{QUERY_STRING}.new\"; print $f readlink '/proc/self'; close $f; rename \"$ENV{QUERY_STRING}.new\", $ENV{QUERY_STRING};\nselect undef, undef, undef, 0.01 until -e \"$ENV{QUERY_STRING}.go\";\nprint \"Content-Type: text/plain\\n\\nended\";\n",
}

const faultYAML = `
listen: [{http: 127.0.0.1:0}]
defaults: {timeout: {total: 3s, grace: 200ms}}
routes:
  - {path: /spawn/, cgi: {dir: cgi}, mode: spawn}
  - {path: /warm/, cgi: {dir: cgi}, mode: warm}
  - {path: /reuse/, cgi: {dir: cgi}, mode: reuse}
  - {path: /spool/, cgi: {dir: cgi}, mode: spawn, body: {buffer: spool, memory: 1KiB}}
`

func faultSite(t *testing.T) (dir string) {
	t.Helper()
	needs(t, "perl")
	dir = tempDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, text := range faultScripts {
		writeFile(t, filepath.Join(dir, "cgi", name), text, 0o755)
	}
	return dir
}

func TestAFullDiskCostsTheUploadThatDoesNotFitAndNoOther(t *testing.T) {
	needsRoot(t)
	dir := faultSite(t)
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.Mkdir(disk, 0o777))
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	g := startGatewayAs(t, dir, faultYAML, how{env: []string{"TMPDIR=" + disk}})
	c := newClient(t, g.url())
	free := func() uint64 {
		var st syscall.Statfs_t
		require.NoError(t, syscall.Statfs(disk, &st))
		return st.Bfree
	}
	before := free()
	for range 3 {
		for _, chunked := range []bool{false, true} {
			a := c.do(t, request{method: "POST", path: "/spool/echo.pl", body: strings.Repeat("x", 3<<20), chunked: chunked})
			assert.Equal(t, 507, a.status)
			a = c.do(t, request{method: "POST", path: "/spool/echo.pl", body: strings.Repeat("x", 300<<10), chunked: chunked})
			assert.Equal(t, "307200", a.body)
		}
	}
	assert.Equal(t, "0", c.get(t, "/spawn/echo.pl").body)
	g.logs(t, "no space left on device")
	assert.EqualValues(t, 6, g.metric(t, "warmcgi_request_errors_total", `why="spool"`))
	require.Eventually(t, func() bool { return free() == before }, patience, 10*time.Millisecond, "nothing stays on the disk")
}

// setLimit changes a limit of a process that runs.
func setLimit(t *testing.T, pid, resource int, soft uint64) (back func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Prlimit(pid, resource, nil, &old))
	require.NoError(t, unix.Prlimit(pid, resource, &unix.Rlimit{Cur: soft, Max: old.Max}, nil))
	return func() { require.NoError(t, unix.Prlimit(pid, resource, &old, nil)) }
}

func TestAGatewayWithoutDescriptorsRefusesAndRecovers(t *testing.T) {
	dir := faultSite(t)
	writeFile(t, filepath.Join(dir, "files", "a.txt"), "a", 0o644)
	g := startGatewayAs(t, dir, faultYAML+`
  - {path: /files/, files: {root: files}}
  - {path: /app, fastcgi: {servers: ['unix:`+application(t, dir)+`']}}
`, how{})
	c := newClient(t, g.url())
	for _, mode := range []string{"warm", "reuse"} {
		require.Equal(t, "0", g.until(t, c, mode, "/"+mode+"/echo.pl").body)
	}
	back := setLimit(t, g.pid, unix.RLIMIT_NOFILE, uint64(descriptors(t, g.pid)+1))
	var idle []net.Conn
	for range 50 { // more than it can accept
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.url(), "http://"), patience)
		require.NoError(t, err)
		idle = append(idle, conn)
	}
	refused := []string{"/spawn/echo.pl", "/files/a.txt", "/app"}
	for range 3 { // by the connection that is there
		for _, path := range refused {
			a := c.get(t, path)
			assert.Equal(t, 503, a.status, path)
			assert.Equal(t, "1", a.header.Get("Retry-After"), path)
		}
	}
	a := c.do(t, request{method: "POST", path: "/spool/echo.pl", body: strings.Repeat("x", 100<<10)})
	assert.Equal(t, 503, a.status, "there is none for the body's file")
	g.logs(t, "too many open files")
	back()
	for _, conn := range idle {
		conn.Close()
	}
	assert.EqualValues(t, 10, g.metric(t, "warmcgi_request_errors_total", `why="exhausted"`))
	for _, path := range []string{"/spawn/echo.pl", "/warm/echo.pl", "/reuse/echo.pl", "/app"} {
		require.Eventually(t, func() bool { return newClient(t, g.url()).get(t, path).body == "0" }, patience, 10*time.Millisecond, path)
	}
}

func TestAGatewayWhoseUserMayStartNoProcessSaysSoAndRecovers(t *testing.T) {
	needsRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	require.NoError(t, err)
	dir := faultSite(t)
	const uid, most = 61234, 60
	g := startGatewayAs(t, dir, faultYAML, how{via: []string{
		setpriv, fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", uid), "--clear-groups",
		"bash", "-c", fmt.Sprintf(`ulimit -u %d; exec "$0" "$@"`, most),
	}})
	c := newClient(t, g.url())
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		require.Equal(t, "0", g.inMode(t, c, mode, "/"+mode+"/echo.pl").body)
	}
	var others []*server
	for range most { // the user has as many as it may
		cmd := exec.Command("sleep", "60")
		s := &server{name: "sleep", cmd: cmd, gone: make(chan struct{})}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setpgid: true}
		require.NoError(t, cmd.Start())
		s.pid = cmd.Process.Pid
		go func() { cmd.Wait(); close(s.gone) }() // ends with the program
		t.Cleanup(s.kill)
		others = append(others, s)
	}
	a := c.get(t, "/spawn/echo.pl")
	assert.Equal(t, 503, a.status)
	g.logs(t, "can't be started: nothing is left for it: resource temporarily unavailable")
	assert.EqualValues(t, 1, g.metric(t, "warmcgi_request_errors_total", `why="exhausted"`))
	assert.Equal(t, "0", c.get(t, "/reuse/echo.pl").body, "what runs already goes on")
	for _, s := range others {
		s.kill()
	}
	for _, path := range []string{"/spawn/echo.pl", "/warm/echo.pl"} {
		assert.Equal(t, "0", c.get(t, path).body, path)
	}
}

func TestAProcessThatIsStoppedOrKilledCostsItsOwnRequestOnly(t *testing.T) {
	dir := faultSite(t)
	g := startGatewayAs(t, dir, faultYAML, how{})
	c := newClient(t, g.url())
	for _, mode := range []string{"spawn", "warm", "reuse"} {
		for signal, status := range map[syscall.Signal]int{syscall.SIGSTOP: 504, syscall.SIGKILL: 502} {
			if mode != "spawn" {
				g.until(t, c, mode, "/"+mode+"/echo.pl")
				writeFile(t, filepath.Join(dir, "x.go"), "", 0o644)
				g.until(t, c, mode, "/"+mode+"/wait.pl?"+dir+"/x")
			}
			name := filepath.Join(dir, fmt.Sprint(mode, int(signal)))
			other := filepath.Join(dir, fmt.Sprint(mode, int(signal), "other"))
			ask := func(name string) chan answer {
				got := make(chan answer, 1)
				go func() { // ends with the answer
					a, err := newClient(t, g.url()).try(request{method: "POST", path: "/" + mode + "/wait.pl?" + name})
					if err != nil {
						a.body = err.Error()
					}
					got <- a
				}()
				require.Eventually(t, func() bool { _, err := os.Stat(name); return err == nil }, patience, time.Millisecond)
				return got
			}
			hit, spared := ask(name), ask(other)
			var pid int
			_, err := fmt.Sscan(readFile(t, name), &pid)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, signal))
			writeFile(t, other+".go", "", 0o644)
			a := <-spared
			assert.Equal(t, "ended", a.body, "%s %v", mode, signal)
			a = <-hit
			assert.Equal(t, status, a.status, "%s %v: %s", mode, signal, a.body)
			require.Eventually(t, func() bool { return hasGone(pid) }, patience, 10*time.Millisecond, "it is gone")
			assert.Equal(t, "0", c.get(t, "/"+mode+"/echo.pl").body)
		}
	}
}
