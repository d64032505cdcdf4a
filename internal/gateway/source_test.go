package gateway

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// spellings are the attempts to have a script sent instead of run, given the path of a
// script; %s is the part of it before its extension, and its extension.
var spellings = []string{
	"%s%s", "%s%s/", "%s%s//", "%s%s/.", "%s%s/x/..", "%s%s?", "%s%s?x", "%s%s;x", "%s%s#", "%s%s%%23",
	"%s%s%%00", "%s%s%%00.txt", "%s%s%%00.html", "%s%s\x00.txt", "%s%s%%2500.txt", "%s%s%%u0000.txt", "%s%s%%00/", "%s%%00%s",
	"%s%s%%2f", "%s%s%%2F", "%s%s%%5c", "%s%s\\", "%s%s%%252f", "%s%s%%c0%%af", "%s%s/%%2e%%2e%%2f%[3]s", "%s%s%%2f..%%2f%[3]s",
	"%s%s.", "%s%s..", "%s%s...", "%s%s%%2e", "%s%s.%%20", "%s%s%%20", "%s%s%%20%%20", "%s%s%%09", "%s%s%%0a", "%s%s%%0d%%0a", "%s%s%%a0", "%s%s%%c2%%a0",
	"%s%s::$DATA", "%s%s:$DATA", "%s%s:stream", "%s%s%%3a%%3a$DATA", "%s%s+", "%s%s*", "%s%s%%", "%s%s%%2", "%s%s%%zz", "%s%s%%ff",
	"%s%s~", "%s%s.bak", "%s%s.BAK", "%s%s.orig", "%s%s.old", "%s%s.save", "%s%s.swp", "%s%s.swo", "%s%s.rej", "%s%s.dpkg-old", "%s%s.dpkg-dist",
	"%s%s.gz", "%s%s.br", "%s%s.zst",
}

// folderSpellings are the attempts to reach a script in another way; %s is its name.
var folderSpellings = []string{
	"/%s", "//%s", "///%s", "/./%s", "/.//%s", "/sub/../%s", "/sub/.././%s", "/sub/%%2e%%2e/%s", "/%%2e/%s", "/sub/..//%s", "/none/../%s",
	"/sub%%2f..%%2f%s", "/sub%%2f%%2e%%2e%%2f%s", "/..%%2f%s", "/../%s", "/../../%s", "/%%2e%%2e/%s", "/%%2e%%2e%%2f%s", "/.%%2e/%s", "/%%252e%%252e/%s",
	"/..\\%s", "/..%%5c%s", "/sub/..;/%s", "/.;/%s", "/;/%s", "/%%2f%s", "/%%5c%s", "/%%00/%s", "/ %s", "/%%20%s", "/\t%s", "%s", "http:/%s", "/http:/%s",
	"http://x/%s", "http://x//%s", "//x/../%s", "/.%s.swp", "/.%s.swo", "/%%23%s%%23", "/.%%23%s", "/.git/%s", "/.%s", "/sub/.%s.swp", "/._%s",
	"/cgi-bin/../%s", "/cgi-bin/%%2e%%2e/%s", "/cgi-bin/..%%2f%s", "/cgi-bin//../%s", "/linked/%s",
}

