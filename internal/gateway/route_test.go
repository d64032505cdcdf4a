package gateway

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheLongestPathWins(t *testing.T) {
	s := newSite(t)
	s.script("bin/program", hello, "out from the program")
	s.write("top/a/b/file", "from the top")
	s.write("a/b/file", "from a")
	s.write("ab/file", "from a/b")
	g := s.serve(`
routes:
  - path: /
    files: {root: top}
  - path: /a/b/
    files: {root: ab}
  - path: /a/
    files: {root: a}
  - path: /a/b/c
    cgi: {program: bin/program}
`)
	for path, body := range map[string]string{
		"/a/b/file":        "from a/b",
		"//a//b/file":      "from a/b",
		"/x/../a/./b/file": "from a/b",
		"/%61/b/file":      "from a/b",
		"/a/b/c":           "from the program",
		"/a/b/c/d/e":       "from the program",
	} {
		assert.Equal(t, body, g.get(path).body, path)
	}
	for _, path := range []string{"/a/b/cd", "/a%2fb/file", "/A/b/file", "/a/b/c%2f"} {
		assert.Equal(t, 404, g.get(path).StatusCode, path)
	}
}

func TestARouteWithoutASlashIsItselfAndWhatIsBelowIt(t *testing.T) {
	s := newSite(t)
	s.script("program", hello, "env")
	g := s.serve(`
document_root: /srv/site
routes:
  - path: /git
    cgi: {program: program}
`)
	for _, c := range []struct{ path, script, info string }{
		{"/git", "/git", ""},
		{"/git/", "/git", "/"},
		{"/git/x/y.git", "/git", "/x/y.git"},
		{"/git//x//", "/git", "//x//"},
		{"//git/x", "/git", "/x"},
		{"/git/a%20b%2Fc%3F", "/git", "/a b/c?"},
		{"/git/../git/x/../y", "/git", "/y"},
		{"/git/%ff", "/git", "/\xff"},
	} {
		v := g.get(c.path + "?q=1").variables(t)
		assert.Equal(t, c.script, v["SCRIPT_NAME"], c.path)
		assert.Equal(t, c.info, v["PATH_INFO"], c.path)
		assert.Equal(t, c.path+"?q=1", v["REQUEST_URI"], c.path)
		if c.info == "" {
			assert.NotContains(t, v, "PATH_INFO", c.path)
			assert.NotContains(t, v, "PATH_TRANSLATED", c.path)
		} else {
			assert.Equal(t, "/srv/site"+c.info, v["PATH_TRANSLATED"], c.path)
		}
	}
	for _, path := range []string{"/gitx", "/gi", "/", "/Git", "/git%2fx", "/x/git"} {
		assert.Equal(t, 404, g.get(path).StatusCode, path)
	}
}

func TestAProgramAtTheRootHasAnEmptyScriptName(t *testing.T) {
	s := newSite(t)
	s.script("program", hello, "env")
	g := s.serve(`
routes:
  - path: /
    cgi: {program: program, args: [one, two words]}
`)
	for path, info := range map[string]string{"/": "/", "/a/b": "/a/b"} {
		v := g.get(path).variables(t)
		assert.Equal(t, "", v["SCRIPT_NAME"], path)
		assert.Equal(t, info, v["PATH_INFO"], path)
	}
}

func TestTheArgumentsOfAProgramStandBeforeTheWordsOfTheQuery(t *testing.T) {
	s := newSite(t)
	s.script("program", hello, "args")
	g := s.serve(`
routes:
  - path: /p
    cgi: {program: program, args: [one, two words]}
`)
	for query, args := range map[string]string{
		"":           "one|two words",
		"?a+b%20c":   "one|two words|a|b c",
		"?a=b+c":     "one|two words",
		"?-s+%2dx":   "one|two words|-s|-x",
		"?a%00b+c":   "one|two words",
		"?%zz":       "one|two words",
		"?$(id)+`x`": "one|two words|$(id)|`x`",
	} {
		assert.Equal(t, args, strings.ReplaceAll(g.get("/p"+query).body, "\x00", "|"), query)
	}
	assert.Equal(t, "one|two words", strings.ReplaceAll(g.post("/p?a+b", "").body, "\x00", "|"), "POST")
}

