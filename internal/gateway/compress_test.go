package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const compressing = `
defaults: {compress: {with: [zstd, gzip]}}
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
  - path: /plain/
    cgi: {dir: cgi-bin}
    compress: {with: []}
  - path: /files/
    files: {root: files}
  - path: /gzip/
    cgi: {dir: cgi-bin}
    compress: {with: [gzip], min: 0, types: [text/plain]}
    x_sendfile: [files]
`

// plain is what an answer says.
func (a *answer) plain(t testing.TB) string {
	t.Helper()
	require.NoError(t, a.err)
	switch coding := a.Header.Get("Content-Encoding"); coding {
	case "gzip":
		r, err := gzip.NewReader(strings.NewReader(a.body))
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		return string(b)
	case "zstd":
		r, err := zstd.NewReader(strings.NewReader(a.body))
		require.NoError(t, err)
		defer r.Close()
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		return string(b)
	default:
		require.Empty(t, coding)
		return a.body
	}
}

const textHead = "out Content-Type: text/plain; charset=utf-8\n"

var story = strings.Repeat("It was a dark and stormy night. ", 100)

func TestAnAnswerIsCompressedAsTheClientLikesItBest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", textHead+"ETag: \"1\"\n\n"+story)
	g := s.serve(compressing)
	for accept, coding := range map[string]string{
		"gzip": "gzip", "GZIP": "gzip", "x-gzip": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "gzip, deflate, br": "gzip",
		"zstd;q=0.5, gzip": "gzip", "zstd;q=0.5, gzip;q=0.5": "zstd", "gzip;q=1.0, zstd;q=0": "gzip", "*": "zstd", "*;q=0": "", "gzip;q=0, *": "zstd",
		"zstd;q=0, *;q=0.1": "gzip", "gzip;q=0": "", "identity, gzip;q=0.5": "", "identity;q=0.5, gzip": "gzip", "identity;q=0, gzip": "gzip",
		"": "", "identity": "", "br": "", "gzip;q=2": "", "gzip;q=x": "", "gzip;q=": "", "gzip ; Q=0.001": "gzip", "gzipx, zst": "", ",,gzip,": "gzip", "gzip;level=1;q=0.5": "gzip",
	} {
		a := g.get("/cgi-bin/p", "Accept-Encoding", accept)
		assert.Equal(t, coding, a.Header.Get("Content-Encoding"), accept)
		assert.Equal(t, story, a.plain(t), accept)
		assert.Equal(t, []string{"Accept-Encoding"}, a.Header["Vary"], accept)
		if coding != "" {
			assert.Equal(t, `W/"1"`, a.Header.Get("ETag"), accept)
			assert.Less(t, len(a.body), len(story)/4)
		} else {
			assert.Equal(t, `"1"`, a.Header.Get("ETag"), accept)
		}
	}
	for _, l := range g.logged(27) {
		assert.Equal(t, l.Bytes < 1000, l.Bytes != int64(len(story)), "the log has what was sent")
	}
	assert.NotZero(t, g.metric("warmcgi_compression_octets_total", "side=out", "coding=gzip"))
	a := g.get("/plain/p", "Accept-Encoding", "gzip")
	assert.NotContains(t, a.Header, "Content-Encoding", "the route has it off")
	assert.NotContains(t, a.Header, "Vary")
}

