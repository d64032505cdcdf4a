//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sides are the same site twice: in mode spawn, and in the mode that is tested.
type sides struct {
	spawn, warm *gateway
	mode        string
}

// newSides starts both. The configuration's routes are under @MODE@.
func newSides(t *testing.T, dir, mode, routes string) *sides {
	t.Helper()
	start := func(mode string) *gateway {
		d := filepath.Join(dir, mode)
		require.NoError(t, os.MkdirAll(d, 0o755))
		return startGateway(t, d, "listen: [{http: 127.0.0.1:0}]\nroutes:\n"+strings.NewReplacer("@MODE@", mode, "@DIR@", dir).Replace(routes))
	}
	return &sides{start("spawn"), start(mode), mode}
}

// status is what the admin door says of the scripts.
func (g *gateway) status(t *testing.T) (all []scriptStatus) {
	t.Helper()
	var st struct{ Scripts []scriptStatus }
	page := newClient(t, g.admin).do(t, request{path: "/status", header: map[string]string{"Connection": "close"}})
	require.NoError(t, json.Unmarshal([]byte(page.body), &st), page.body)
	return st.Scripts
}

type scriptStatus struct {
	Script, Mode, State, Why string
	Parent                   int
	Answers                  map[string]int
}

// warmUp asks until every script that was asked for answers in the mode.
func (s *sides) warmUp(t *testing.T, paths ...string) {
	t.Helper()
	c := newClient(t, s.warm.url())
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		for _, p := range paths {
			c.get(t, p)
		}
		ready := true
		all := s.warm.status(t)
		for _, st := range all {
			ready = ready && st.State == "ready" && st.Mode == s.mode
		}
		if ready && len(all) > 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "not in mode %s: %+v", s.mode, all)
	}
}

// clock is what differs between two answers by nature.
var clock = regexp.MustCompile(`(Date|Last-Modified|Expires): [^\r\n]*| ?right now| ?\d+ (years?|months?|weeks?|days?|hours?|min|sec|minutes?|seconds?) ago|\d+\.\d+ ?s(ec|\b)|[Gg]enerated in \d[\d.]*|\b\d\d:\d\d:\d\d\b|/tmp/\w{10}\b`)

// assertSame asks both sides for the paths, and compares.
func (s *sides) assertSame(t *testing.T, requests ...request) {
	t.Helper()
	spawn, warm := newClient(t, s.spawn.url()), newClient(t, s.warm.url())
	before := s.answers(t)
	for _, q := range requests {
		want, got := spawn.do(t, q), warm.do(t, q)
		assert.NotEqual(t, 500, want.status, "%s: %s", q.path, want.body)
		want.body = withoutPort(s.spawn.url(), clock.ReplaceAllString(want.body, "TIME"))
		got.body = withoutPort(s.warm.url(), clock.ReplaceAllString(got.body, "TIME"))
		assert.Equal(t, clock.ReplaceAllString(want.header.Get("Set-Cookie"), "TIME"), clock.ReplaceAllString(got.header.Get("Set-Cookie"), "TIME"), q.path)
		for _, a := range []*answer{&want, &got} {
			for _, h := range []string{"Date", "Expires", "Set-Cookie", "Content-Length", "Location", "Etag", "Last-Modified"} {
				a.header.Del(h)
			}
		}
		assertAlike(t, q.method+" "+q.path, want, got)
	}
	assert.GreaterOrEqual(t, s.answers(t)-before, len(requests), "answers in mode %s: %+v", s.mode, s.warm.status(t))
}

// answers is how many answers workers gave.
func (s *sides) answers(t *testing.T) (n int) {
	for _, st := range s.warm.status(t) {
		n += st.Answers[s.mode]
	}
	return n
}

func gets(paths ...string) (all []request) {
	for _, p := range paths {
		all = append(all, request{path: p})
	}
	return all
}

func TestGitwebAnswersAlikeInAllModes(t *testing.T) {
	for _, mode := range []string{"warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			dir := tempDir(t)
			m := newGitweb(t, dir)
			s := newSides(t, dir, mode, `
  - {path: /gitweb, cgi: {program: /usr/share/gitweb/gitweb.cgi}, env: {GITWEB_CONFIG: @DIR@/gitweb.conf}, mode: @MODE@, reuse: {captured: accept}}
  - {path: /gitweb-paths, cgi: {program: /usr/share/gitweb/gitweb.cgi}, env: {GITWEB_CONFIG: @DIR@/gitweb.conf}, mode: @MODE@, reuse: {captured: accept}}
`)
			s.warmUp(t, "/gitweb", "/gitweb-paths")
			var all []request
			for _, v := range m.views() {
				all = append(all, request{path: v.path()})
			}
			require.GreaterOrEqual(t, len(all), 30)
			s.assertSame(t, all...)
		})
	}
}