func TestAMissingSlashIsRedirectedWithItsQuery(t *testing.T) {
	s := newSite(t)
	s.script("bin/p", helloWorld)
	s.write("html/sub folder/index.html", "index")
	g := s.serve(`
routes:
  - path: /bin/
    cgi: {dir: bin}
  - path: /a b/
    cgi: {dir: bin}
  - path: /
    files: {root: html}
`)
	for path, to := range map[string]string{
		"/bin":                "/bin/",
		"/bin?a=b&c":          "/bin/?a=b&c",
		"//bin":               "/bin/",
		"/a%20b?x":            "/a%20b/?x",
		"/sub%20folder?x=%2f": "/sub%20folder/?x=%2f",
		"//sub%20folder":      "/sub%20folder/",
	} {
		a := g.get(path)
		assert.Equal(t, 301, a.StatusCode, path)
		assert.Equal(t, to, a.Header.Get("Location"), path)
	}
	assert.Equal(t, 301, g.head("/bin").StatusCode)
	assert.Equal(t, "index", g.get("/sub%20folder/").body)
}

func TestAFolderWithADotBehindItHasItsSlash(t *testing.T) {
	s := newSite(t)
	s.write("html/index.html", "the root")
	s.write("html/sub/index.html", "the folder")
	g := s.serve(`
routes:
  - path: /
    files: {root: html}
`)
	for path, body := range map[string]string{
		"/.":        "the root",
		"/sub/..":   "the root",
		"/./":       "the root",
		"/sub/.":    "the folder",
		"/sub/x/..": "the folder",
		"/sub/%2e":  "the folder",
		"/sub/./":   "the folder",
		"//sub///":  "the folder",
	} {
		a := http1(t, g.raw("GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		assert.Equal(t, 200, a.StatusCode, "%s: to %s", path, a.Header.Get("Location"))
		assert.Equal(t, body, a.body, path)
	}
}

// A Location that begins with two slashes, or that a browser takes for such, is
// another site's.
func TestNoRedirectLeavesTheSite(t *testing.T) {
	s := newSite(t)
	s.write("html/evil.example/index.html", "")
	s.write("html/\\evil.example/index.html", "")
	s.write("html/a/evil.example/index.html", "")
	s.script("bin/p", helloWorld)
	g := s.serve(`
routes:
  - path: /
    files: {root: html}
  - path: /bin/
    cgi: {dir: bin}
`)
	for _, path := range []string{
		"//evil.example", "///evil.example", "/\\evil.example", "/%5cevil.example", "//\\evil.example", "/a/..//evil.example",
		"/.//evil.example", "//a//evil.example", "/.", "//", "//.", "//bin", "/%2e%2e/evil.example", "/%2f/evil.example",
		"http://evil.example/bin", "http://evil.example//evil.example", "//evil.example/..", "/\t/evil.example", "/evil.example%0d%0aX: y",
	} {
		text := g.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		a := http1(t, text)
		if to := a.Header.Get("Location"); to != "" {
			assert.Regexp(t, `^/([A-Za-z0-9%][^\\]*)?$`, to, path)
		}
		assert.NotContains(t, text, "\nX: y", path)
	}
}

func TestAFolderOfProgramsIsWalkedByTheFileSystem(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/a.cgi", hello, "env")
	s.script("cgi-bin/sub/deep/b.cgi", hello, "env")
	s.script("cgi-bin/b c.pl", hello, "env")
	s.write("cgi-bin/sub/empty/note.txt", "x")
	g := s.serve(scripts)
	for _, c := range []struct{ path, script, info string }{
		{"/cgi-bin/a.cgi", "/cgi-bin/a.cgi", ""},
		{"/cgi-bin/a.cgi/", "/cgi-bin/a.cgi", "/"},
		{"/cgi-bin/a.cgi/x//y%2fz", "/cgi-bin/a.cgi", "/x//y/z"},
		{"/cgi-bin//sub/deep//b.cgi/x", "/cgi-bin/sub/deep/b.cgi", "/x"},
		{"/cgi-bin/b%20c.pl/p", "/cgi-bin/b c.pl", "/p"},
		{"/cgi-bin/sub/../a.cgi", "/cgi-bin/a.cgi", ""},
	} {
		v := g.get(c.path).variables(t)
		assert.Equal(t, c.script, v["SCRIPT_NAME"], c.path)
		assert.Equal(t, c.info, v["PATH_INFO"], c.path)
		assert.Equal(t, s.path("")+"/cgi-bin", v["DOCUMENT_ROOT"], c.path)
		assert.Equal(t, s.path("")+c.script, v["SCRIPT_FILENAME"], c.path)
	}
	for path, status := range map[string]int{
		"/cgi-bin/":                   403, // no index, no listing
		"/cgi-bin/sub/":               403,
		"/cgi-bin/sub":                301,
		"/cgi-bin/none":               404,
		"/cgi-bin/sub/none/b.cgi":     404,
		"/cgi-bin/sub/empty/note.txt": 403, // not executable
	} {
		assert.Equal(t, status, g.get(path).StatusCode, path)
	}
	g.requireFailure("not_found", 404, "/cgi-bin/none")
}

func TestOnlyNamesThePrograms(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"a.cgi", "b.pl", "c.sh", "sub/d.cgi", "index"} {
		s.script("cgi-bin/"+name, helloWorld)
	}
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin, only: ["*.cgi", "b.??"], index: [index, a.cgi]}
`)
	for path, status := range map[string]int{
		"/a.cgi": 200, "/a.cgi/x": 200, "/b.pl": 200, "/c.sh": 404, "/sub/d.cgi": 200, "/index": 404, "/a.CGI": 404,
		"/": 404, // the first index that is there is not one of them
	} {
		assert.Equal(t, status, g.get("/cgi-bin"+path).StatusCode, path)
	}
}

func TestTheFirstIndexOfAFolderOfProgramsAnswers(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/index.pl", hello, "out pl ", "env")
	s.script("cgi-bin/sub/index.cgi", hello, "out cgi ", "env")
	s.script("cgi-bin/sub/index.pl", hello, "out pl ", "env")
	require.NoError(t, os.MkdirAll(s.path("cgi-bin/bare/index.cgi"), 0o755))
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin, index: [index.cgi, index.pl]}
`)
	assert.Contains(t, g.get("/cgi-bin/").body, "pl ")
	assert.Contains(t, g.get("/cgi-bin/").body, "SCRIPT_NAME=/cgi-bin/index.pl\x00")
	assert.Contains(t, g.get("/cgi-bin/sub/").body, "cgi ")
	assert.Contains(t, g.get("/cgi-bin/sub/?x=1").body, "SCRIPT_NAME=/cgi-bin/sub/index.cgi\x00")
	assert.Equal(t, 403, g.get("/cgi-bin/bare/").StatusCode, "a folder is no index")
}

