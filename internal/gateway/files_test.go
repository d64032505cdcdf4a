package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files is the configuration of a site of files.
const files = `
routes:
  - path: /
    files: {root: html, index: [index.html, index.cgi], scripts: [.cgi]}
`

func TestAFileIsSentWithWhatACacheWantsToKnow(t *testing.T) {
	s := newSite(t)
	file := s.write("html/a.txt", "hello, world\n")
	changed := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	require.NoError(t, os.Chtimes(file, changed, changed))
	g := s.serve(files)
	a := g.get("/a.txt")
	assert.Equal(t, "hello, world\n", a.body)
	assert.Equal(t, "text/plain; charset=utf-8", a.Header.Get("Content-Type"))
	assert.Equal(t, "Mon, 03 Feb 2020 04:05:06 GMT", a.Header.Get("Last-Modified"))
	assert.Equal(t, "13", a.Header.Get("Content-Length"))
	assert.Equal(t, "bytes", a.Header.Get("Accept-Ranges"))
	assert.NotContains(t, a.Header, "Vary")
	tag := a.Header.Get("ETag")
	assert.Regexp(t, `^"[0-9a-z-]+"$`, tag)

	h := g.head("/a.txt")
	for _, each := range []string{"Date", "X-Request-Id"} {
		a.Header.Del(each)
		h.Header.Del(each)
	}
	assert.Equal(t, a.Header, h.Header, "HEAD")
	assert.Empty(t, h.body)

	for _, fields := range [][]string{
		{"If-None-Match", tag},
		{"If-None-Match", `"x", W/` + tag},
		{"If-None-Match", "*"},
		{"If-Modified-Since", "Mon, 03 Feb 2020 04:05:06 GMT"},
		{"If-None-Match", tag, "If-Modified-Since", "Mon, 03 Feb 2019 04:05:06 GMT"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			n := g.do(g.request(method, "/a.txt", nil, fields...))
			assert.Equal(t, 304, n.StatusCode, fields)
			assert.Equal(t, tag, n.Header.Get("ETag"), fields)
			assert.Empty(t, n.body, fields)
			assert.NotContains(t, n.Header, "Content-Type", fields)
		}
	}
	for _, fields := range [][]string{
		{"If-None-Match", `"x"`},
		{"If-Modified-Since", "Mon, 03 Feb 2020 04:05:05 GMT"},
		{"If-Modified-Since", "nonsense"},
		{"If-None-Match", `"x"`, "If-Modified-Since", "Mon, 03 Feb 2021 04:05:06 GMT"},
	} {
		assert.Equal(t, 200, g.get("/a.txt", fields...).StatusCode, fields)
	}
	assert.Equal(t, 412, g.get("/a.txt", "If-Match", `"x"`).StatusCode)
	assert.Equal(t, 412, g.get("/a.txt", "If-Unmodified-Since", "Mon, 03 Feb 2020 04:05:05 GMT").StatusCode)

	require.NoError(t, os.WriteFile(file, []byte("HELLO, WORLD\n"), 0o644))
	a = g.get("/a.txt", "If-None-Match", tag)
	assert.Equal(t, "HELLO, WORLD\n", a.body, "of the same size")
	assert.NotEqual(t, tag, a.Header.Get("ETag"))
}

