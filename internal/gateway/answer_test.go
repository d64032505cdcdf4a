package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestADocumentIsSentAsTheScriptWroteIt(t *testing.T) {
	s := newSite(t)
	for name, head := range map[string]string{
		"plain":    "Content-Type: text/plain\n\n",
		"crlf":     "Content-Type: text/plain\r\n\r\n",
		"mixed":    "content-type:text/plain\r\n\n",
		"status":   "Status: 404 Not Found\nContent-Type: text/plain\n\n",
		"status2":  "Status: 299\nContent-Type: text/plain\n\n",
		"notype":   "X-A: b\n\n",
		"cookies":  "Content-Type: text/plain\nSet-Cookie: a=1\nSet-Cookie: b=2; Path=/\nX-Powered-By: me\n\n",
		"connects": "Content-Type: text/plain\nConnection: keep-alive\nTransfer-Encoding: chunked\nKeep-Alive: x\nUpgrade: x\nTrailer: X\n\n",
		"date":     "Content-Type: text/plain\nDate: Mon, 03 Feb 2020 04:05:06 GMT\nServer: mine\n\n",
		"latin":    "Content-Type: text/plain\nX-Latin: \xe4\xff\n\n",
		"folded":   "Content-Type: text/plain\nX-Folded: a\n b\n\n",
	} {
		s.script("cgi-bin/"+name, "out "+head+"<html>\x00\xff\n")
	}
	g := s.serve(scripts)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		get := func(name string) *answer {
			a := doWith(t, g.clientOf(proto), g.request("GET", "/cgi-bin/"+name, nil))
			require.NoError(t, a.err, name)
			assert.Equal(t, proto, a.Proto)
			assert.Equal(t, "<html>\x00\xff\n", a.body, name)
			return a
		}
		for _, name := range []string{"plain", "crlf", "mixed"} {
			a := get(name)
			assert.Equal(t, 200, a.StatusCode, name)
			assert.Equal(t, "text/plain", a.Header.Get("Content-Type"), name)
			assert.NotEmpty(t, a.Header.Get("Date"), name)
		}
		assert.Equal(t, 404, get("status").StatusCode)
		assert.Equal(t, 299, get("status2").StatusCode)
		a := get("notype")
		assert.NotContains(t, a.Header, "Content-Type", "it is not guessed")
		assert.Equal(t, "b", a.Header.Get("X-A"))
		assert.Equal(t, []string{"a=1", "b=2; Path=/"}, get("cookies").Header["Set-Cookie"])
		a = get("connects")
		for _, name := range []string{"Connection", "Keep-Alive", "Upgrade", "Trailer"} {
			assert.NotContains(t, a.Header, name)
		}
		a = get("date")
		assert.Equal(t, []string{"Mon, 03 Feb 2020 04:05:06 GMT"}, a.Header["Date"])
		assert.Equal(t, []string{"mine"}, a.Header["Server"])
		assert.Equal(t, "\xe4\xff", get("latin").Header.Get("X-Latin"))
		assert.Equal(t, "a b", get("folded").Header.Get("X-Folded"))
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/204", "out Status: 204 No Content\nX-A: b\n\n")
	s.script("cgi-bin/204body", "out Status: 204 No Content\nContent-Length: 3\n\nabc")
	s.script("cgi-bin/304", "out Status: 304 Not Modified\nETag: \"x\"\n\n", "outn 100000", "touch whole")
	s.script("cgi-bin/empty", "out Content-Type: text/plain\n\n", "close 1")
	g := s.serve(scripts)
	c := g.dial()
	for name, status := range map[string]int{"204": 204, "204body": 204, "304": 304, "empty": 200} {
		a := c.send("GET /cgi-bin/" + name + " HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET")
		assert.Equal(t, status, a.StatusCode, name)
		assert.Empty(t, a.body, name)
		if status == 204 {
			assert.NotContains(t, a.Header, "Content-Length", name)
		}
	}
	assert.EqualValues(t, 0, g.get("/cgi-bin/empty").ContentLength)
	s.started("cgi-bin/whole")
	g.awaitMetric(0, "warmcgi_kills_total")
}