func TestTheSourceOfAScriptIsNeverSentHoweverItIsAskedFor(t *testing.T) {
	s := newSite(t)
	names := []string{"a.cgi", "b.pl", "b.play", "noexec.pl", "d.php", "e.PHP", "f.php5", "g.phtml", "h.CGI", "i.fcgi", "j.phar", "K.Pl"}
	for _, name := range names {
		for _, folder := range []string{"", "sub/"} {
			file := s.script("html/"+folder+name, helloWorld)
			if strings.HasPrefix(name, "noexec") {
				require.NoError(t, os.Chmod(file, 0o644))
			}
		}
		for _, backup := range []string{"%s~", "%s.bak", "%s.BAK", "%s.orig", "%s.old", "%s.save", "%s.swp", "%s.swo", "%s.rej", "%s.dpkg-old", "%s.dpkg-dist", ".%s.swp", ".%s.swo", "#%s#", ".#%s", ".%s", "._%s"} {
			s.write("html/"+fmt.Sprintf(backup, name), source)
		}
	}
	s.write("html/.git/a.cgi", source)
	s.write("html/.htaccess", source)
	s.write("html/.env", source)
	s.script("html/cgi-bin/program", helloWorld)
	s.write("html/cgi-bin/library", source)
	s.write("html/cgi-bin/.htpasswd", source)
	s.link("sub", "html/linked")
	g := s.serve(`
routes:
  - path: /
    files: {root: html, scripts: [.cgi, .pl, .play], index: [], listing: true}
  - path: /cgi-bin/
    cgi: {dir: html/cgi-bin}
`)
	var paths []string
	for i, name := range names {
		base, ext, _ := strings.Cut(name, ".")
		for _, f := range spellings {
			paths = append(paths, "/"+sprintf(f, base, "."+ext, name))
			if i < 4 {
				paths = append(paths, "/"+sprintf(f, base, "."+strings.ToUpper(ext), name))
				paths = append(paths, "/sub/"+sprintf(f, base, "."+ext, name))
			}
		}
		for _, f := range folderSpellings {
			paths = append(paths, sprintf(f, name))
		}
	}
	for _, f := range append(spellings, "/%s%s", "%%2f%s%s", "../cgi-bin/%s%s", "%%2e/%s%s", ".%s%s") {
		paths = append(paths, "/cgi-bin/"+sprintf(f, "program", "", "program"), "/cgi-bin/"+sprintf(f, "library", "", "library"), "/cgi-bin/"+sprintf(f, ".htpasswd", "", ""))
	}
	paths = append(paths, "/.htaccess", "/.env", "/.git/", "/.git", "/.git/a.cgi", "/cgi-bin%2fprogram", "/cgi-bin%2flibrary", "/CGI-BIN/library", "/cgi-bin/", "/%63gi-bin/library",
		"/cgi-bin%00/library", "/cgi-bin./library", "/cgi-bin%20/library", "//cgi-bin//library", "/x/../cgi-bin/library", "/x/..%2fcgi-bin/library", "/./cgi-bin/library", "/cgi-bin;x/library")

	answered := map[int]int{}
	for _, path := range paths {
		answered[g.requireNoSource(t, "GET", path, "")]++
	}
	t.Logf("%d paths: %v", len(paths), answered)
	assert.Greater(t, answered[200], 50, "scripts were run")
	assert.Greater(t, answered[404], 500)
	assert.NotZero(t, answered[400])
	assert.NotZero(t, answered[403])

	for _, name := range names {
		for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "TRACE", "SEARCH", "COPY"} {
			g.requireNoSource(t, method, "/"+name, "")
		}
		for _, fields := range []string{
			"Range: bytes=0-100\r\n", "Range: bytes=-100\r\n", "Range: bytes=1-2,4-100\r\n", "If-None-Match: *\r\n", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
			"Translate: f\r\n", "Accept-Encoding: gzip, br, zstd\r\n", "X-Original-URL: /html/" + name + "\r\n", "X-Rewrite-URL: /" + name + "~\r\n",
			"X-HTTP-Method-Override: GET\r\n", "Content-Type: application/x-httpd-php\r\n", "X-Sendfile: " + s.path("html/"+name) + "\r\n", "X-Accel-Redirect: /" + name + "\r\n",
		} {
			g.requireNoSource(t, "GET", "/"+name, fields)
		}
	}
}

// requireNoSource sends a request that may be anything, and returns the status.
func (g *testGateway) requireNoSource(t *testing.T, method, path, fields string) int {
	t.Helper()
	length := ""
	if method == "POST" || method == "PUT" {
		length = "Content-Length: 0\r\n"
	}
	text := g.dial().send(method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + length + fields + "\r\n").whatever()
	assert.NotContains(t, text, source, "%s %q", method, path)
	assert.NotContains(t, text, exe, "%s %q", method, path)
	a := newReader(t, text).answer(method)
	if a.StatusCode == 200 && method == "GET" {
		assert.Contains(t, []string{"hello, world\n", ""}, a.body[:strings.Index(a.body+"<!", "<!")], "%s %q", method, path)
	}
	return a.StatusCode
}

// sprintf is for formats that don't use all arguments.
func sprintf(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	if i := strings.Index(s, "%!(EXTRA"); i >= 0 {
		s = s[:i]
	}
	return s
}

func TestDotfilesAndBackupsAreNotServedButWellKnownIs(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{
		".well-known/acme-challenge/token", ".well-known/.secret", ".Well-known/x", ".htpasswd", ".ssh/id", "a/.b/c", "page.html~", "page.html.bak", "~", "a~b", "page.bak.html", "bak", "x.swp",
	} {
		s.write("html/"+name, "contents")
	}
	g := s.serve(`
routes:
  - path: /
    files: {root: html}
`)
	for path, status := range map[string]int{
		"/.well-known/acme-challenge/token": 200, "/a~b": 200, "/page.bak.html": 200, "/bak": 200, "/~": 200,
		"/.well-known/.secret": 404, "/.Well-known/x": 404, "/.htpasswd": 404, "/.ssh/id": 404, "/.ssh/": 404, "/.ssh": 404, "/a/.b/c": 404, "/a/%2eb/c": 404,
		"/page.html~": 404, "/page.html.bak": 404, "/page.html%7e": 404, "/x.swp": 404, "/%2ehtpasswd": 404,
	} {
		a := g.get(path)
		assert.Equal(t, status, a.StatusCode, path)
		assert.Equal(t, status == 200, a.body == "contents", path)
	}
	g.requireFailure("hidden", 404, "/.htpasswd")
}
