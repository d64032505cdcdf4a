package gateway

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sendfileSite is a site whose scripts hand files over.
func sendfileSite(t *testing.T) (*site, *testGateway) {
	s := newSite(t)
	s.write("files/a.txt", "0123456789")
	s.write("files/page.html", "plain")
	s.write("files/page.html.gz", "GZIP")
	s.write("files/sub/.hidden", "hidden, but named by the script")
	s.write("other/b.txt", "other")
	s.write("secret.txt", "SECRET")
	s.link("../secret.txt", "files/link.txt")
	s.link("sub", "files/sublink")
	require.NoError(t, os.Mkdir(s.path("files-more"), 0o755))
	s.write("files-more/c.txt", "SECRET")
	hand := func(name, field, file, more string) {
		s.script("cgi-bin/"+name, "out "+more+field+": "+file+"\n\n", "out this is thrown away")
	}
	hand("send", "X-Sendfile", s.path("files/a.txt"), "")
	hand("accel", "X-Accel-Redirect", s.path("files/a.txt"), "")
	hand("case", "x-SENDFILE", s.path("files/a.txt"), "")
	hand("typed", "X-Sendfile", s.path("files/a.txt"), "Content-Type: application/x-own\nContent-Length: 3\nSet-Cookie: a=b\nContent-Disposition: attachment\nETag: \"own\"\n")
	hand("page", "X-Sendfile", s.path("files/page.html"), "")
	hand("second", "X-Sendfile", s.path("other/b.txt"), "")
	hand("inner", "X-Sendfile", s.path("files/sub/../a.txt"), "")
	hand("hidden", "X-Sendfile", s.path("files/sub/.hidden"), "")
	hand("sublink", "X-Sendfile", s.path("files/sublink/.hidden"), "")
	for name, file := range map[string]string{
		"outside": s.path("secret.txt"), "dots": s.path("files") + "/../secret.txt", "link": s.path("files/link.txt"), "prefix": s.path("files-more/c.txt"),
		"folder": s.path("files/sub"), "relative": "files/a.txt", "relative2": "../secret.txt", "passwd": "/etc/passwd", "proc": "/proc/self/environ", "zero": "/dev/zero",
	} {
		hand("bad-"+name, "X-Sendfile", file, "")
	}
	hand("none", "X-Sendfile", s.path("files/none"), "")
	g := s.serve(`
routes:
  - {path: /cgi-bin/, cgi: {dir: cgi-bin}, x_sendfile: [files, other]}
  - {path: /plain/, cgi: {dir: cgi-bin}}
`)
	return s, g
}

func TestAScriptHandsAFileOver(t *testing.T) {
	_, g := sendfileSite(t)
	for _, name := range []string{"send", "accel", "case", "inner"} {
		a := g.get("/cgi-bin/" + name)
		assert.Equal(t, "0123456789", a.body, name)
		assert.EqualValues(t, 10, a.ContentLength, name)
		assert.Equal(t, "text/plain; charset=utf-8", a.Header.Get("Content-Type"), name)
		assert.NotContains(t, a.Header, "X-Sendfile")
		assert.NotContains(t, a.Header, "X-Accel-Redirect")
		assert.Equal(t, "2345", g.get("/cgi-bin/"+name, "Range", "bytes=2-5").body, name)
		assert.Equal(t, 304, g.get("/cgi-bin/"+name, "If-None-Match", a.Header.Get("ETag")).StatusCode, name)
		h := g.head("/cgi-bin/" + name)
		assert.EqualValues(t, 10, h.ContentLength, name)
		assert.Empty(t, h.body, name)
	}
	assert.Equal(t, "other", g.get("/cgi-bin/second").body)
	assert.Equal(t, "hidden, but named by the script", g.get("/cgi-bin/hidden").body)
	assert.Equal(t, "hidden, but named by the script", g.get("/cgi-bin/sublink").body)
	a := g.get("/cgi-bin/typed")
	assert.Equal(t, "0123456789", a.body)
	assert.Equal(t, "application/x-own", a.Header.Get("Content-Type"))
	assert.Equal(t, "a=b", a.Header.Get("Set-Cookie"))
	assert.Equal(t, "attachment", a.Header.Get("Content-Disposition"))
	assert.NotEqual(t, `"own"`, a.Header.Get("ETag"))
	a = g.get("/cgi-bin/page", "Accept-Encoding", "gzip")
	assert.Equal(t, "GZIP", a.body)
	assert.Equal(t, "gzip", a.Header.Get("Content-Encoding"))
	g.awaitMetric(0, "warmcgi_kills_total")
}

func TestAFileAnswersAPOSTToo(t *testing.T) {
	_, g := sendfileSite(t)
	assert.Equal(t, "0123456789", g.post("/cgi-bin/send", "body").body)
	body := string(pattern(100_000))
	assert.Equal(t, "0123456789", g.post("/cgi-bin/send", body).body)
	for _, l := range g.logged(2) {
		assert.Equal(t, "POST", l.Method)
		assert.Equal(t, "spawn", l.Mode)
		assert.EqualValues(t, 10, l.Bytes)
	}
}

func TestOnlyFilesOfTheAllowedFoldersAreHandedOver(t *testing.T) {
	s, g := sendfileSite(t)
	n := 0
	for _, name := range []string{"outside", "dots", "link", "prefix", "folder", "relative", "relative2", "passwd", "proc", "zero"} {
		a := g.get("/cgi-bin/bad-" + name)
		assert.Equal(t, 403, a.StatusCode, name)
		assert.NotContains(t, a.body, "SECRET", name)
		assert.NotContains(t, a.body, s.dir, name)
		n++
	}
	g.awaitMetric(float64(n), "warmcgi_request_errors_total", "why=forbidden")
	g.awaitLog("why=forbidden", "status=403", "in none of the folders")
	g.awaitLog("why=forbidden", "is not an absolute path")
	assert.Equal(t, 404, g.get("/cgi-bin/none").StatusCode)
}

func TestWithoutAllowedFoldersTheFieldsAreNothingSpecial(t *testing.T) {
	s, g := sendfileSite(t)
	a := g.get("/plain/send")
	assert.Equal(t, "this is thrown away", a.body)
	assert.Equal(t, s.path("files/a.txt"), a.Header.Get("X-Sendfile"))
}

func TestABigFileThatAScriptHandsOver(t *testing.T) {
	s := newSite(t)
	big := string(pattern(5_000_000))
	s.write("files/big", big)
	s.script("cgi-bin/p", "out X-Sendfile: "+s.path("files/big")+"\n\n")
	g := s.serve(scripts + "    x_sendfile: [files]\n")
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		a := doWith(t, g.clientOf(proto), g.request("GET", "/cgi-bin/p", nil))
		require.NoError(t, a.err)
		assert.True(t, a.body == big, proto)
	}
	text := g.raw("GET /cgi-bin/p HTTP/1.0\r\n\r\n")
	assert.Contains(t, text, fmt.Sprintf("Content-Length: %d\r\n", len(big)))
	assert.True(t, strings.HasSuffix(text, big))
}
