package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const unixDoor = "listen: [{http: 'unix:s'}]\n"

// `printf … | nc`, and many small programs.
func TestAClientThatOnlyShutsItsSendingSideGetsItsAnswer(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/fast", helloWorld)
	s.script("cgi-bin/quiet", "sleep 2s", helloWorld)
	s.script("cgi-bin/pauses", hello+"hello", "sleep 2s", "out , world\n")
	s.script("cgi-bin/sum", "sleep 1s", hello, "sum")
	s.script("cgi-bin/reason", "out Status: 200 Fine, really\nContent-Type: text/plain\n\nhello", "sleep 1s", "out , world\n")
	s.script("cgi-bin/nph-p", "out HTTP/1.1 200 OK\r\n\r\nhello", "sleep 1s", "out , world\n")
	s.write("html/file", "hello, world\n")
	var served []*testGateway
	var wg sync.WaitGroup
	for door, yaml := range map[string]string{"TCP": "", "behind a proxy": "trusted_proxies: [127.0.0.1, unix]\n", "Unix": unixDoor, "Unix behind a proxy": "trusted_proxies: [unix]\nlisten: [{http: 'unix:s2'}]\n"} {
		g := s.serve(scripts + "  - {path: /, files: {root: html}}\n" + yaml)
		served = append(served, g)
		for request, body := range map[string]string{
			"GET /cgi-bin/fast HTTP/1.1\r\nHost: x\r\n\r\n":                                                     "hello, world\n",
			"GET /cgi-bin/quiet HTTP/1.1\r\nHost: x\r\n\r\n":                                                    "hello, world\n",
			"GET /cgi-bin/quiet HTTP/1.0\r\n\r\n":                                                               "hello, world\n",
			"GET /cgi-bin/pauses HTTP/1.1\r\nHost: x\r\n\r\n":                                                   "hello, world\n",
			"GET /cgi-bin/reason HTTP/1.1\r\nHost: x\r\n\r\n":                                                   "hello, world\n",
			"GET /cgi-bin/nph-p HTTP/1.1\r\nHost: x\r\n\r\n":                                                    "hello, world\n",
			"GET /file HTTP/1.1\r\nHost: x\r\n\r\n":                                                             "hello, world\n",
			"POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":                             sum([]byte("abc")),
			"POST /cgi-bin/sum HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc":                                        sum([]byte("abc")),
			"POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":  sum([]byte("abc")),
			"POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + string(pattern(100000)): sum(pattern(100000)),
		} {
			wg.Go(func() {
				c := g.dial().send(request)
				c.closeWrite()
				a := c.answer(request[:strings.Index(request, " ")])
				assert.NoError(t, a.err, "%s: %.60q", door, request)
				assert.Equal(t, body, a.body, "%s: %.60q", door, request)
			})
		}
	}
	wg.Wait()
	for _, g := range served {
		g.awaitMetric(11, "warmcgi_requests_total", "status=200")
		g.awaitMetric(0, "warmcgi_kills_total")
	}
}

// A client that is asked whether it is still there hears a whole interim answer.
func TestAClientOfTCPThatHasShutItsSendingSideIsAskedWhetherItIsThere(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/quiet", "sleep 1s", helloWorld, "close 1")
	g := s.serve(scripts)
	c := g.dial().send("GET /cgi-bin/quiet HTTP/1.1\r\nHost: x\r\n\r\n")
	c.closeWrite()
	text := c.rest()
	assert.Regexp(t, "^HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n", text)
	assert.Equal(t, 1, strings.Count(text, "102"))
	// HTTP/1.0 knows of no interim answers, and a Unix socket needs none.
	c = g.dial().send("GET /cgi-bin/quiet HTTP/1.0\r\n\r\n")
	c.closeWrite()
	assert.Regexp(t, "^HTTP/1.0 200 OK\r\n", c.rest())
	g = s.serve(scripts + unixDoor)
	c = g.dial().send("GET /cgi-bin/quiet HTTP/1.1\r\nHost: x\r\n\r\n")
	c.closeWrite()
	assert.Regexp(t, "^HTTP/1.1 200 OK\r\n", c.rest())
}