func TestAListingShowsWhatMayBeAskedFor(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"b.txt", "a<b>&\"'.txt", "sub/c", ".hidden", "x.txt~", "x.bak", "p%20q", "javascript:alert(1)"} {
		s.write("html/"+name, "x")
	}
	s.write("secret", "x")
	s.link("../secret", "html/outside")
	s.link("b.txt", "html/inside")
	s.script("bin/p", helloWorld)
	g := s.serve(`
routes:
  - path: /
    files: {root: html, listing: true}
  - path: /bin/
    cgi: {dir: bin, listing: true}
  - path: /closed/
    files: {root: html}
`)
	a := g.get("/")
	assert.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
	for _, want := range []string{
		`<a href="./b.txt">b.txt</a>`, `<a href="./sub/">sub/</a>`, `<a href="./inside">inside</a>`, `<a href="./p%2520q">p%20q</a>`,
		`href="./javascript:alert%281%29"`, `a&lt;b&gt;&amp;&#34;&#39;.txt</a>`,
	} {
		assert.Contains(t, a.body, want)
	}
	for _, bad := range []string{"hidden", "~", ".bak", "outside", "<b>", "../"} {
		assert.NotContains(t, a.body, bad)
	}
	assert.Less(t, strings.Index(a.body, "sub/"), strings.Index(a.body, "b.txt"), "folders first")
	assert.Contains(t, g.get("/sub/").body, `<a href="../">`)
	assert.Contains(t, g.get("/bin/").body, `<a href="./p">p</a>`)
	h := g.head("/")
	assert.Equal(t, 200, h.StatusCode)
	assert.EqualValues(t, len(a.body), h.ContentLength)
	assert.Equal(t, 403, g.get("/closed/").StatusCode)
	g.requireFailure("forbidden", 403, "listing is off")
}