func TestARedirectGoesToTheClientUnlessItIsLocal(t *testing.T) {
	s := newSite(t)
	for name, out := range map[string]string{
		"absolute": "Location: https://example.org/x?y=z\n\n",
		"document": "Status: 301 Moved Permanently\nLocation: https://example.org/x\nContent-Type: text/plain\n\nsee there",
		"nostatus": "Location: https://example.org/x\nContent-Type: text/plain\n\nsee there",
		"local303": "Status: 303 See Other\nLocation: /cgi-bin/target\nContent-Type: text/plain\n\n",
		"cookie":   "Location: /cgi-bin/target\nSet-Cookie: a=b\n\n",
		"slashes":  "Location: //example.org/x\n\n",
		"local":    "Location: /cgi-bin/target/info?a=b\n\n",
		"local2":   "Content-Type: text/html\nLocation: /cgi-bin/target/info?a=b\n\nthis is thrown away",
		"201":      "Status: 201 Created\nLocation: /cgi-bin/target\n\n",
		"relative": "Location: target\n\n",
	} {
		s.script("cgi-bin/"+name, "out "+out)
	}
	s.script("cgi-bin/target", hello, "env")
	g := s.serve(scripts)
	for _, c := range []struct {
		name, location, body string
		status               int
	}{
		{"absolute", "https://example.org/x?y=z", "", 302},
		{"document", "https://example.org/x", "see there", 301},
		{"nostatus", "https://example.org/x", "see there", 302},
		{"local303", "/cgi-bin/target", "", 303},
		{"cookie", "/cgi-bin/target", "", 302},
		{"slashes", "//example.org/x", "", 302},
		{"201", "/cgi-bin/target", "", 201},
		{"relative", "target", "", 302},
	} {
		a := g.get("/cgi-bin/" + c.name)
		assert.Equal(t, c.status, a.StatusCode, c.name)
		assert.Equal(t, c.location, a.Header.Get("Location"), c.name)
		assert.Equal(t, c.body, a.body, c.name)
	}
	assert.Equal(t, "a=b", g.get("/cgi-bin/cookie").Header.Get("Set-Cookie"))
	for _, name := range []string{"local", "local2"} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			v := g.do(g.request(method, "/cgi-bin/"+name+"/x?y", strings.NewReader("body"), "Content-Type", "text/x", "X-A", "b")).variables(t)
			assert.Equal(t, "GET", v["REQUEST_METHOD"], method)
			assert.Equal(t, "/cgi-bin/target", v["SCRIPT_NAME"])
			assert.Equal(t, "/info", v["PATH_INFO"])
			assert.Equal(t, "a=b", v["QUERY_STRING"])
			assert.Equal(t, "/cgi-bin/target/info?a=b", v["REQUEST_URI"])
			assert.Equal(t, "b", v["HTTP_X_A"])
			assert.NotContains(t, v, "CONTENT_LENGTH")
			assert.NotContains(t, v, "CONTENT_TYPE")
		}
		h := g.head("/cgi-bin/" + name)
		assert.Equal(t, 200, h.StatusCode)
		assert.Equal(t, "text/plain", h.Header.Get("Content-Type"))
	}
	g.state.Load().access.flush()
	assert.Contains(t, g.access.String(), `"method":"PUT","uri":"/cgi-bin/local/x?y"`, "the log has the request as it came")
}

func TestALocalRedirectLeadsToFilesFoldersAndErrors(t *testing.T) {
	s := newSite(t)
	s.write("html/a.txt", "a file")
	s.write("html/sub/index.html", "an index")
	for name, to := range map[string]string{"file": "/a.txt", "folder": "/sub/", "bare": "/sub?x", "none": "/none", "up": "/../etc/passwd", "hidden": "/.htpasswd", "query": "/a.txt?x=y z", "nul": "/a%00"} {
		s.script("cgi-bin/"+name, "out Location: "+to+"\n\n")
	}
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\n")
	assert.Equal(t, "a file", g.get("/cgi-bin/file").body)
	assert.Equal(t, "a file", g.post("/cgi-bin/file", "x").body, "it is a GET now")
	assert.Equal(t, 206, g.get("/cgi-bin/file", "Range", "bytes=0-0").StatusCode)
	assert.Equal(t, "an index", g.get("/cgi-bin/folder").body)
	assert.Equal(t, "/sub/?x", g.get("/cgi-bin/bare").Header.Get("Location"))
	for name, status := range map[string]int{"none": 404, "up": 400, "hidden": 404, "nul": 400} {
		assert.Equal(t, status, g.get("/cgi-bin/"+name).StatusCode, name)
	}
}