func TestAwstatsAnswersAlikeWarm(t *testing.T) {
	needs(t, "awstats")
	dir := tempDir(t)
	var log strings.Builder
	for i := range 500 {
		fmt.Fprintf(&log, "10.0.%d.%d - %s [%02d/Mar/2024:%02d:10:00 +0000] \"GET /page%d.html HTTP/1.1\" %d %d \"http://example.net/from%d\" \"Mozilla/5.0 (X11; Linux x86_64) Firefox/%d.0\"\n",
			i%7, i%90, []string{"-", "alice"}[i%2], 1+i/20, i%24, i%30, []int{200, 200, 404, 302}[i%4], 100*i, i%5, 90+i%9)
	}
	writeFile(t, filepath.Join(dir, "access.log"), log.String(), 0o644)
	writeFile(t, filepath.Join(dir, "awstats.site.conf"), fmt.Sprintf("LogFile=\"%s/access.log\"\nLogFormat=1\nSiteDomain=\"www.example.org\"\nHostAliases=\"localhost\"\nDirData=\"%s\"\nDirIcons=\"/icon\"\nDNSLookup=0\nAllowFullYearView=3\n", dir, dir), 0o644)
	out, err := exec.Command("/usr/lib/cgi-bin/awstats.pl", "-config=site", "-update", "-configdir="+dir).CombinedOutput()
	require.NoError(t, err, string(out))
	s := newSides(t, dir, "warm", `
  - {path: /awstats, cgi: {program: /usr/lib/cgi-bin/awstats.pl}, env: {AWSTATS_ENABLE_CONFIG_DIR: "1", PERL_HASH_SEED: "0", PERL_PERTURB_KEYS: "0"}, mode: @MODE@}
`)
	base := "/awstats?config=site&configdir=" + dir + "&year=2024&month=03"
	s.warmUp(t, base)
	s.assertSame(t, gets(base, base+"&output=allhosts", base+"&output=urldetail", base+"&output=lasthosts", base+"&output=alllogins", base+"&output=browserdetail",
		base+"&output=osdetail", base+"&output=errors404", base+"&output=refererpages", base+"&output=urlentry", base+"&output=urlexit", base+"&framename=mainleft",
		base+"&lang=de", strings.Replace(base, "month=03", "month=all", 1), "/awstats?config=none")...)
}

// newHgRepository makes a repository with some history, and returns where.
func newHgRepository(t *testing.T, dir string) string {
	t.Helper()
	repo := filepath.Join(dir, "repo")
	hg := func(args ...string) {
		cmd := exec.Command("hg", args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "HGPLAIN=1", "HGUSER=Zoë <z@example.org>", "LANG=C.UTF-8")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	require.NoError(t, os.Mkdir(repo, 0o755))
	hg("init")
	for i := range 5 {
		writeFile(t, filepath.Join(repo, "dir", fmt.Sprintf("file%d.txt", i%2)), strings.Repeat(fmt.Sprintf("line %d\n", i), 20), 0o644)
		hg("commit", "-A", "-m", fmt.Sprintf("Change %d", i), "-d", fmt.Sprintf("%d 0", 1600000000+i))
	}
	hg("tag", "v1", "-d", "1600001000 0")
	return repo
}

func TestHgwebAnswersAlikeWarm(t *testing.T) {
	needs(t, "hgweb")
	dir := tempDir(t)
	repo := newHgRepository(t, dir)
	example, err := os.ReadFile("/usr/share/doc/mercurial-common/examples/hgweb.cgi")
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "hgweb.cgi"), strings.Replace(string(example), "/path/to/repo/or/config", repo, 1), 0o755)
	s := newSides(t, dir, "warm", `
  - {path: /hg, cgi: {program: @DIR@/hgweb.cgi}, env: {LANG: C.UTF-8, HOME: @DIR@}, mode: @MODE@}
`)
	s.warmUp(t, "/hg")
	s.assertSame(t, gets("/hg", "/hg/shortlog", "/hg/log", "/hg/graph", "/hg/tags", "/hg/branches", "/hg/bookmarks", "/hg/file/tip", "/hg/file/tip/dir", "/hg/file/tip/dir/file1.txt",
		"/hg/rev/1", "/hg/raw-rev/2", "/hg/annotate/tip/dir/file0.txt", "/hg/diff/tip/dir/file0.txt", "/hg/comparison/tip/dir/file0.txt", "/hg/raw-file/tip/dir/file0.txt",
		"/hg/atom-log", "/hg/rss-log", "/hg/help", "/hg/archive/tip.tar.gz", "/hg?cmd=capabilities", "/hg?cmd=branchmap", "/hg/nothing-here")...)
}

