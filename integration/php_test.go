//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fpm is a php-fpm with one pool.
type fpm struct {
	*server
	pid    int
	socket string
}

// startFPM runs php-fpm. settings are lines of its pool.
func startFPM(t *testing.T, dir, settings string) *fpm {
	t.Helper()
	needs(t, "php-fpm")
	run := filepath.Join(dir, "fpm")
	require.NoError(t, os.MkdirAll(run, 0o755))
	f := &fpm{socket: filepath.Join(run, "s")}
	user := ""
	if os.Getuid() == 0 {
		user = "user = root\ngroup = root\n"
	}
	conf := writeFile(t, filepath.Join(run, "fpm.conf"), fmt.Sprintf(`[global]
error_log = %[1]s/log
daemonize = no
process_control_timeout = 10s
[www]
%[2]slisten = %[3]s
pm = static
php_admin_value[upload_tmp_dir] = %[1]s
php_admin_value[upload_max_filesize] = 200M
php_admin_value[post_max_size] = 200M
%[4]s
`, run, user, f.socket, settings), 0o644)
	cmd := exec.Command(programs["php-fpm"].path(), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", conf)
	f.server = startServer(t, "php-fpm", cmd)
	f.awaitDial(t, "unix", f.socket)
	f.pid = cmd.Process.Pid
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(run, "log"))
			t.Logf("php-fpm's log:\n%s", b)
		}
	})
	return f
}

// phpScripts are the site of these tests.
var phpScripts = map[string]string{
	"index.php": `<?php echo json_encode(['name' => $_SERVER['SCRIPT_NAME'], 'file' => $_SERVER['SCRIPT_FILENAME'], 'info' => $_SERVER['PATH_INFO'] ?? null,
		'self' => $_SERVER['PHP_SELF'], 'uri' => $_SERVER['REQUEST_URI'], 'root' => $_SERVER['DOCUMENT_ROOT'], 'get' => $_GET, 'env' => $_SERVER['APP_ENV'] ?? null], JSON_UNESCAPED_SLASHES);`,
	"form.php":   `<?php foreach ($_POST as $k => $v) echo "$k=$v\n"; foreach ($_FILES as $k => $f) echo "$k: {$f['name']} {$f['size']} {$f['error']} ", hash_file('sha256', $f['tmp_name']), "\n";`,
	"raw.php":    `<?php $b = file_get_contents('php://input'); echo $_SERVER['CONTENT_LENGTH'] ?? 'none', ' ', strlen($b), ' ', hash('sha256', $b);`,
	"events.php": `<?php header('Content-Type: text/event-stream'); for ($i = 0; $i < 3; $i++) { while (!file_exists($_GET['go'] . $i)) { usleep(1000); clearstatcache(); } echo "data: $i\n\n"; ob_flush(); flush(); }`,
	"finish.php": `<?php echo $_GET['t']; fastcgi_finish_request(); usleep(20000); file_put_contents($_GET['log'], "x", FILE_APPEND | LOCK_EX);`,
	"behind.php": `<?php echo $_GET['t']; fastcgi_finish_request(); while (!file_exists($_GET['go'])) { usleep(1000); clearstatcache(); }`,
	"token.php":  `<?php echo $_GET['t'], ' ', getmypid();`,
	"half.php":   `<?php echo str_repeat('x', 100000); ob_flush(); flush(); posix_kill(getmypid(), 9); usleep(1000000);`,
	"exit.php":   `<?php http_response_code(404); echo 'part'; exit(3);`,
	"memory.php": `<?php echo 'start'; $s = str_repeat('x', 1 << 30);`,
	"late.php":   `<?php echo str_repeat('x', 100000); ob_flush(); flush(); $s = str_repeat('x', 1 << 30);`,
	"left.php":   `<?php echo 'begun'; ob_flush(); flush(); exit(3);`,
	"fatal.php":  `<?php no_such_function();`,
	"errors.php": `<?php error_log("first line\nsecond"); trigger_error('a warning', E_USER_WARNING); echo 'done';`,
	"big.php":    `<?php $b = str_repeat('0123456789abcdef', 65536); for ($i = 0; $i < 100; $i++) echo $b;`,
	"style.css":  "body {}\n",
	"SHOUT.PHP":  "<?php secret\n",
	".user.ini":  "secret\n",
}

type phpSite struct {
	*gateway
	c   *client
	dir string
	fpm *fpm
}