func TestALocalRedirectToItselfIsEndedSoon(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/a", "out Location: /cgi-bin/b\n\n")
	s.script("cgi-bin/b", "out Location: /cgi-bin/a\n\n")
	g := s.serve(scripts)
	assert.Equal(t, 502, g.get("/cgi-bin/a").StatusCode)
	g.requireFailure("redirect_loop", 502, "too many local redirects")
	g.awaitMetric(maxRedirects+1, "warmcgi_process_exits_total")
}

func TestTheTargetOfALocalRedirectIsGuardedAsEver(t *testing.T) {
	b, err := os.ReadFile("testdata/htpasswd")
	require.NoError(t, err)
	s := newSite(t)
	s.write("htpasswd", string(b))
	s.script("cgi-bin/open", "out Location: /guarded/p\n\n")
	s.script("secret/back", "out Location: /cgi-bin/env\n\n")
	s.script("cgi-bin/env", hello, "env")
	s.script("secret/p", hello, "env")
	g := s.serve(scripts + "  - {path: /guarded/, cgi: {dir: secret}, auth: {basic: {htpasswd: htpasswd}}}\n")
	assert.Equal(t, 401, g.get("/cgi-bin/open").StatusCode)
	assert.Equal(t, 401, g.as("sha", "wrong", "/cgi-bin/open").StatusCode)
	assert.Equal(t, "sha", g.as("sha", "secret of sha", "/cgi-bin/open").variables(t)["REMOTE_USER"])
	assert.NotContains(t, g.as("sha", "secret of sha", "/guarded/back").variables(t), "REMOTE_USER", "the open script is nobody's")
}

// The length of an answer is known when it ends soon, or when its script says so.
func TestTheLengthOfAnAnswer(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/small", hello+"hello", "close 1")
	s.script("cgi-bin/pieces", hello+"he", "out l", "out lo", "close 1")
	s.script("cgi-bin/announced", "out Content-Type: text/plain\nContent-Length: 5\n\nhe", "sleep 50ms", "out llo")
	s.script("cgi-bin/slow", hello+"he", "sleep 100ms", "out llo")
	s.script("cgi-bin/long", "out Content-Type: text/plain\nContent-Length: 5\n\nhello and more")
	s.script("cgi-bin/longslow", "out Content-Type: text/plain\nContent-Length: 5\n\nhello", "out and more", "sleep 10ms", "out and more", "touch whole")
	s.script("cgi-bin/zero", "out Content-Type: text/plain\nContent-Length: 0\n\nhello")
	g := s.serve(scripts)
	for name, length := range map[string]int64{"small": 5, "pieces": 5, "announced": 5, "slow": -1, "long": 5, "longslow": 5, "zero": 0} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
			a := doWith(t, g.clientOf(proto), g.request("GET", "/cgi-bin/"+name, nil))
			require.NoError(t, a.err, name)
			assert.Equal(t, length, a.ContentLength, "%s %s", proto, name)
			assert.Equal(t, "hello"[:max(0, min(5, length))], a.body[:max(0, min(5, length))], "%s %s", proto, name)
			assert.Len(t, a.body, int(max(length, 5*min(1, -length))), "%s %s", proto, name)
		}
	}
	s.started("cgi-bin/whole") // a script is left to write more than it has announced
	g.awaitMetric(0, "warmcgi_kills_total")
	g.awaitMetric(0, "warmcgi_truncated_total")
}

func TestAPieceOfAnAnswerArrivesAsItIsWritten(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/events", "out Content-Type: text/event-stream\n\n", "out data: 1\n\n", "await go1", "out data: 2\n\n", "await go2", "out data: 3\n\n")
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	for _, c := range []struct{ proto, url string }{
		{"HTTP/1.1", g.url("")}, {"HTTP/2.0", g.url("")},
		{"HTTP/1.1", "https://" + g.Listeners()[1].String()}, {"HTTP/2.0", "https://" + g.Listeners()[1].String()},
	} {
		os.Remove(s.path("cgi-bin/go1"))
		os.Remove(s.path("cgi-bin/go2"))
		r, err := newURLRequest(c.url + "/cgi-bin/events")
		require.NoError(t, err)
		res, err := g.clientOf(c.proto).Do(r)
		require.NoError(t, err, c)
		br := bufio.NewReader(res.Body)
		for i := 1; i <= 3; i++ {
			line, err := br.ReadString('\n')
			require.NoError(t, err, c)
			assert.Equal(t, fmt.Sprintf("data: %d\n", i), line, c)
			br.ReadString('\n')
			s.touch(fmt.Sprintf("cgi-bin/go%d", i))
		}
		_, err = br.ReadByte()
		assert.ErrorIs(t, err, io.EOF, c)
		res.Body.Close()
	}
}

