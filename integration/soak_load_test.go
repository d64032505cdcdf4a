//go:build linux

package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A trialLoad is what has come of the requests of a trial.
type trialLoad struct {
	asked, left, bad atomic.Int64
	doors            map[string]*int64 // by name; added to atomically
	idle             []func()          // closes connections

	mu       sync.Mutex
	right    map[string]int // by path
	wrong    []string
	failures []failure
}

// A failure is a request that was not answered as it should have been.
type failure struct {
	path       string
	began, end time.Time
	what       string
}

func (f failure) String() string {
	return fmt.Sprintf("%s from %s to %s: %s", f.path, f.began.Format("15:04:05.000"), f.end.Format("15:04:05.000"), f.what)
}

func newTrialLoad() *trialLoad {
	return &trialLoad{doors: map[string]*int64{}, right: map[string]int{}}
}

func (l *trialLoad) doorNames() (names []string) {
	for name := range l.doors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (l *trialLoad) rights() (n int) {
	for _, right := range l.right {
		n += right
	}
	return n
}

// close gives up the connections that are idle.
func (l *trialLoad) close() {
	for _, f := range l.idle {
		f()
	}
}

// A trialClient asks through one door, one request after another.
type trialClient struct {
	door  string
	base  string
	http2 bool // a server that ends says which requests it has not looked at (RFC 9113, 6.8): these are asked again
	http  *http.Client
}

// clients are those of all doors; some are several.
func (tr *trial) clients() (all []*trialClient) {
	dial := func(network, address string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, n, a string) (net.Conn, error) {
			if network != "" {
				n, a = network, address
			}
			return (&net.Dialer{}).DialContext(ctx, n, a)
		}
	}
	insecure := &tls.Config{InsecureSkipVerify: true}
	https := "https://" + strings.TrimPrefix(tr.doors[1], "https://")
	add := func(n int, door, base string, transport *http.Transport) {
		tr.load.doors[door] = new(int64)
		tr.load.idle = append(tr.load.idle, transport.CloseIdleConnections)
		for range n {
			all = append(all, &trialClient{door, base, transport.ForceAttemptHTTP2, &http.Client{Transport: transport, Timeout: 2 * time.Minute}})
		}
	}
	add(3, "HTTP/1.1, kept connections", tr.url(), &http.Transport{DialContext: dial("", "")})
	add(2, "HTTP/1.1, a connection each", tr.url(), &http.Transport{DialContext: dial("", ""), DisableKeepAlives: true})
	add(2, "HTTPS, HTTP/2", https, &http.Transport{DialContext: dial("", ""), TLSClientConfig: insecure, ForceAttemptHTTP2: true})
	add(1, "HTTP over a Unix socket", "http://localhost", &http.Transport{DialContext: dial("unix", filepath.Join(tr.dir, "http.sock"))})
	add(4, "nginx, FastCGI", tr.front, &http.Transport{DialContext: dial("", "")})
	return all
}

// run asks until ctx ends; what it has asked is answered.
func (c *trialClient) run(ctx context.Context, tr *trial) {
	bad := make([]string, 0, len(badScripts))
	for name := range badScripts {
		bad = append(bad, name)
	}
	slices.Sort(bad)
	for ctx.Err() == nil {
		if rand.IntN(100) == 0 {
			c.askBad(tr, bad[rand.IntN(len(bad))])
		} else {
			c.ask(tr, tr.backends[rand.IntN(len(tr.backends))].path)
		}
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	}
}

// ask makes a request that is answered with its own token.
func (c *trialClient) ask(tr *trial, path string) {
	l := tr.load
	token := fmt.Sprintf("token-%d-%x", l.asked.Add(1), rand.Uint64())
	atomic.AddInt64(l.doors[c.door], 1)
	method, body := http.MethodGet, ""
	switch rand.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		method, body = http.MethodPost, strings.Repeat(token, 1+rand.IntN(20))
	case 6:
		method, body = http.MethodPost, strings.Repeat(token, 1+rand.IntN(20_000))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	vanishes := rand.IntN(30) == 0
	if vanishes {
		defer time.AfterFunc(time.Duration(rand.IntN(8000))*time.Microsecond, cancel).Stop()
	}
	began := time.Now()
	status, got, err := c.do(ctx, method, c.base+path+"?"+token, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && status == http.StatusOK && strings.TrimSuffix(got, "\n") == token+" "+body:
		l.right[path]++
	case vanishes && ctx.Err() != nil:
		l.left.Add(1)
	case err != nil || status >= 500:
		l.failures = append(l.failures, failure{path, began, time.Now(), fmt.Sprintf("%s through %s: %d %v %.300q %s", method, c.door, status, err, got, tr.logOf(got))})
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%s %s through %s: %d, %d octets: %.200q", method, path, c.door, status, len(got), got))
	}
}

// requestID is how a page of the gateway's names its request.
var requestID = regexp.MustCompile(`Request ([0-9a-f]+-[0-9a-z]+)`)

// logOf is what the gateway has logged of a request that its page names.
func (tr *trial) logOf(page string) string {
	m := requestID.FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	for line := range strings.Lines(tr.out.String()) {
		if strings.Contains(line, "id="+m[1]+" ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// askBad asks for a script that fails.
func (c *trialClient) askBad(tr *trial, name string) {
	l := tr.load
	l.asked.Add(1)
	atomic.AddInt64(l.doors[c.door], 1)
	status, got, err := c.do(context.Background(), http.MethodGet, c.base+"/bad/"+name, "")
	if err == nil && status == badScripts[name].status {
		l.bad.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf("/bad/%s through %s: %d %v %.200q", name, c.door, status, err, got))
}

func (c *trialClient) do(ctx context.Context, method, url, body string) (status int, got string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if !c.http2 {
		r.GetBody = nil // nothing is to be hidden by another try
	}
	r.Header.Set("Content-Type", "text/plain")
	res, err := c.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
