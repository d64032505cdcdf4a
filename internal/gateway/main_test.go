package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"warmcgi/internal/census"
	"warmcgi/internal/config"
)

// TestMain is also the main function of every script of these tests: the test binary
// is the interpreter of their #! lines, see scriptFile.
func TestMain(m *testing.M) {
	if isPlay() {
		play()
	}
	census.Isolate()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// patience is how long a test waits for what must happen. No test passes by waiting
// that long.
const patience = 30 * time.Second

// eventually waits for a state.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "did not happen: "+what)
		}
	}
}

// A site is a folder of files and scripts. Its test fails if anything is left in the
// end of what served it: a process, a descriptor, a goroutine.
type site struct {
	t   testing.TB
	dir string
}

func newSite(t testing.TB) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	before := census.Take(t)
	t.Cleanup(func() {
		if !t.Failed() { // else it may have left anything open
			before.Compare(t, patience)
		}
		os.RemoveAll(dir)
	})
	return &site{t: t, dir: dir}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// write makes a file, and the folders on the way to it.
func (s *site) write(name, content string) string {
	s.t.Helper()
	file := s.path(name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(s.t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

// script makes a file that does steps.
func (s *site) script(name string, steps ...string) string {
	s.t.Helper()
	file := s.write(name, scriptFile(steps...))
	require.NoError(s.t, os.Chmod(file, 0o755))
	return file
}

func (s *site) link(to, name string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	require.NoError(s.t, os.Symlink(to, s.path(name)))
}

// scripts is the usual configuration: the folder cgi-bin of a site.
const scripts = `
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
`

// config reads a configuration; doors that it leaves out are on a free port.
func (s *site) config(yaml string) *config.Config {
	s.t.Helper()
	if !strings.Contains("\n"+yaml, "\nlisten:") {
		yaml += "\nlisten: [{http: 127.0.0.1:0}]\n"
	}
	if !strings.Contains("\n"+yaml, "\nadmin:") {
		yaml += "\nadmin: 127.0.0.1:0\n"
	}
	c, err := config.Parse(s.path("gateway.yaml"), []byte(yaml), config.Options{})
	require.NoError(s.t, err)
	return c
}

// A testGateway serves a site.
type testGateway struct {
	*Server
	t       testing.TB
	site    *site
	http    *http.Client
	log     *buffer
	access  *buffer
	served  chan error
	stopped bool
}

// serve serves the site with a configuration. change may change the server before it
// lets anybody in.
func (s *site) serve(yaml string, change ...func(*Server)) *testGateway {
	s.t.Helper()
	return s.serveConfig(s.config(yaml), change...)
}

func (s *site) serveConfig(c *config.Config, change ...func(*Server)) *testGateway {
	s.t.Helper()
	g := &testGateway{t: s.t, site: s, log: new(buffer), access: new(buffer), served: make(chan error, 1)}
	if c.Log.Access.Format == config.AccessCombined {
		c.Log.Access.Format = config.AccessJSON
	}
	var err error
	g.Server, err = New(c, Options{
		Log:       slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		AccessLog: g.access,
	})
	require.NoError(s.t, err)
	for _, f := range change {
		f(g.Server)
	}
	go func() { g.served <- g.Serve() }() // ends with Shutdown
	s.t.Cleanup(func() {
		if s.t.Failed() {
			log := g.log.String()
			s.t.Logf("the end of the gateway's log:\n%s", log[max(0, len(log)-4000):])
		}
		g.shutdown()
	})
	g.http = g.client(nil)
	return g
}

// client makes a client that shows answers as they are.
func (g *testGateway) client(change func(*http.Transport)) *http.Client {
	tr := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if change != nil {
		change(tr)
	}
	g.t.Cleanup(tr.CloseIdleConnections) // before the gateway's
	return &http.Client{
		Transport:     tr,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// shutdown ends the gateway as it should be ended: with nobody in it.
func (g *testGateway) shutdown() {
	g.t.Helper()
	if g.stopped {
		return
	}
	g.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if g.t.Failed() {
		cancel()
	}
	assert.NoError(g.t, g.Shutdown(ctx))
	assert.NoError(g.t, <-g.served)
}

// addr is where the first door listens.
func (g *testGateway) addr() string { return g.Listeners()[0].String() }

func (g *testGateway) url(path string) string { return "http://" + g.addr() + path }

// An answer is what a client got.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (g *testGateway) request(method, path string, body io.Reader, fields ...string) *http.Request {
	g.t.Helper()
	r, err := http.NewRequest(method, g.url(path), body)
	require.NoError(g.t, err)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func (g *testGateway) do(r *http.Request) *answer {
	g.t.Helper()
	return doWith(g.t, g.http, r)
}

func doWith(t testing.TB, c *http.Client, r *http.Request) *answer {
	t.Helper()
	res, err := c.Do(r)
	require.NoError(t, err)
	return readAnswer(res)
}

func readAnswer(res *http.Response) *answer {
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return &answer{res, string(b), err}
}

// get asks for a path; fields are names and values.
func (g *testGateway) get(path string, fields ...string) *answer {
	g.t.Helper()
	return g.do(g.request("GET", path, nil, fields...))
}

func (g *testGateway) head(path string, fields ...string) *answer {
	g.t.Helper()
	return g.do(g.request("HEAD", path, nil, fields...))
}

func (g *testGateway) post(path, body string, fields ...string) *answer {
	g.t.Helper()
	return g.do(g.request("POST", path, strings.NewReader(body), fields...))
}

// variables reads what the step env has written.
func (a *answer) variables(t testing.TB) map[string]string {
	t.Helper()
	require.Equal(t, 200, a.StatusCode, a.body)
	require.NoError(t, a.err)
	vars := map[string]string{}
	for v := range strings.SplitSeq(a.body, "\x00") {
		name, value, ok := strings.Cut(v, "=")
		require.True(t, ok, v)
		require.NotContains(t, vars, name, "twice in the environment")
		vars[name] = value
	}
	return vars
}

// A rawClient writes and reads what it likes.
type rawClient struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (g *testGateway) dial() *rawClient {
	g.t.Helper()
	return g.dialAddr(g.Listeners()[0])
}

func newRawClient(t testing.TB, c net.Conn) *rawClient {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &rawClient{Conn: c, t: t, br: bufio.NewReader(c)}
}

// raw sends a text and reads everything that comes, to the end of the connection.
func (g *testGateway) raw(text string) string {
	g.t.Helper()
	c := g.dial()
	c.send(text)
	defer c.Close()
	return c.rest()
}

func (c *rawClient) send(text string) *rawClient {
	c.t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(c.t, err)
	return c
}

// rest is everything that still comes.
func (c *rawClient) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.br)
	require.NoError(c.t, err, "after %.300q", b)
	return string(b)
}

// whatever is what still comes, to the end of the connection or its reset.
func (c *rawClient) whatever() string {
	b, _ := io.ReadAll(c.br)
	c.Close()
	return string(b)
}

// line is the next line, without its end.
func (c *rawClient) line() string {
	c.t.Helper()
	l, err := c.br.ReadString('\n')
	require.NoError(c.t, err, "after %q", l)
	return strings.TrimRight(l, "\r\n")
}

// answer reads an answer to a request with a method. Interim ones are left out.
func (c *rawClient) answer(method string) *answer {
	c.t.Helper()
	for {
		res, err := http.ReadResponse(c.br, &http.Request{Method: method})
		require.NoError(c.t, err)
		if res.StatusCode >= 200 {
			return readAnswer(res)
		}
	}
}

// closeWrite shuts the sending side.
func (c *rawClient) closeWrite() {
	c.t.Helper()
	require.NoError(c.t, c.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// ended requires that the gateway closes the connection, with nothing more in it.
func (c *rawClient) ended() {
	c.t.Helper()
	_, err := c.br.ReadByte()
	require.ErrorIs(c.t, err, io.EOF)
}

// A buffer is a log that tests can look into.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// awaitLog waits for a line of the gateway's log that has all of parts in it.
func (g *testGateway) awaitLog(parts ...string) string {
	g.t.Helper()
	var found string
	eventually(g.t, func() bool {
	lines:
		for l := range strings.Lines(g.log.String()) {
			for _, p := range parts {
				if !strings.Contains(l, p) {
					continue lines
				}
			}
			found = l
			return true
		}
		return false
	}, fmt.Sprintf("a log line with %q", parts))
	return found
}

// A logged is a line of the access log.
type logged struct {
	ID, Client, User, Method, URI, Proto, Host, Route, Script, Mode, Error, Referer string

	Status    int
	Bytes     int64
	Seconds   float64
	Complete  bool
	UserAgent string `json:"user_agent"`
}

// logged waits for n lines in the access log, and returns them.
func (g *testGateway) logged(n int) []logged {
	g.t.Helper()
	var list []logged
	eventually(g.t, func() bool {
		g.state.Load().access.flush()
		list = nil
		for l := range strings.Lines(g.access.String()) {
			var e logged
			require.NoError(g.t, json.Unmarshal([]byte(l), &e))
			list = append(list, e)
		}
		return len(list) >= n
	}, fmt.Sprintf("%d lines in the access log", n))
	require.Len(g.t, list, n)
	return list
}

// metric is the value of a metric with these labels (NAME=VALUE) among others: of a
// counter or gauge the sum, of a histogram the number of observations.
func (g *testGateway) metric(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.Server.metrics.registry.Gather()
	require.NoError(g.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, want []string) bool {
	for _, w := range want {
		found := false
		for _, l := range m.Label {
			found = found || l.GetName()+"="+l.GetValue() == w
		}
		if !found {
			return false
		}
	}
	return true
}

// awaitMetric waits until a metric has a value.
func (g *testGateway) awaitMetric(value float64, name string, labels ...string) {
	g.t.Helper()
	eventually(g.t, func() bool { return g.metric(name, labels...) == value }, fmt.Sprintf("%s%v is %v", name, labels, value))
}

// requireFailure requires that a failure of a kind was counted, and logged with a
// status.
func (g *testGateway) requireFailure(why string, status int, parts ...string) {
	g.t.Helper()
	eventually(g.t, func() bool { return g.metric("warmcgi_request_errors_total", "why="+why) > 0 }, "a failure is counted: "+why)
	g.awaitLog(append([]string{"why=" + why + " ", "status=" + strconv.Itoa(status) + " "}, parts...)...)
}

// started waits for a script to make a file of the site with the step touch, and
// returns its process id.
func (s *site) started(name string) int {
	s.t.Helper()
	eventually(s.t, func() bool { return exists(s.path(name)) }, "the script makes "+name)
	b, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	pid, err := strconv.Atoi(string(b))
	require.NoError(s.t, err)
	return pid
}

// touch is what a step await waits for.
func (s *site) touch(name string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), nil, 0o666))
}

// awaitDeath waits for the end of a process.
func awaitDeath(t testing.TB, pid int) {
	t.Helper()
	eventually(t, func() bool { return !lives(pid) }, fmt.Sprintf("the end of process %d", pid))
}

// newReader reads from what was received whole.
func newReader(t testing.TB, text string) *rawClient {
	return &rawClient{t: t, br: bufio.NewReader(strings.NewReader(text))}
}

func chmod(file string) error { return os.Chmod(file, 0o755) }

func (g *testGateway) dialAddr(a net.Addr) *rawClient {
	g.t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	require.NoError(g.t, err)
	return newRawClient(g.t, c)
}

// lives reports whether a process runs.
func lives(pid int) bool {
	p, ok := census.Find(pid)
	return ok && !p.Dead()
}