func TestTheHeadOfAnAnswerArrivesBeforeItsBody(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "out Content-Type: text/plain\n\n", "await go", "out done")
	g := s.serve(scripts)
	res, err := g.http.Do(g.request("GET", "/cgi-bin/p", nil))
	require.NoError(t, err)
	s.touch("cgi-bin/go")
	assert.Equal(t, "done", readAnswer(res).body)
}

func TestOutputThatComesFastIsPutTogether(t *testing.T) {
	s := newSite(t)
	steps := []string{hello}
	for range 500 {
		steps = append(steps, "out 0123456789")
	}
	s.script("cgi-bin/p", append(steps, "close 1")...)
	g := s.serve(scripts)
	text := g.raw("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	assert.Less(t, strings.Count(text, "0123456789\r\n"), 100, "chunks")
	assert.Equal(t, 500, strings.Count(text, "0123456789")+strings.Count(text, "01234567\r\n"), "about") // a chunk may end anywhere
}

func TestBigAnswersArriveWhole(t *testing.T) {
	const n = 3_000_000
	s := newSite(t)
	s.script("cgi-bin/unknown", hello, fmt.Sprint("outn ", n))
	s.script("cgi-bin/announced", fmt.Sprintf("out Content-Type: text/plain\nContent-Length: %d\n\n", n), fmt.Sprint("outn ", n))
	s.script("cgi-bin/slow", fmt.Sprintf("out Content-Type: text/plain\nContent-Length: %d\n\n", n+10), "drip 10 20ms x", fmt.Sprint("outn ", n))
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, base := range []string{g.url(""), "https://" + g.Listeners()[1].String()} {
			for _, name := range []string{"unknown", "announced", "slow"} {
				r, err := newURLRequest(base + "/cgi-bin/" + name)
				require.NoError(t, err)
				a := doWith(t, g.clientOf(proto), r)
				require.NoError(t, a.err)
				assert.True(t, strings.TrimPrefix(a.body, "xxxxxxxxxx") == string(pattern(n)), "%s %s %s", proto, base, name)
			}
		}
	}
	text := g.raw("GET /cgi-bin/unknown HTTP/1.0\r\n\r\n")
	assert.True(t, strings.HasSuffix(text, string(pattern(n))))
	for _, l := range g.logged(13) {
		assert.True(t, l.Complete)
		assert.GreaterOrEqual(t, l.Bytes, int64(n))
	}
}

func TestAnOwnReasonReachesWhoCanHearIt(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "out Status: 404 Gone Fishing\nContent-Type: text/plain\n\nback at six\n")
	s.script("cgi-bin/slow", "out Status: 200 Fine, really\nContent-Type: text/plain\n\n", "drip 3 30ms piece\n")
	s.script("cgi-bin/length", "out Status: 200 Fine, really\nContent-Type: text/plain\nContent-Length: 5\n\nhello")
	s.script("cgi-bin/same", "out Status: 404 not found\nContent-Type: text/plain\n\n")
	s.script("cgi-bin/204", "out Status: 204 Nothing here\n\n")
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	get := func(name, proto string) string {
		return g.raw("GET /cgi-bin/" + name + " " + proto + "\r\nHost: x\r\n\r\n") // and the connection is closed
	}
	text := get("p", "HTTP/1.1")
	assert.Regexp(t, "^HTTP/1.1 404 Gone Fishing\r\n", text)
	a := http1(t, text)
	assert.Equal(t, "back at six\n", a.body)
	assert.True(t, a.Close)
	assert.NotEmpty(t, a.Header.Get("Date"))
	text = get("slow", "HTTP/1.1")
	assert.Equal(t, "piece\npiece\npiece\n", http1(t, text).body)
	assert.Regexp(t, "^HTTP/1.1 200 Fine, really\r\n", text)
	text = get("slow", "HTTP/1.0")
	assert.Regexp(t, "(?s)^HTTP/1.[01] 200 Fine, really\r\n.*\r\n\r\npiece\npiece\npiece\n$", text)
	assert.NotContains(t, text, "chunked")
	assert.EqualValues(t, 5, http1(t, get("length", "HTTP/1.1")).ContentLength)
	assert.Regexp(t, "^HTTP/1.1 204 Nothing here\r\n", get("204", "HTTP/1.1"))
	text = g.raw("HEAD /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	assert.Regexp(t, "(?s)^HTTP/1.1 404 Gone Fishing\r\n.*\r\n\r\n$", text)
	c := g.dialSecond().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	assert.Equal(t, "HTTP/1.1 404 Gone Fishing", c.line())
	assert.Contains(t, c.rest(), "back at six\n")
	assert.Equal(t, "404 Not Found", g.get("/cgi-bin/same").Status, "that is the usual one, and the connection is kept")

	a = doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/p", nil))
	assert.Equal(t, 404, a.StatusCode)
	assert.Equal(t, "back at six\n", a.body)
	for _, l := range g.logged(9) {
		assert.True(t, l.Complete)
		assert.NotZero(t, l.Status)
	}
}