func newPHPSite(t *testing.T, settings, route string) *phpSite {
	t.Helper()
	dir := tempDir(t)
	for name, text := range phpScripts {
		writeFile(t, filepath.Join(dir, "www", name), text, 0o644)
	}
	s := &phpSite{dir: dir, fpm: startFPM(t, dir, settings)}
	s.gateway = startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\nroutes:\n"+strings.ReplaceAll(route, "@DIR@", dir))
	s.c = newClient(t, s.url())
	return s
}

const (
	phpRoute  = "  - {path: /, php: {root: '@DIR@/www', fastcgi: {servers: ['unix:@DIR@/fpm/s'], max_conns: 8}}, env: {APP_ENV: test}, body: {max: 1GiB}}\n"
	children4 = "pm.max_children = 4\n"
)

func TestPHPAnswersAsUsersExpect(t *testing.T) {
	s := newPHPSite(t, children4, strings.Replace(phpRoute, "{root: ", "{front: /index.php, root: ", 1))
	for path, want := range map[string]string{
		"/":                    `{"name":"/index.php","file":"@/index.php","info":null,"self":"/index.php","uri":"/","root":"@","get":[],"env":"test"}`,
		"/index.php":           `{"name":"/index.php","file":"@/index.php","info":null,"self":"/index.php","uri":"/index.php","root":"@","get":[],"env":"test"}`,
		"/index.php/a%20b/c?d": `{"name":"/index.php","file":"@/index.php","info":"/a b/c","self":"/index.php/a b/c","uri":"/index.php/a%20b/c?d","root":"@","get":{"d":""},"env":"test"}`,
		"/some/nice/url?x=1":   `{"name":"/index.php","file":"@/index.php","info":null,"self":"/index.php","uri":"/some/nice/url?x=1","root":"@","get":{"x":"1"},"env":"test"}`,
		"/style.css/index.php": `{"name":"/index.php","file":"@/index.php","info":null,"self":"/index.php","uri":"/style.css/index.php","root":"@","get":[],"env":"test"}`,
		"/style.css":           "body {}\n",
	} {
		a := s.c.get(t, path)
		assert.Equal(t, 200, a.status, path)
		assert.Equal(t, strings.ReplaceAll(want, "@", filepath.Join(s.dir, "www")), a.body, path)
	}
	for path, status := range map[string]int{"/.user.ini": 404, "/SHOUT.PHP": 403, "/exit.php": 404, "/%2e%2e/fpm/fpm.conf": 400} {
		a := s.c.get(t, path)
		assert.Equal(t, status, a.status, path)
		assert.NotContains(t, a.body, "secret")
	}
	a := s.c.do(t, request{method: "POST", path: "/form.php", body: "a=1&b=%C3%A9", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}})
	assert.Equal(t, "a=1\nb=é\n", a.body)
	assert.Equal(t, "done", s.c.get(t, "/errors.php").body)
	assert.Equal(t, 500, s.c.get(t, "/memory.php").status/100*100)
}

func TestPHPTakesUploadsOfAnyKind(t *testing.T) {
	s := newPHPSite(t, children4, phpRoute)
	file := bytes.Repeat([]byte("0123456789abcdef"), 100<<20/16)
	sum := fmt.Sprintf("%x", sha256.Sum256(file))
	body, ctype := multipartForm(t, []field{{name: "f", value: string(file), file: "big.bin", ctype: "application/octet-stream"}})
	for _, chunked := range []bool{false, true} {
		r, err := http.NewRequestWithContext(bounded(t), "POST", s.url()+"/form.php", struct{ io.Reader }{strings.NewReader(body)})
		require.NoError(t, err)
		r.Header.Set("Content-Type", ctype)
		if r.ContentLength = int64(len(body)); chunked {
			r.ContentLength = -1
		}
		res, err := s.c.http.Do(r)
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, fmt.Sprintf("f: big.bin %d 0 %s\n", len(file), sum), string(b), "chunked: %v", chunked)
	}
	res := s.c.open(t, "/big.php")
	n, err := io.Copy(io.Discard, res.Body)
	assert.NoError(t, err)
	assert.EqualValues(t, 100<<20, n)
}

func TestPHPsEventsComeAsTheyAreWritten(t *testing.T) {
	s := newPHPSite(t, children4, phpRoute)
	writeFile(t, s.dir+"/go0", "", 0o644)
	res := s.c.open(t, "/events.php?go="+s.dir+"/go")
	r := bufio.NewReader(res.Body)
	for i := range 3 {
		writeFile(t, fmt.Sprint(s.dir, "/go", i), "", 0o644)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("data: %d\n", i), line)
		r.ReadString('\n')
	}
}