func TestRangesOfAFile(t *testing.T) {
	s := newSite(t)
	s.write("html/a.txt", "0123456789")
	g := s.serve(files)
	tag := g.get("/a.txt").Header.Get("ETag")
	for _, c := range []struct {
		field, body, content string
		status               int
	}{
		{"bytes=0-0", "0", "bytes 0-0/10", 206},
		{"bytes=2-4", "234", "bytes 2-4/10", 206},
		{"bytes=7-", "789", "bytes 7-9/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206},
		{"bytes=-30", "0123456789", "bytes 0-9/10", 206},
		{"bytes=5-100", "56789", "bytes 5-9/10", 206},
		{"bytes=10-", "", "bytes */10", 416},
		{"bytes=4-2", "", "", 416},
		{"bytes=a-b", "", "", 416},
		{"lines=1-2", "", "", 416},
		{"bytes=0-9,0-9,0-9", "0123456789", "", 200}, // more than the whole
	} {
		a := g.get("/a.txt", "Range", c.field)
		assert.Equal(t, c.status, a.StatusCode, c.field)
		assert.Equal(t, c.content, a.Header.Get("Content-Range"), c.field)
		if c.status != 416 {
			assert.Equal(t, c.body, a.body, c.field)
		}
		assert.Equal(t, c.status == 206, g.head("/a.txt", "Range", c.field).StatusCode == 206, c.field)
	}
	assert.Equal(t, 206, g.get("/a.txt", "Range", "bytes=1-2", "If-Range", tag).StatusCode)
	assert.Equal(t, 200, g.get("/a.txt", "Range", "bytes=1-2", "If-Range", `"other"`).StatusCode)
	assert.Equal(t, 200, g.get("/a.txt", "Range", "bytes=1-2", "If-Range", "Mon, 03 Feb 2020 04:05:06 GMT").StatusCode)

	a := g.get("/a.txt", "Range", "bytes=0-1,-2")
	require.Equal(t, 206, a.StatusCode)
	kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	require.NoError(t, err)
	assert.Equal(t, "multipart/byteranges", kind)
	parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
	for _, want := range [][2]string{{"bytes 0-1/10", "01"}, {"bytes 8-9/10", "89"}} {
		p, err := parts.NextPart()
		require.NoError(t, err)
		assert.Equal(t, want[0], p.Header.Get("Content-Range"))
		assert.Equal(t, "text/plain; charset=utf-8", p.Header.Get("Content-Type"))
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		assert.Equal(t, want[1], string(b))
	}
	_, err = parts.NextPart()
	assert.ErrorIs(t, err, io.EOF)
}

func TestThousandsOfRangesAreNotBuiltUp(t *testing.T) {
	s := newSite(t)
	s.write("html/a.txt", strings.Repeat("x", 1000))
	g := s.serve(files)
	a := g.get("/a.txt", "Range", "bytes="+strings.TrimSuffix(strings.Repeat("0-,", 5000), ","))
	assert.Equal(t, 200, a.StatusCode) // CVE-2011-3192
	assert.Len(t, a.body, 1000)
}

func TestAPrecompressedSiblingStandsInForAFile(t *testing.T) {
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	io.WriteString(zw, "plain")
	zw.Close()
	s := newSite(t)
	for _, name := range []string{"all", "gz", "none", "stale", "linked", "folder"} {
		s.write("html/"+name+".html", "plain")
	}
	s.write("html/all.html.gz", gz.String())
	s.write("html/all.html.br", "BR")
	s.write("html/all.html.zst", "ZSTD")
	s.write("html/gz.html.gz", gz.String())
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(s.write("html/stale.html.gz", "old"), old, old))
	s.write("secret", "SECRET")
	s.link(s.path("secret"), "html/linked.html.gz")
	require.NoError(t, os.Mkdir(s.path("html/folder.html.gz"), 0o755))
	g := s.serve(files)

	for _, c := range []struct{ path, accept, coding string }{
		{"/all.html", "", ""},
		{"/all.html", "gzip", "gzip"},
		{"/all.html", "br", "br"},
		{"/all.html", "zstd", "zstd"},
		{"/all.html", "gzip, deflate, br, zstd", "br"},
		{"/all.html", "gzip, zstd;q=0.5", "zstd"},
		{"/all.html", "GZIP", "gzip"},
		{"/all.html", "br;q=0, gzip", "gzip"},
		{"/all.html", "br;q=0.0, zstd;q=0.000, gzip;q=0.001", "gzip"},
		{"/all.html", "br; q=0, zstd ; q=0, gzip ; q=0", ""},
		{"/all.html", "br;Q=0, gzip;Q=1", "gzip"},
		{"/all.html", "gzipx, xbr", ""},
		{"/all.html", "identity", ""},
		{"/gz.html", "br, zstd, gzip", "gzip"},
		{"/gz.html", "br", ""},
		{"/stale.html", "gzip", ""},
		{"/linked.html", "gzip", ""},
		{"/folder.html", "gzip", ""},
		{"/none.html", "gzip", ""},
	} {
		fields := []string{"Accept-Encoding", c.accept}
		if c.accept == "" {
			fields = nil
		}
		a := g.get(c.path, fields...)
		want := map[string]string{"": "plain", "gzip": gz.String(), "br": "BR", "zstd": "ZSTD"}[c.coding]
		assert.Equal(t, want, a.body, "%v", c)
		assert.Equal(t, c.coding, a.Header.Get("Content-Encoding"), "%v", c)
		assert.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"), "%v", c)
		vary := ""
		if c.path == "/all.html" || c.path == "/gz.html" {
			vary = "Accept-Encoding"
		}
		assert.Equal(t, vary, a.Header.Get("Vary"), "%v", c)
	}
	tags := map[string]bool{}
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		a := g.get("/all.html", "Accept-Encoding", coding)
		tags[a.Header.Get("ETag")] = true
		assert.Equal(t, 304, g.get("/all.html", "Accept-Encoding", coding, "If-None-Match", a.Header.Get("ETag")).StatusCode, coding)
	}
	assert.Len(t, tags, 4, "each form has a tag of its own")
	assert.Equal(t, gz.String(), g.get("/gz.html.gz").body, "it can be asked for itself")
}