func TestAnNPHScriptWritesTheAnswerItself(t *testing.T) {
	s := newSite(t)
	raw := "HTTP/1.1 207 Odd\r\nX-Raw: \x01 anything\r\nContent-Type: text/plain\r\n\r\nfirst\n"
	s.script("cgi-bin/nph-p", "out "+raw, "await go", "out second\n")
	s.script("cgi-bin/nph-sum", "out HTTP/1.0 200 OK\r\n\r\n", "sum")
	s.script("cgi-bin/nph-none", "exit 0")
	s.script("cgi-bin/nph-cooked", "out HTTP/1.1 203 Odd\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nbody")
	s.script("cgi-bin/nph-bad", "out Content-Type: text/plain\n\nbody")
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	for _, dial := range []func() *rawClient{g.dial, g.dialSecond} {
		os.Remove(s.path("cgi-bin/go"))
		c := dial().send("GET /cgi-bin/nph-p HTTP/1.1\r\nHost: x\r\n\r\n")
		for line := range strings.Lines(raw) {
			assert.Equal(t, strings.TrimRight(line, "\r\n"), c.line(), "as it is, and at once")
		}
		s.touch("cgi-bin/go")
		assert.Equal(t, "second\n", c.rest())
	}
	for _, n := range []int{10, 100_000} {
		c := g.dial().send(fmt.Sprintf("POST /cgi-bin/nph-sum HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", n)).send(string(pattern(n)))
		assert.Equal(t, "HTTP/1.0 200 OK\r\n\r\n"+sum(pattern(n)), c.rest())
	}
	assert.Equal(t, 502, g.get("/cgi-bin/nph-none").StatusCode)
	g.requireFailure("no_output", 502, "nph-none")

	a := doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/nph-cooked", nil))
	assert.Equal(t, 203, a.StatusCode)
	assert.Equal(t, "text/plain", a.Header.Get("Content-Type"))
	assert.Equal(t, "body", a.body)
	assert.Equal(t, 502, doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/nph-bad", nil)).StatusCode)
	g.requireFailure("bad_head", 502, "an nph- script's first line")
}

// What a script writes must not become a second answer, or a field that it did not write.
func TestABrokenHeadAnswers502(t *testing.T) {
	s := newSite(t)
	heads := map[string]string{
		"nocolon": "Content-Type text/plain\n\nx", "nohead": "hello, world", "empty": "\n\nx", "control": "X-A: b\x00c\n\nx", "name": "X A: b\n\nx",
		"status": "Status: 99\n\nx", "status1": "Status: 100 Continue\n\nx", "status101": "Status: 101 Switching\n\nx", "statusword": "Status: fine\n\nx",
		"lengths": "Content-Length: 1\nContent-Length: 2\n\nx", "length": "Content-Length: -1\n\nx", "cr": "X-A: b\rX-B: c\n\nx", "http": "HTTP/1.1 200 OK\nX-A: b\n\nx",
	}
	for name, head := range heads {
		s.script("cgi-bin/"+name, "out "+head)
	}
	s.script("cgi-bin/huge", "out X-A: ", "outn 70000")
	s.script("cgi-bin/forever", "drip 10000 1ms X-A: b\n")
	g := s.serve(scripts)
	for name := range heads {
		a := g.get("/cgi-bin/" + name)
		assert.Equal(t, 502, a.StatusCode, name)
		assert.Empty(t, a.Header.Get("X-A"), name)
	}
	assert.Equal(t, 502, g.get("/cgi-bin/huge").StatusCode)
	g.awaitMetric(float64(len(heads)+1), "warmcgi_request_errors_total", "why=bad_head")
	g.requireFailure("bad_head", 502, "no colon in line")
}

func TestWhatAScriptWritesToStandardErrorIsLogged(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "err a warning\nand half a line", hello, "out fine")
	g := s.serve(scripts)
	assert.Equal(t, "fine", g.get("/cgi-bin/p").body)
	id := g.logged(1)[0].ID
	g.awaitLog("a warning", "id="+id, "script=/cgi-bin/p")
	g.awaitLog("and half a line", "id="+id)
}