func TestAPHPScriptThatEndsEarlyHasAnsweredWhatItHasWritten(t *testing.T) {
	s := newPHPSite(t, children4, phpRoute)
	for range 3 {
		a := s.c.get(t, "/left.php")
		assert.Equal(t, []any{200, "begun"}, []any{a.status, a.body})
		a = s.c.get(t, "/exit.php")
		assert.Equal(t, []any{404, "part"}, []any{a.status, a.body})
		// PHP says no more than its log: the answer is whole to it.
		a = s.c.get(t, "/late.php")
		assert.Equal(t, 200, a.status)
		assert.True(t, strings.HasPrefix(a.body, strings.Repeat("x", 100_000)), len(a.body))
		a = s.c.get(t, "/memory.php")
		assert.Equal(t, 500, a.status)
		a = s.c.get(t, "/fatal.php")
		assert.Equal(t, 500, a.status)
	}
	for _, line := range []string{"Allowed memory size of", "Call to undefined function no_such_function()"} {
		assert.Eventually(t, func() bool { return strings.Contains(s.out.String(), line) }, patience, 10*time.Millisecond, line)
	}
	assert.Zero(t, s.metric(t, "warmcgi_request_errors_total", ""))
}

func TestAPHPProcessThatDiesInMidAnswerBreaksTheAnswerOff(t *testing.T) {
	s := newPHPSite(t, children4, phpRoute)
	for range 5 {
		res := s.c.open(t, "/half.php")
		_, err := io.ReadAll(res.Body)
		res.Body.Close()
		assert.Error(t, err)
	}
	assert.EqualValues(t, 5, s.metric(t, "warmcgi_request_errors_total", `why="truncated"`))
}

// load asks for the path from so many connections until all is asked, and returns what
// failed. Each answer has to begin with its token.
func (s *phpSite) load(t *testing.T, path string, connections, requests int) (failed int64) {
	return s.loadOf(t, connections, requests, func(token string) request { return request{path: path + "t=" + token} })
}