func TestTheTypeOfAFileComesFromItsNameAlone(t *testing.T) {
	s := newSite(t)
	kinds := map[string]string{
		"a.html": "text/html; charset=utf-8", "a.css": "text/css; charset=utf-8", "a.png": "image/png", "a.json": "application/json",
		"plain": "application/octet-stream", "a.unknown-thing": "application/octet-stream", "a.html.x-y-z": "application/octet-stream",
	}
	for name := range kinds {
		s.write("html/"+name, "<html><script>alert(1)</script>")
	}
	g := s.serve(files)
	for name, kind := range kinds {
		assert.Equal(t, kind, g.get("/"+name).Header.Get("Content-Type"), name)
	}
}

func TestAFileTakesNoOtherMethodThanGetAndHead(t *testing.T) {
	s := newSite(t)
	s.write("html/a.txt", "x")
	g := s.serve(files)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		a := g.do(g.request(method, "/a.txt", strings.NewReader("body")))
		assert.Equal(t, 405, a.StatusCode, method)
		assert.Contains(t, a.Header.Get("Allow"), "GET, HEAD", method)
	}
	g.requireFailure("method", 405, "POST of a file")
	b, err := os.ReadFile(s.path("html/a.txt"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
}

func TestTheFirstIndexOfAFolderIsSent(t *testing.T) {
	s := newSite(t)
	s.write("html/both/index.html", "page")
	s.script("html/both/index.cgi", helloWorld)
	s.script("html/script/index.cgi", helloWorld)
	require.NoError(t, os.MkdirAll(s.path("html/folder/index.html"), 0o755))
	s.script("html/folder/index.cgi", helloWorld)
	s.write("html/none/other.html", "x")
	g := s.serve(files)
	assert.Equal(t, "page", g.get("/both/").body)
	assert.Equal(t, "hello, world\n", g.get("/script/").body)
	assert.Equal(t, "hello, world\n", g.get("/folder/").body)
	assert.Equal(t, 403, g.get("/none/").StatusCode)
	assert.Equal(t, 301, g.get("/both").StatusCode)
}

func TestABigFileIsSentWhole(t *testing.T) {
	big := pattern(8 << 20)
	s := newSite(t)
	require.NoError(t, os.MkdirAll(s.path("html"), 0o755))
	require.NoError(t, os.WriteFile(s.path("html/big"), big, 0o644))
	for name, yaml := range map[string]string{
		"TCP":              files,
		"behind a proxy":   files + "trusted_proxies: [127.0.0.1]\n",
		"from a Unix peer": files + "listen: [{http: 'unix:s'}]\n",
	} {
		g := s.serve(yaml)
		c := g.dial().send("GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=1000000-\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n")
		a := c.answer("GET")
		require.NoError(t, a.err, name)
		assert.True(t, a.body == string(big), name)
		a = c.answer("GET")
		assert.True(t, a.body == string(big[1000000:]), name)
		assert.Equal(t, 404, c.answer("GET").StatusCode, "%s: the connection goes on", name)
		for _, l := range g.logged(3)[:2] {
			assert.Equal(t, "files", l.Mode, name)
			assert.True(t, l.Complete, name)
		}
		assert.EqualValues(t, len(big), g.logged(3)[0].Bytes, name)
	}
}

func TestWhatIsNeitherFileNorFolderIsNotOpened(t *testing.T) {
	s := newSite(t)
	s.write("html/x", "")
	require.NoError(t, syscall.Mkfifo(s.path("html/fifo"), 0o644))
	s.link("/dev/zero", "html/zero")
	s.link("fifo", "html/pipe")
	g := s.serve(files + "    symlinks: follow\n")
	for _, path := range []string{"/fifo", "/zero", "/pipe"} {
		assert.Equal(t, 403, g.get(path).StatusCode, path)
	}
}

func TestAFileThatShrinksWhileItIsSentIsNotTakenForWhole(t *testing.T) {
	s := newSite(t)
	file := s.write("html/big", strings.Repeat("x", 64<<20))
	g := s.serve(files)
	c := g.dial().send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(c.br, nil)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, 1000))
	a := readAnswer(res)
	assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
}