func TestAnAnswerGoesOnWhenItsScriptWorksOn(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld, "close 1", "touch closed", "await go", "touch done")
	g := s.serve(scripts)
	began := time.Now()
	a := g.get("/cgi-bin/p")
	assert.Equal(t, "hello, world\n", a.body)
	assert.Less(t, time.Since(began), patience/2)
	s.touch("cgi-bin/go")
	s.started("cgi-bin/done")
	g.awaitMetric(0, "warmcgi_kills_total")
	assert.Equal(t, http.StatusOK, a.StatusCode)
}

// ceaseless is a script that writes an octet whenever it is read from for any time at all,
// until the client has seen some.
type ceaseless struct {
	cgi.Body
	seen    chan bool
	written int
}

func (c *ceaseless) RoundTrip(_ context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.End(cgi.Exit{})
	return &cgi.Response{Status: 200, Header: http.Header{}, Length: -1, Body: c}, nil
}

func (c *ceaseless) Close() error               { return nil }
func (c *ceaseless) ClientGone()                {}
func (c *ceaseless) Read(b []byte) (int, error) { return c.ReadWithin(b, patience) }
func (c *ceaseless) ReadWithin(b []byte, d time.Duration) (int, error) {
	if d <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case <-c.seen:
		return 0, io.EOF
	case <-time.After(100 * time.Microsecond):
	}
	if c.written++; c.written == 60_000 {
		return 0, errors.New("nothing of it has reached the client")
	}
	return copy(b, "x"), nil
}

func TestWhatAScriptWritesWithoutAPauseReachesTheClientBeforeABufferIsFull(t *testing.T) {
	s := newSite(t)
	c := &ceaseless{seen: make(chan bool)}
	g := s.serve("routes: [{path: /, cgi: {program: /bin/true}}]\n", func(s *Server) { s.backend = c })
	res, err := g.http.Do(g.request("GET", "/x", nil))
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.ReadFull(res.Body, make([]byte, 10))
	close(c.seen)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	assert.NoError(t, err)
}

// torrent is a script whose output is there whenever it is read, as much as is asked for.
type torrent struct {
	cgi.Body
	left   int
	asked  []int // octets, by each read
	closed chan bool
}

func (o *torrent) RoundTrip(_ context.Context, req *cgi.Request) (*cgi.Response, error) {
	req.End(cgi.Exit{})
	return &cgi.Response{Status: 200, Header: http.Header{}, Length: int64(o.left), Body: o}, nil
}

func (o *torrent) Close() error                                      { close(o.closed); return nil }
func (o *torrent) ClientGone()                                       {}
func (o *torrent) ReadWithin(b []byte, _ time.Duration) (int, error) { return o.Read(b) }
func (o *torrent) Read(b []byte) (int, error) {
	o.asked = append(o.asked, len(b))
	if o.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), o.left)
	o.left -= n
	return n, nil
}

func TestALongAnswerIsCopiedByHalfAPipeSoThatItsScriptGoesOnMeanwhile(t *testing.T) {
	s := newSite(t)
	o := &torrent{left: 1 << 20, closed: make(chan bool)}
	g := s.serve("routes: [{path: /, cgi: {program: /bin/true}}]\n", func(s *Server) { s.backend = o })
	assert.Len(t, g.get("/x").body, 1<<20)
	<-o.closed
	require.Greater(t, len(o.asked), 2)
	for _, n := range o.asked[1:] {
		assert.LessOrEqual(t, n, 32<<10)
	}
}