func TestTheExamplesOfCGIpmAnswerAlikeInAllModes(t *testing.T) {
	needs(t, "CGI.pm", "Template")
	const examples = "/usr/share/doc/libcgi-pm-perl/examples"
	upload, ctype := multipartForm(t, []field{{name: "filename", value: "one\ntwo words\nthree\n", file: "a.txt", ctype: "text/plain"}, {name: "count", value: "count lines"}, {name: "count", value: "count words"}, {name: ".submit", value: "Process File"}})
	for _, mode := range []string{"warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			dir := tempDir(t)
			for _, name := range []string{"clickable_image.cgi", "cookie.cgi", "file_upload.cgi", "wikipedia_example.cgi"} {
				text, err := os.ReadFile(filepath.Join(examples, name))
				require.NoError(t, err)
				writeFile(t, filepath.Join(dir, "cgi", name), string(text), 0o755)
			}
			s := newSides(t, dir, mode, "  - {path: /cgi/, cgi: {dir: @DIR@/cgi}, env: {PERL_HASH_SEED: \"0\", PERL_PERTURB_KEYS: \"0\"}, mode: @MODE@, reuse: {captured: accept}}\n")
			s.warmUp(t, "/cgi/clickable_image.cgi", "/cgi/cookie.cgi", "/cgi/file_upload.cgi", "/cgi/wikipedia_example.cgi")
			form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
			s.assertSame(t, append(gets("/cgi/clickable_image.cgi", "/cgi/clickable_image.cgi?magnification=2&letter=B&picture.x=10&picture.y=20", "/cgi/cookie.cgi", "/cgi/cookie.cgi?action=Add&new_animals=cat",
				"/cgi/file_upload.cgi", "/cgi/wikipedia_example.cgi", "/cgi/wikipedia_example.cgi?name=Zo%C3%AB&food=%3Cb%3E", "/cgi/cookie.cgi?action=Delete&delete_animal=cat"),
				request{method: "POST", path: "/cgi/clickable_image.cgi", body: "magnification=4&letter=C&picture.x=1&picture.y=2", header: form},
				request{path: "/cgi/cookie.cgi", header: map[string]string{"Cookie": "animals=lion&tiger"}},
				request{method: "POST", path: "/cgi/cookie.cgi", body: "action=Add&new_animals=dog%20cow", header: map[string]string{"Cookie": "animals=lion", "Content-Type": form["Content-Type"]}},
				request{method: "POST", path: "/cgi/file_upload.cgi", body: upload, header: map[string]string{"Content-Type": ctype}},
			)...)
		})
	}
}

func TestTDiaryAnswersAlikeWarm(t *testing.T) {
	needs(t, "tdiary")
	dir := tempDir(t)
	site := filepath.Join(dir, "site")
	require.NoError(t, os.MkdirAll(filepath.Join(site, "data"), 0o755))
	for _, f := range []string{"index.rb", "update.rb"} {
		require.NoError(t, os.Symlink("/usr/share/tdiary/"+f, filepath.Join(site, f)))
	}
	writeFile(t, filepath.Join(site, "data", "2024", "202403.td2"), "TDIARY2.01.00\n"+diaryDay("20240301")+diaryDay("20240302"), 0o644)
	writeFile(t, filepath.Join(site, "tdiary.conf"), "@data_path = '"+site+"/data'\n@style = 'tDiary'\n@html_title = 'A diary'\n@author_name = 'Zoë'\n"+
		"@index = './index.rb'\n@update = 'update.rb'\n@options['apply_plugin'] = true\n@lang = 'en'\n@theme = 'default'\nrequire 'tdiary/io/default'\n@io_class = TDiary::IO::Default\n", 0o644)
	s := newSides(t, dir, "warm", `
  - {path: /diary/, cgi: {dir: @DIR@/site}, env: {LANG: C.UTF-8}, mode: @MODE@, symlinks: follow}
`)
	s.warmUp(t, "/diary/index.rb")
	s.assertSame(t, gets("/diary/index.rb", "/diary/index.rb?date=20240301", "/diary/index.rb?date=20240302", "/diary/index.rb?date=202403", "/diary/index.rb?date=2024",
		"/diary/index.rb?date=20240301-2", "/diary/index.rb?date=0301", "/diary/index.rb?date=20250101", "/diary/index.rb?date=nonsense", "/diary/index.rb?a=%C3%A9", "/diary/index.rb?comment=x")...)
}

// diaryDay is a day as tDiary stores it.
func diaryDay(date string) string {
	return "Date: " + date + "\nTitle: A day\nLast-Modified: 1709300000\nVisible: true\nFormat: tDiary\n\n<p>First</p> of " + date + "\n\nSecond thing\n.\n"
}
