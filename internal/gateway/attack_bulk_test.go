package gateway

import (
	"bytes"
	"compress/gzip"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// bomb is n octets that gzip makes a thousandth of.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Less(t, b.Len(), n/500)
	return b.Bytes()
}

// What is sent packed is a script's to unpack: a body is as long as it is on the line.
func TestNothingIsUnpackedOnItsWay(t *testing.T) {
	s := newSite(t)
	packed := bomb(t, 8<<20)
	s.script("cgi-bin/sum", hello, "sum")
	s.script("cgi-bin/env", hello, "env")
	s.script("cgi-bin/sends", "out Content-Type: text/plain\nContent-Encoding: gzip\n\n"+string(packed))
	g := s.serve(scripts + "    compress: {}\n    body: {max: 1MiB}\n")
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip"} {
		assert.Equal(t, sum(packed), g.post("/cgi-bin/sum", string(packed), "Content-Encoding", coding).body)
		v := g.post("/cgi-bin/env", string(packed), "Content-Encoding", coding).variables(t)
		assert.Equal(t, []string{coding, strconv.Itoa(len(packed))}, []string{v["HTTP_CONTENT_ENCODING"], v["CONTENT_LENGTH"]})
	}
	a := g.get("/cgi-bin/sends", "Accept-Encoding", "identity")
	assert.Equal(t, "gzip", a.Header.Get("Content-Encoding"))
	assert.Equal(t, string(packed), a.body)
}

// A client may end a stream as soon as it has begun it, over and over (CVE-2023-44487): that
// must not start more scripts than there may be streams.
func TestStreamsThatAreResetAtOnceStartFewScripts(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/hang", "hang")
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + "    timeout: {grace: 100ms}\nmax_processes: 8\n")
	h := g.h2()
	go func() { // ends with the connection
		for {
			if _, err := h.fr.ReadFrame(); err != nil {
				return
			}
		}
	}()
	for i := range 2000 {
		if h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.id, BlockFragment: encode(plain2(":path", "/cgi-bin/hang")...), EndHeaders: true, EndStream: true}) != nil ||
			h.fr.WriteRSTStream(h.id, http2.ErrCodeCancel) != nil {
			break // it has been shown out
		}
		if h.id += 2; i%100 == 0 {
			assert.LessOrEqual(t, g.metric("warmcgi_processes"), 8.0)
		}
	}
	assert.Equal(t, "hello, world\n", g.get("/cgi-bin/p").body)
	g.awaitMetric(0, "warmcgi_processes")
}

// A head over HTTP/2 may come in any number of frames (CVE-2023-45288).
func TestAHeadOverHTTP2ThatDoesNotEndIsGivenUp(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "touch ran")
	g := s.serve(scripts)
	h := g.h2()
	require.NoError(t, h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(plain2()...), EndStream: true}))
	sent := 0
	more := encode("x-a", strings.Repeat("b", 8000))
	for ; sent < 64<<20; sent += len(more) {
		if h.fr.WriteContinuation(1, false, more) != nil {
			break
		}
	}
	assert.Less(t, sent, 64<<20, "it still takes more")
	assert.False(t, exists(s.path("cgi-bin/ran")))
}

// An expression that goes back over what it has read can take for ever to say no. Those of Go
// do not go back, and there are no others; globs have no more than one way to match.
func TestNoPatternTakesForEver(t *testing.T) {
	for _, top := range []string{"../../internal", "../../cmd"} {
		require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range f.Imports {
				if name, _ := strconv.Unquote(i.Path.Value); name != "regexp" {
					for _, word := range []string{"regex", "pcre", "onig", "re2"} {
						assert.NotContains(t, strings.ToLower(filepath.Base(name)), word, path)
					}
				}
			}
			return nil
		}))
	}
	s := newSite(t)
	name := strings.Repeat("a", 250)
	s.script("cgi-bin/"+name, helloWorld)
	g := s.serve("routes: [{path: /cgi-bin/, cgi: {dir: cgi-bin, only: ['" + strings.Repeat("*a", 100) + "*b', '" + strings.Repeat("a*", 120) + "[a]b']}}]\n")
	assert.Equal(t, 404, g.get("/cgi-bin/"+name).StatusCode)
}

// An application that believes any X-Forwarded-For is told what is true beside it, and its
// route can keep the field from it, or set it.
func TestWhatClientsSayOfThemselvesReachesAnApplicationAsNoMoreThanThat(t *testing.T) {
	s := newSite(t)
	s.backend(func(q *asked) bool {
		q.body()
		var b strings.Builder
		for name, value := range q.vars {
			b.WriteString("\x00" + name + "=" + value)
		}
		q.answer(b.String()[1:])
		return true
	})
	made := []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example", "X-Forwarded-Port", "1", "Forwarded", "for=6.6.6.6", "X-Real-IP", "6.6.6.6", "X_Forwarded_For", "7.7.7.7"}
	g := s.serve(toBackend)
	v := g.get("/x", made...).variables(t)
	assert.Equal(t, []string{"127.0.0.1", g.addr(), "http", ""}, []string{v["REMOTE_ADDR"], v["HTTP_HOST"], v["REQUEST_SCHEME"], v["HTTPS"]})
	assert.Equal(t, []string{"6.6.6.6", "6.6.6.6"}, []string{v["HTTP_X_FORWARDED_FOR"], v["HTTP_X_REAL_IP"]}, "as they came")
	g.shutdown()
	g = s.serve(strings.Replace(toBackend, "{path: /,", "{path: /, request_headers: {remove: [X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, Forwarded, X-Real-IP], set: {X-Forwarded-For: '%{REMOTE_ADDR}'}},", 1))
	v = g.get("/x", made...).variables(t)
	assert.Equal(t, "127.0.0.1", v["HTTP_X_FORWARDED_FOR"])
	for _, name := range []string{"HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_FORWARDED", "HTTP_X_REAL_IP"} {
		assert.NotContains(t, v, name)
	}
}