func TestWhatIsNotWorthItOrNotToBeTouchedIsNotCompressed(t *testing.T) {
	s := newSite(t)
	for name, head := range map[string]string{
		"image":     "Content-Type: image/png\n",
		"none":      "X-Nothing: x\n",
		"encoded":   "Content-Type: text/plain\nContent-Encoding: br\n",
		"transform": "Content-Type: text/plain\nCache-Control: public, No-Transform\n",
		"range":     "Content-Type: text/plain\nStatus: 206\nContent-Range: bytes 0-3199/4000\n",
		"digest":    "Content-Type: text/plain\nRepr-Digest: sha-256=:x:\n",
	} {
		s.script("cgi-bin/"+name, "out "+head+"\n", "out "+story)
	}
	s.script("cgi-bin/small", textHead+"\n", "out small")
	s.script("cgi-bin/length", textHead+"Content-Length: 5\n\n", "out small")
	s.script("cgi-bin/empty", textHead+"Status: 204\n\n")
	g := s.serve(compressing)
	for _, name := range []string{"image", "none", "encoded", "transform", "range", "digest", "length", "empty"} {
		a := g.get("/cgi-bin/"+name, "Accept-Encoding", "gzip")
		if name != "encoded" {
			assert.NotContains(t, a.Header, "Content-Encoding", name)
		}
		assert.NotContains(t, a.Header, "Vary", name)
		assert.NotEqual(t, 500, a.StatusCode)
	}
	assert.Equal(t, "gzip", g.get("/gzip/small", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"), "as min says")
	assert.Zero(t, g.metric("warmcgi_compression_octets_total", "coding=zstd"))
	old := http1(t, g.raw("GET /gzip/small HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"))
	assert.Equal(t, "small", old.body)
}

func TestTypesAreThoseOfTheRoute(t *testing.T) {
	s := newSite(t)
	for name, ctype := range map[string]string{"html": "text/html", "svg": "image/svg+xml; charset=utf-8", "json": "Application/JSON", "problem": "application/problem+json", "atom": "application/atom+xml",
		"js": "application/javascript", "zip": "application/zip", "events": "text/event-stream"} {
		s.script("cgi-bin/"+name, "out Content-Type: "+ctype+"\n\n", "out "+story)
	}
	g := s.serve(compressing)
	for _, name := range []string{"html", "svg", "json", "problem", "atom", "js", "events"} {
		assert.Equal(t, "gzip", g.get("/cgi-bin/"+name, "Accept-Encoding", "gzip").Header.Get("Content-Encoding"), name)
	}
	assert.Empty(t, g.get("/cgi-bin/zip", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"))
	assert.Empty(t, g.get("/gzip/html", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"))
}

func TestEventsComeAsTheyAreWrittenAlsoCompressed(t *testing.T) {
	s := newSite(t)
	for _, coding := range []string{"gzip", "zstd"} {
		s.script("cgi-bin/"+coding, "out Content-Type: text/event-stream\n\n", "out data: 1\n\n", "await "+s.path(coding+"1"), "out data: 2\n\n", "await "+s.path(coding+"2"), "out data: 3\n\n")
	}
	g := s.serve(compressing)
	for _, coding := range []string{"gzip", "zstd"} {
		r := g.request("GET", "/cgi-bin/"+coding, nil, "Accept-Encoding", coding)
		res, err := g.http.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		var body io.Reader
		if coding == "gzip" {
			body, err = gzip.NewReader(res.Body)
		} else {
			body, err = zstd.NewReader(res.Body, zstd.WithDecoderConcurrency(1))
		}
		require.NoError(t, err)
		for i, next := range []string{coding + "1", coding + "2", ""} {
			b := make([]byte, len("data: 1\n\n"))
			_, err := io.ReadFull(body, b)
			require.NoError(t, err)
			assert.Equal(t, "data: "+string(rune('1'+i))+"\n\n", string(b), coding)
			if next != "" {
				s.touch(next) // only now the script goes on
			}
		}
		_, err = io.ReadFull(body, make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		if z, ok := body.(*zstd.Decoder); ok {
			z.Close()
		}
	}
}

func TestACompressedAnswerThatIsCutDoesNotLookWhole(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", textHead+"\n", "out "+story, "sleep 50ms", "out "+story, "kill SIGKILL")
	g := s.serve(compressing)
	for _, coding := range []string{"gzip", "zstd"} {
		a := g.get("/cgi-bin/p", "Accept-Encoding", coding)
		assert.Error(t, a.err, "the connection breaks")
		var err error
		if coding == "gzip" {
			var r *gzip.Reader
			r, err = gzip.NewReader(strings.NewReader(a.body))
			require.NoError(t, err)
			_, err = io.ReadAll(r)
		} else {
			r, zerr := zstd.NewReader(strings.NewReader(a.body))
			require.NoError(t, zerr)
			_, err = io.ReadAll(r)
			r.Close()
		}
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "and so does the decoder: "+coding)
	}
	g.requireFailure("truncated", 200)
}

func TestHEADHasTheFieldsOfGET(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", textHead+"Content-Length: 3200\nETag: \"1\"\n\n", "out "+story)
	s.write("files/f.txt", story)
	g := s.serve(compressing)
	for _, path := range []string{"/cgi-bin/p", "/files/f.txt"} {
		get, head := g.get(path, "Accept-Encoding", "gzip"), g.head(path, "Accept-Encoding", "gzip")
		assert.Empty(t, head.body)
		for _, h := range []http.Header{get.Header, head.Header} {
			h.Del("Date")
			h.Del("X-Request-Id")
			h.Del("Content-Length") // a small compressed answer has one, which HEAD can't know
		}
		assert.Equal(t, get.Header, head.Header, path)
		assert.Equal(t, "gzip", head.Header.Get("Content-Encoding"))
		assert.Equal(t, "W/", head.Header.Get("ETag")[:2])
	}
}

func TestFilesAreCompressedButTheirRangesAreNot(t *testing.T) {
	s := newSite(t)
	s.write("files/f.txt", story)
	s.write("files/f.png", story)
	g := s.serve(compressing)
	a := g.get("/files/f.txt", "Accept-Encoding", "gzip")
	assert.Equal(t, story, a.plain(t))
	assert.Equal(t, "gzip", a.Header.Get("Content-Encoding"))
	assert.NotContains(t, a.Header, "Accept-Ranges")
	tag := a.Header.Get("ETag")
	same := g.get("/files/f.txt", "Accept-Encoding", "gzip", "If-None-Match", tag)
	assert.Equal(t, 304, same.StatusCode)
	assert.Equal(t, tag, same.Header.Get("ETag"))
	assert.Equal(t, "Accept-Encoding", same.Header.Get("Vary"))
	strong := strings.TrimPrefix(tag, "W/")
	same = g.get("/files/f.txt", "If-None-Match", strong)
	assert.Equal(t, 304, same.StatusCode)
	assert.Equal(t, strong, same.Header.Get("ETag"), "what an uncompressed one has")

	part := g.get("/files/f.txt", "Accept-Encoding", "gzip", "Range", "bytes=0-9")
	assert.Equal(t, 206, part.StatusCode)
	assert.Equal(t, story[:10], part.plain(t))
	assert.Equal(t, strong, part.Header.Get("ETag"))
	whole := g.get("/files/f.txt", "Accept-Encoding", "gzip", "Range", "bytes=0-9", "If-Range", tag)
	assert.Equal(t, 200, whole.StatusCode, "a weak tag is no ground for a part (RFC 9110 section 13.1.5)")
	assert.Equal(t, story, whole.plain(t))
	assert.Equal(t, "bytes", g.get("/files/f.png", "Accept-Encoding", "gzip").Header.Get("Accept-Ranges"))
}

func TestAFileThatIsCompressedAlreadyIsSentAsItIs(t *testing.T) {
	s := newSite(t)
	s.write("files/f.txt", story)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(story))
	require.NoError(t, w.Close())
	s.write("files/f.txt.gz", b.String())
	g := s.serve(compressing)
	a := g.get("/files/f.txt", "Accept-Encoding", "gzip")
	assert.Equal(t, b.String(), a.body)
	assert.Equal(t, []string{"Accept-Encoding"}, a.Header["Vary"], "once")
	assert.Equal(t, story, g.get("/files/f.txt", "Accept-Encoding", "zstd").plain(t), "but in another coding it is made")
}

func TestAFileThatAScriptNamesIsCompressed(t *testing.T) {
	s := newSite(t)
	file := s.write("files/f.txt", story)
	s.script("cgi-bin/p", textHead+"X-Sendfile: "+file+"\n\n")
	g := s.serve(compressing)
	a := g.get("/gzip/p", "Accept-Encoding", "gzip")
	assert.Equal(t, "gzip", a.Header.Get("Content-Encoding"))
	assert.Equal(t, story, a.plain(t))
}

func TestALargeAnswerOfKnownLengthIsCompressed(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", textHead+"Content-Length: 8388608\n\n", "outn 8388608")
	s.script("cgi-bin/reason", textHead+"Status: 404 Nothing Here\n\n", "out "+story)
	g := s.serve(compressing)
	a := g.get("/cgi-bin/p", "Accept-Encoding", "zstd")
	assert.Equal(t, string(pattern(8<<20)), a.plain(t))
	a = g.get("/cgi-bin/reason", "Accept-Encoding", "gzip")
	assert.Equal(t, "404 Nothing Here", a.Status, "on a connection that was taken from net/http")
	assert.Equal(t, story, a.plain(t))
}

func TestAnEncoderIsUsedAgainForTheNextAnswer(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", textHead+"\n", "copy")
	g := s.serve(compressing)
	for i := range 30 {
		body := strings.Repeat(string(rune('a'+i%26)), 2000+i)
		coding := []string{"gzip", "zstd"}[i%2]
		a := g.post("/cgi-bin/p", body, "Accept-Encoding", coding)
		require.Equal(t, coding, a.Header.Get("Content-Encoding"))
		require.Equal(t, body, a.plain(t))
	}
}

// discard is a [http.ResponseWriter] of nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func TestWithoutCompressionNothingIsPaidForIt(t *testing.T) {
	x := &exchange{ResponseWriter: discard{http.Header{"Content-Type": {"text/html"}}}, s: &Server{}, st: &state{}, route: &route{}}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		x.status = 0
		x.beforeHead(200)
	}))
}