func TestAnInterpreterRunsFilesWithoutAnExecuteBit(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"cgi-bin/a.play", "cgi-bin/b.other", "cgi-bin/c", "html/a.play", "html/b.other"} {
		s.write(name, scriptFile(hello, "env"))
	}
	s.script("cgi-bin/x.play", hello, "env")
	g := s.serve(`
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
    interpreters: {.play: ` + exe + `}
  - path: /
    files: {root: html, scripts: [.play, .other]}
    interpreters: {.play: ` + exe + `}
`)
	for _, path := range []string{"/cgi-bin/a.play", "/a.play"} {
		v := g.get(path + "/info").variables(t)
		assert.Equal(t, path, v["SCRIPT_NAME"])
		assert.Equal(t, "/info", v["PATH_INFO"])
		assert.Equal(t, "200", v["REDIRECT_STATUS"], "php-cgi wants it")
	}
	assert.NotContains(t, g.get("/cgi-bin/x.play").variables(t), "REDIRECT_STATUS", "it runs by itself")
	for _, path := range []string{"/cgi-bin/b.other", "/cgi-bin/c", "/b.other"} {
		a := g.get(path)
		assert.Equal(t, 403, a.StatusCode, path)
		assert.NotContains(t, a.body, source, path)
	}
	g.awaitLog("why=forbidden", "no interpreter is set")
}

func TestAnInterpreterRunsTheOneProgramOfARouteToo(t *testing.T) {
	s := newSite(t)
	s.write("a.play", scriptFile(hello, "args"))
	s.script("b.play", hello, "args")
	g := s.serve(`
routes:
  - path: /a
    cgi: {program: a.play, args: [x]}
    interpreters: {.play: ` + exe + `}
  - path: /b
    cgi: {program: b.play, args: [x]}
    interpreters: {.play: /bin/false}
`)
	assert.Equal(t, "x", g.get("/a").body)
	assert.Equal(t, "x", g.get("/b").body, "it runs by itself")
}

func TestScriptsAmongFilesAreRunByTheirExtension(t *testing.T) {
	s := newSite(t)
	s.script("html/a.cgi", hello, "env")
	s.script("html/sub/index.cgi", hello, "env")
	s.write("html/a.txt", "text")
	g := s.serve(`
routes:
  - path: /site/
    files: {root: html, scripts: [.cgi], index: [index.html, index.cgi]}
`)
	v := g.get("/site/a.cgi/more/").variables(t)
	assert.Equal(t, "/site/a.cgi", v["SCRIPT_NAME"])
	assert.Equal(t, "/more/", v["PATH_INFO"])
	assert.Equal(t, s.path("html"), v["DOCUMENT_ROOT"])
	assert.Equal(t, s.path("html")+"/more/", v["PATH_TRANSLATED"])
	assert.Equal(t, "/site/sub/index.cgi", g.get("/site/sub/").variables(t)["SCRIPT_NAME"])
	assert.Equal(t, "text", g.get("/site/a.txt").body)
	assert.Equal(t, 404, g.get("/site/a.txt/more").StatusCode)
	assert.Equal(t, 404, g.get("/site/a.txt/").StatusCode)
}