// loadOf is load where what is asked depends on the token.
func (s *phpSite) loadOf(t *testing.T, connections, requests int, ask func(token string) request) (failed int64) {
	var next, bad atomic.Int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			c := newClient(t, s.url())
			defer c.http.CloseIdleConnections()
			for i := next.Add(1); i <= int64(requests); i = next.Add(1) {
				token := fmt.Sprint("t", i, ".")
				a, err := c.try(ask(token))
				if err != nil || a.status != 200 || !strings.HasPrefix(a.body, token) {
					if bad.Add(1) < 5 {
						t.Log(ask(token), err, a.status, a.body)
					}
				}
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

// POSTs, too: a child that ends leaves those unread that are on its connection.
func TestNoRequestFailsWhilePHPsProcessesAreReplaced(t *testing.T) {
	s := newPHPSite(t, children4+"pm.max_requests = 50\n", phpRoute)
	assert.Zero(t, s.loadOf(t, 16, 3000, func(token string) request {
		if strings.HasSuffix(token, "3.") {
			return request{method: "POST", path: "/token.php?t=" + token, body: "a=b", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}
		}
		return request{path: "/token.php?t=" + token}
	}))
}

func TestNoGETFailsWhilePHPIsReloaded(t *testing.T) {
	for name, settings := range map[string]string{
		"children may end their requests": "",
		"they are killed":                 "[global]\nprocess_control_timeout = 0\n", // which is how it is if nobody sets it
	} {
		t.Run(name, func(t *testing.T) {
			s := newPHPSite(t, children4+settings, phpRoute)
			s.fpm.hard = true // it loses a SIGTERM that comes while it reloads
			ctx, stop := context.WithCancel(t.Context())
			var reloads sync.WaitGroup
			reloads.Go(func() {
				for ctx.Err() == nil {
					syscall.Kill(s.fpm.pid, syscall.SIGUSR2)
					select {
					case <-ctx.Done():
					case <-time.After(500 * time.Millisecond):
					}
				}
			})
			assert.Zero(t, s.load(t, "/token.php?", 8, 3000))
			stop()
			reloads.Wait()
		})
	}
}

func TestMoreConnectionsThanPHPHasProcessesDoNotStarve(t *testing.T) {
	s := newPHPSite(t, "pm.max_children = 2\n", strings.Replace(phpRoute, "max_conns: 8", "max_conns: 32", 1))
	assert.Zero(t, s.load(t, "/token.php?", 24, 2000))
}

func TestPHPsStatusPageTellsHowManyRequestsItGets(t *testing.T) {
	const route = "  - {path: /, php: {root: '@DIR@/www', fastcgi: {servers: ['unix:@DIR@/fpm/s'], health: {check: status, path: /fpm-status, every: 10ms}}}}\n"
	s := newPHPSite(t, "pm.max_children = 3\npm.status_path = /fpm-status\n", route)
	status := func() string { return newClient(t, s.admin).get(t, "/status").body }
	assert.Eventually(t, func() bool { return strings.Contains(status(), `"room":3`) }, patience, 10*time.Millisecond)
	assert.Zero(t, s.load(t, "/token.php?", 16, 500), "the others wait in the gateway")
	s.fpm.stop(t)
	assert.Eventually(t, func() bool { return strings.Contains(status(), `"out":"un`) }, patience, 10*time.Millisecond)
}

func TestAPHPProcessThatWorksOnBehindItsAnswerIsNoProblem(t *testing.T) {
	s := newPHPSite(t, "pm.max_children = 3\n", phpRoute)
	log := filepath.Join(s.dir, "log")
	assert.Zero(t, s.load(t, "/finish.php?log="+log+"&", 8, 200))
	assert.Eventually(t, func() bool { b, _ := os.ReadFile(log); return len(b) == 200 }, patience, 10*time.Millisecond, "all have worked on")
}

func TestADeployOfPHPByASymbolicLinkTakesEffectAtOnce(t *testing.T) {
	s := newPHPSite(t, children4+"php_admin_value[opcache.enable] = 1\nphp_admin_value[opcache.revalidate_freq] = 60\n", strings.Replace(phpRoute, "@DIR@/www", "@DIR@/current", 1))
	for i := range 5 {
		release := filepath.Join(s.dir, fmt.Sprint("release", i))
		writeFile(t, filepath.Join(release, "v.php"), fmt.Sprintf("<?php echo 'release %d ', __DIR__;", i), 0o644)
		require.NoError(t, os.Symlink(release, filepath.Join(s.dir, "next")))
		require.NoError(t, os.Rename(filepath.Join(s.dir, "next"), filepath.Join(s.dir, "current")))
		assert.Equal(t, fmt.Sprintf("release %d %s", i, release), s.c.get(t, "/v.php").body)
	}
}

func TestPHPGetsTheRealNameOfAFileBelowALink(t *testing.T) {
	s := newPHPSite(t, children4, phpRoute)
	www := filepath.Join(s.dir, "www")
	writeFile(t, filepath.Join(www, "v1/app.php"), "<?php echo $_SERVER['SCRIPT_FILENAME'], ' ', $_SERVER['SCRIPT_NAME'];", 0o644)
	for name, to := range map[string]string{"v1/index.php": "app.php", "current": "v1", "one.php": "v1/app.php"} {
		require.NoError(t, os.Symlink(to, filepath.Join(www, name)))
	}
	for _, path := range []string{"/v1/app.php", "/current/app.php", "/one.php", "/v1/index.php", "/current/index.php"} {
		assert.Equal(t, filepath.Join(www, "v1/app.php")+" "+path, s.c.get(t, path).body, path)
	}
	assert.Equal(t, filepath.Join(www, "v1/app.php")+" /current/index.php", s.c.get(t, "/current/").body)
}

// php-src issue 10335: END_REQUEST has come, but the child goes on with the script. A request
// that was sent on its connection would wait for that, while other children are idle.
func TestNoRequestWaitsForAPHPProcessThatWorksOnBehindItsAnswer(t *testing.T) {
	for _, kept := range []int{0, 4} { // connections that are there when it happens
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			s := newPHPSite(t, children4, phpRoute)
			s.load(t, "/token.php?", kept, 10*kept)
			const busy = 3 // of 4 children
			for i := range busy {
				a := s.c.get(t, fmt.Sprintf("/behind.php?t=%d&go=%s/go", i, s.dir))
				assert.Equal(t, fmt.Sprint(i), a.body)
			}
			for i := range 30 {
				path, method := fmt.Sprintf("/token.php?t=%d.", i), []string{"GET", "POST"}[i%2]
				a := s.c.do(t, request{method: method, path: path, body: map[string]string{"POST": "a=b"}[method]})
				assert.True(t, strings.HasPrefix(a.body, fmt.Sprint(i, ". ")), a.body)
			}
			writeFile(t, s.dir+"/go", "", 0o644)
		})
	}
}