func TestAQuietScriptIsEndedWhenItsClientCloses(t *testing.T) {
	const get = "GET /cgi-bin/hangs HTTP/1.1\r\nHost: x\r\n\r\n"
	s := newSite(t)
	s.script("cgi-bin/hangs", "touch up$N", "hang")
	s.script("cgi-bin/reads", "sum", "touch up$N", "hang")
	s.script("cgi-bin/began", hello+"x", "touch up$N", "hang")
	s.script("cgi-bin/nph-began", "out HTTP/1.1 200 OK\r\n\r\nx", "touch up$N", "hang")
	s.certificate("localhost")
	const doors = "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n"
	n := 0
	var wg sync.WaitGroup
	for name, c := range map[string]struct {
		yaml  string
		leave func(g *testGateway, up func())
	}{
		"HTTP/1.1": {"", func(g *testGateway, up func()) { c := g.dial().send(get); up(); c.Close() }},
		"HTTP/1.1 behind a proxy": {"trusted_proxies: [127.0.0.1]\n", func(g *testGateway, up func()) {
			c := g.dial().send("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n").send(get)
			up()
			c.Close()
		}},
		"HTTP/1.1 with a reset": {"", func(g *testGateway, up func()) {
			c := g.dial().send("GET /cgi-bin/began HTTP/1.1\r\nHost: x\r\n\r\n")
			up()
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		}},
		"HTTP/1.1, shut first": {"", func(g *testGateway, up func()) { c := g.dial().send(get); c.closeWrite(); up(); c.Close() }},
		"HTTP/1.1 with a body": {"", func(g *testGateway, up func()) {
			c := g.dial().send("POST /cgi-bin/reads HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
			up()
			c.Close()
		}},
		"HTTP/1.1 with a body that was waited for": {"", func(g *testGateway, up func()) {
			c := g.dial().send("POST /cgi-bin/reads HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
			c.line()
			c.line()
			c.send("abc")
			up()
			c.Close()
		}},
		"HTTP/1.1 on a kept connection": {"", func(g *testGateway, up func()) {
			c := g.dial().send("GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
			c.answer("GET")
			c.send(get)
			up()
			c.Close()
		}},
		"Unix": {unixDoor, func(g *testGateway, up func()) { c := g.dial().send(get); up(); c.Close() }},
		"Unix, HTTP/1.0": {unixDoor, func(g *testGateway, up func()) {
			c := g.dial().send("GET /cgi-bin/began HTTP/1.0\r\n\r\n")
			up()
			c.Close()
		}},
		"Unix, shut first": {unixDoor, func(g *testGateway, up func()) { c := g.dial().send(get); c.closeWrite(); up(); c.Close() }},
		"Unix, head sent": {unixDoor, func(g *testGateway, up func()) {
			c := g.dial().send("GET /cgi-bin/began HTTP/1.1\r\nHost: x\r\n\r\n")
			up()
			c.Close()
		}},
		"Unix, nph": {unixDoor, func(g *testGateway, up func()) {
			c := g.dial().send("GET /cgi-bin/nph-began HTTP/1.1\r\nHost: x\r\n\r\n")
			up()
			c.Close()
		}},
		"HTTPS":             {doors, func(g *testGateway, up func()) { c := g.dialSecond().send(get); up(); c.Close() }},
		"HTTP/2, cancelled": {"", func(g *testGateway, up func()) { g.leaveHTTP2(g.url("/cgi-bin/hangs"), up) }},
		"HTTP/2, head sent": {"", func(g *testGateway, up func()) { g.leaveHTTP2(g.url("/cgi-bin/began"), up) }},
		"HTTP/2 over TLS": {doors, func(g *testGateway, up func()) {
			g.leaveHTTP2("https://"+g.Listeners()[1].String()+"/cgi-bin/hangs", up)
		}},
	} {
		n++
		id := fmt.Sprint(n)
		g := s.serve("env: {N: '" + id + "'}\n" + scripts + strings.ReplaceAll(c.yaml, "unix:s", "unix:s"+id))
		wg.Go(func() {
			pid := 0
			c.leave(g, func() { pid = s.started("cgi-bin/up" + id) })
			began := time.Now()
			awaitDeath(t, pid)
			assert.Less(t, time.Since(began), 15*time.Second, name)
			if strings.HasPrefix(name, "Unix") {
				assert.Less(t, time.Since(began), 5*time.Second, name)
			}
			g.awaitMetric(1, "warmcgi_kills_total", "reason=disconnect")
			eventually(t, func() bool { return g.metric("warmcgi_request_errors_total", "why=client_gone") == 1 }, name+": counted")
			g.awaitLog("why=client_gone", "level=DEBUG")
		})
	}
	wg.Wait()
}

// leaveHTTP2 makes a request, and takes it back when its script is up.
func (g *testGateway) leaveHTTP2(url string, up func()) {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := newURLRequest(url)
	require.NoError(g.t, err)
	done := make(chan struct{})
	go func() { // ends with cancel
		defer close(done)
		if res, err := g.clientOf("HTTP/2.0").Do(r.WithContext(ctx)); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}()
	up()
	cancel()
	<-done
}

func TestAScriptFinishesWithoutItsClientWhereTheRouteSaysSo(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", hello, "outn 300000", "sleep 100ms", "outn 300000", "touch done")
	s.script("cgi-bin/began", hello+"x", "touch up", "await go", "outn 300000", "touch done")
	s.script("cgi-bin/sum", hello, "touch up", "await go", "sum", "touch done")
	for door, yaml := range map[string]string{"TCP": "", "Unix": unixDoor} {
		for _, request := range []string{
			"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /cgi-bin/began HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST /cgi-bin/sum HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + string(pattern(100000)),
		} {
			for _, f := range []string{"up", "go", "done"} {
				os.Remove(s.path("cgi-bin/" + f))
			}
			g := s.serve(scripts + "    on_disconnect: finish\n" + yaml)
			c := g.dial().send(request)
			pid := s.started("cgi-bin/up")
			c.Close()
			if request[0] == 'G' { // else it is seen when the script has taken the body
				g.awaitMetric(1, "warmcgi_request_errors_total", "why=client_gone")
				assert.True(t, lives(pid), "%s: %.40q", door, request)
			}
			s.touch("cgi-bin/go")
			s.started("cgi-bin/done")
			awaitDeath(t, pid)
			g.awaitMetric(1, "warmcgi_process_exits_total", "how=ok")
			g.awaitMetric(0, "warmcgi_kills_total")
			g.shutdown()
		}
	}
}

func TestAClientThatLeavesWhileItWaitsForAPlaceIsForgotten(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	for _, yaml := range []string{unixDoor, ""} {
		os.Remove(s.path("cgi-bin/up"))
		os.Remove(s.path("cgi-bin/go"))
		g := s.serve(scripts + "    workers: {max: 1}\n" + yaml)
		first := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
		s.started("cgi-bin/up")
		second := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
		g.awaitMetric(1, "warmcgi_queue_depth")
		second.Close()
		g.awaitMetric(0, "warmcgi_queue_depth")
		g.awaitMetric(1, "warmcgi_queue_wait_seconds", "end=gone")
		s.touch("cgi-bin/go")
		assert.Equal(t, "hello, world\n", first.answer("GET").body)
		g.awaitMetric(1, "warmcgi_process_exits_total")
		g.shutdown()
	}
}

func TestClientsThatVanishMidAnswerLeaveNothing(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/chunks", hello, "drip 100000 5ms 0123456789\n")
	s.script("cgi-bin/announced", "out Content-Type: text/plain\nContent-Length: 100000000\n\n", "outn 50000000", "hang")
	s.script("cgi-bin/upload", hello, "read 100000", "hang")
	g := s.serve(scripts)
	h2 := g.clientOf("HTTP/2.0")
	var wg sync.WaitGroup
	turns := make(chan int)
	for range 20 {
		wg.Go(func() {
			for i := range turns {
				switch i % 4 {
				case 0, 1:
					c := g.dial().send("GET /cgi-bin/" + []string{"chunks", "announced"}[i%2] + " HTTP/1.1\r\nHost: x\r\n\r\n")
					for c.line() != "" {
					}
					c.br.Discard(10)
					c.Close()
				case 2:
					c := g.dial().send("POST /cgi-bin/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n").send(string(pattern(150_000)))
					c.Close()
				case 3:
					ctx, cancel := context.WithCancel(context.Background())
					res, err := h2.Do(g.request("GET", "/cgi-bin/chunks", nil).WithContext(ctx))
					if assert.NoError(t, err) {
						io.ReadFull(res.Body, make([]byte, 10))
						cancel()
						res.Body.Close()
					}
					cancel()
				}
			}
		})
	}
	for i := range 200 {
		turns <- i
	}
	close(turns)
	wg.Wait()
	g.awaitMetric(0, "warmcgi_processes")
	g.awaitMetric(200, "warmcgi_requests_total")
	assert.Zero(t, g.metric("warmcgi_queue_depth"))
	// What is left behind in any other way is what the site looks for in the end.
}

func TestASlowReaderIsServedWhole(t *testing.T) {
	const n = 6_000_000
	s := newSite(t)
	s.script("cgi-bin/chunks", hello, fmt.Sprint("outn ", n))
	s.script("cgi-bin/announced", fmt.Sprintf("out Content-Type: text/plain\nContent-Length: %d\n\n", n), fmt.Sprint("outn ", n))
	s.certificate("localhost")
	g := s.serve(scripts + "    timeout: {idle: 500ms}\nlisten: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	var wg sync.WaitGroup
	for _, name := range []string{"chunks", "announced"} {
		for how, dial := range map[string]func() *rawClient{"HTTP": g.dial, "HTTPS": g.dialSecond} {
			wg.Go(func() {
				c := dial().send("GET /cgi-bin/" + name + " HTTP/1.1\r\nHost: x\r\n\r\n")
				time.Sleep(700 * time.Millisecond)
				res, err := http.ReadResponse(c.br, nil)
				require.NoError(t, err)
				a := readSlowly(res)
				assert.NoError(t, a.err, "%s %s", how, name)
				assert.True(t, a.body == string(pattern(n)), "%s %s", how, name)
			})
		}
		wg.Go(func() {
			res, err := g.clientOf("HTTP/2.0").Do(g.request("GET", "/cgi-bin/"+name, nil))
			require.NoError(t, err)
			a := readSlowly(res)
			assert.NoError(t, a.err, "HTTP/2 %s", name)
			assert.True(t, a.body == string(pattern(n)), "HTTP/2 %s", name)
		})
	}
	wg.Wait()
	g.awaitMetric(0, "warmcgi_kills_total")
}

// readSlowly makes pauses.
func readSlowly(res *http.Response) *answer {
	defer res.Body.Close()
	var b strings.Builder
	for {
		_, err := io.CopyN(&b, res.Body, 2_500_000)
		if err == io.EOF {
			return &answer{res, b.String(), nil}
		}
		if err != nil {
			return &answer{res, b.String(), err}
		}
		time.Sleep(600 * time.Millisecond)
	}
}

func TestAClientThatNeverReadsIsCutOff(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/chunks", hello, "outn 16000000", "hang")
	s.script("cgi-bin/announced", "out Content-Type: text/plain\nContent-Length: 100000000\n\n", "outn 16000000", "hang")
	s.script("cgi-bin/reason", "out Status: 200 Fine, really\nContent-Type: text/plain\n\n", "outn 16000000", "hang")
	s.script("cgi-bin/nph-p", "out HTTP/1.1 200 OK\r\n\r\n", "outn 16000000", "hang")
	s.write("html/file", strings.Repeat("x", 50_000_000))
	s.certificate("localhost")
	const second = "{https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}"
	for name, yaml := range map[string]string{
		"TCP":            "listen: [{http: 127.0.0.1:0}, " + second + "]\n",
		"Unix":           "listen: [{http: 'unix:s'}, " + second + "]\n",
		"behind a proxy": "trusted_proxies: [127.0.0.1, unix]\nlisten: [{http: 127.0.0.1:0}, " + second + "]\n",
	} {
		g := s.serve(scripts+"  - {path: /, files: {root: html}}\n"+yaml, func(s *Server) { s.stall = 500 * time.Millisecond })
		n := 0
		for _, path := range []string{"/cgi-bin/chunks", "/cgi-bin/announced", "/cgi-bin/reason", "/cgi-bin/nph-p", "/file"} {
			for _, dial := range []func() *rawClient{g.dial, g.dialSecond} {
				dial().send("GET " + path + " HTTP/1.1\r\nHost: x\r\nRange: bytes=0-48000000\r\n\r\n")
				n++
			}
		}
		var answers []*http.Response
		if name == "TCP" {
			for _, url := range []string{g.url("/cgi-bin/chunks"), g.url("/cgi-bin/announced"), "https://" + g.Listeners()[1].String() + "/cgi-bin/chunks", g.url("/file")} {
				r, err := newURLRequest(url)
				require.NoError(t, err)
				res, err := g.clientOf("HTTP/2.0").Do(r)
				require.NoError(t, err)
				answers = append(answers, res)
				n++
			}
		}
		t.Log(name)
		g.logged(n) // each is cut off
		for _, res := range answers {
			assert.Error(t, readAnswer(res).err, name)
		}
		g.awaitMetric(0, "warmcgi_processes")
		g.shutdown()
	}
}