func TestSymbolicLinksStayInsideUnlessTheyAreToBeFollowed(t *testing.T) {
	s := newSite(t)
	s.script("out/p.cgi", hello, "out outside")
	s.write("out/file.txt", "outside")
	s.write("out/folder/file.txt", "outside")
	for _, root := range []string{"a", "b"} {
		s.script(root+"/in.cgi", hello, "out inside")
		s.write(root+"/in.txt", "inside")
		s.link("in.txt", root+"/relative.txt")
		s.link(s.path(root+"/in.cgi"), root+"/absolute.cgi")
		s.link("../out/p.cgi", root+"/p.cgi")
		s.link("../out/file.txt", root+"/file.txt")
		s.link("../out/folder", root+"/folder")
		s.link("missing", root+"/dangling.txt")
		s.link("loop", root+"/loop")
	}
	s.link("a", "current") // how sites are deployed
	g := s.serve(`
routes:
  - path: /inside/
    files: {root: current, scripts: [.cgi]}
  - path: /follow/
    files: {root: b, scripts: [.cgi]}
    symlinks: follow
  - path: /bin/
    cgi: {dir: a}
`)
	for path, body := range map[string]string{
		"/inside/relative.txt": "inside", "/inside/absolute.cgi": "inside", "/bin/absolute.cgi": "inside",
		"/follow/relative.txt": "inside", "/follow/p.cgi": "outside", "/follow/file.txt": "outside", "/follow/folder/file.txt": "outside",
	} {
		assert.Equal(t, body, g.get(path).body, path)
	}
	for path, status := range map[string]int{
		"/inside/p.cgi": 403, "/inside/file.txt": 403, "/inside/folder/file.txt": 403, "/inside/folder/": 403, "/bin/p.cgi": 403,
		"/inside/folder": 403, "/inside/dangling.txt": 404, "/follow/dangling.txt": 404, "/inside/loop": 404, "/follow/loop": 404,
	} {
		a := g.get(path)
		assert.Equal(t, status, a.StatusCode, path)
		assert.NotContains(t, a.body, "outside", path)
	}
	g.awaitLog("why=outside", "/inside/p.cgi")
}

func TestASwitchedLinkOfARootIsSeenAtOnce(t *testing.T) {
	s := newSite(t)
	s.write("v1/file", "one")
	s.write("v2/file", "two")
	s.link("v1", "current")
	g := s.serve(`
routes:
  - path: /
    files: {root: current}
`)
	assert.Equal(t, "one", g.get("/file").body)
	s.link("v2", "next")
	require.NoError(t, os.Rename(s.path("next"), s.path("current")))
	assert.Equal(t, "two", g.get("/file").body)
}

func TestASiteWithoutARouteForItAnswers404(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts)
	a := g.get("/elsewhere<script>")
	assert.Equal(t, 404, a.StatusCode)
	assert.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
	assert.NotContains(t, a.body, "script", "an error page repeats nothing of the request")
	assert.Contains(t, a.body, g.logged(1)[0].ID, "but it names its id")
	assert.Empty(t, g.head("/elsewhere").body)
}

// http1 reads an answer that was received whole.
func http1(t testing.TB, text string) *answer {
	t.Helper()
	return newReader(t, text).answer("GET")
}

func TestExplainKnowsPHP(t *testing.T) {
	s := newSite(t)
	s.write("www/x.php", "<?php")
	c := s.config("routes:\n  - {path: /, php: {root: www, fastcgi: {servers: ['unix:fpm.sock']}}, env: {A: b}}\n")
	e, err := Explain(c, httptest.NewRequest("GET", "/x.php/info?q", nil))
	require.NoError(t, err)
	assert.Equal(t, "fastcgi", e.Mode)
	assert.Equal(t, []string{"A=b"}, e.Script.Env)
	assert.Contains(t, e.Script.Vars, "SCRIPT_FILENAME="+s.path("www/x.php"))
	assert.Contains(t, e.Script.Vars, "PATH_INFO=/info")
}
