//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/mail"
	"net/textproto"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

const (
	gitwebCGI    = "/usr/share/gitweb/gitweb.cgi"
	gitwebStatic = "/usr/share/gitweb/static"
	scriptPath   = "/usr/local/bin:/usr/bin:/bin" // the gateway's default
)

// gitwebConfig turns everything on that gitweb has and that needs no further program.
const gitwebConfig = `
our $projectroot = "%s";
our $site_name = "The museum's gitweb";
our @stylesheets = ("/gitweb/static/gitweb.css");
our $javascript = "/gitweb/static/gitweb.js";
our $logo = "/gitweb/static/git-logo.png";
our $favicon = "/gitweb/static/git-favicon.png";
our $projects_list_group_categories = 1;
our $maxload = undef;
our $default_text_plain_charset = "utf-8";
for my $f (qw(blame search grep pickaxe forks remote_heads show-sizes)) { $feature{$f}{'default'} = [1]; }
$feature{'snapshot'}{'default'} = ['tgz', 'zip'];
$feature{'patches'}{'default'} = [-1];
$feature{'pathinfo'}{'default'} = [$ENV{'SCRIPT_NAME'} eq '/gitweb-paths'];
1;
`

// gitwebYAML serves it at /gitweb, and at /gitweb-paths with the parameters in the path.
const gitwebYAML = `
listen:
  - http: 127.0.0.1:0
routes:
  - path: /gitweb
    cgi: {program: /usr/share/gitweb/gitweb.cgi}
    env: {GITWEB_CONFIG: @DIR@/gitweb.conf}
  - path: /gitweb-paths
    cgi: {program: /usr/share/gitweb/gitweb.cgi}
    env: {GITWEB_CONFIG: @DIR@/gitweb.conf}
  - path: /gitweb/static/
    files: {root: /usr/share/gitweb/static}
`

// A view is a page of gitweb and what it must be.
type view struct {
	query string // of /gitweb; or a whole path, from its slash
	ctype string
	has   string // in the body
	to    string // it is a redirect to this
}

const htmlType = "text/html; charset=utf-8"

// views are all that gitweb can show of the museum, by its table of actions.
func (m *museum) views() []view {
	page := url.QueryEscape(museumPage)
	first, side, change, now := m.commit["first"], m.commit["side"], m.commit["change"], m.commit["now"]
	p := func(query string) string { return "p=museum.git;" + query }
	blob := func(action, hb, file string) string { return p("a=" + action + ";hb=" + hb + ";f=" + file) }
	return []view{
		{"", htmlType, "Curiosities &amp; more", ""},
		{"a=project_list;o=age", htmlType, "Zoë the owner", ""},
		{"a=project_list;pf=museum", htmlType, "fork.git", ""},
		{"a=project_list;s=fork", htmlType, "fork", ""},
		{"a=opml", "text/xml; charset=utf-8", "<opml", ""},
		{"a=project_index", "text/plain; charset=utf-8", "museum.git", ""},
		{p("a=summary"), htmlType, "Welcome to the <em>museum</em>", ""},
		{p("a=forks"), htmlType, "museum/fork.git", ""},
		{p("a=shortlog"), htmlType, "What happened just now", ""},
		{p("a=shortlog;pg=1"), htmlType, "shortlog", ""},
		{p("a=shortlog;h=refs/heads/side/wing;opt=--no-merges"), htmlType, "A wing at the side", ""},
		{p("a=log"), htmlType, "Entry 19 of the log", ""},
		{p("a=log;pg=1"), htmlType, "museum", ""},
		{p("a=commit;h=" + m.commit["name"]), htmlType, "&lt;why&gt;", ""},
		{p("a=commit;h=" + m.commit["merge"]), htmlType, "Merge the wing", ""},
		{p("a=commitdiff;h=" + change), htmlType, "argc", ""},
		{p("a=commitdiff;ds=sidebyside;h=" + change), htmlType, "argv", ""},
		{p("a=commitdiff;h=" + m.commit["merge"]), htmlType, "Merge the wing", ""},
		{p("a=commitdiff_plain;h=" + change), "text/plain; charset=utf-8", "+int main(int argc", ""},
		{p("a=patch;h=" + change), "text/plain; charset=utf-8", "Subject: [PATCH] Count the arguments", ""},
		{p("a=patches;h=" + change + ";hp=" + first), "text/plain; charset=utf-8", "Subject: [PATCH", ""},
		{p("a=blobdiff;f=src/main.c;hb=" + change + ";hpb=" + first), htmlType, "main.c", ""},
		{p("a=blobdiff_plain;f=src/main.c;hb=" + change + ";hpb=" + first), "text/plain; charset=utf-8", "--- a/src/main.c", ""},
		{p("a=tree"), htmlType, "tool.sh", ""},
		{p("a=tree;f=src;hb=HEAD"), htmlType, "main.c", ""},
		{p("a=tree;f=src/deep/er;hb=" + now), htmlType, "note.txt", ""},
		{blob("blob", "HEAD", "src/main.c"), htmlType, "argc", ""},
		{blob("blob", "HEAD", page), htmlType, "Grüße", ""},
		{blob("blob", "HEAD", "logo.bin"), "application/octet-stream; charset=iso-8859-1", randomText(1, 40_000), ""}, // it can't be shown
		{blob("blob_plain", "HEAD", "logo.bin"), "application/octet-stream; charset=iso-8859-1", randomText(1, 40_000), ""},
		{blob("blob_plain", "HEAD", page), "text/plain; charset=utf-8", "Grüße aus dem Museum ☃\n", ""},
		{blob("blob_plain", "HEAD", "tool.sh"), "", "echo tool", ""},
		{blob("blame", "HEAD", "src/main.c"), htmlType, "Zoë", ""},
		{blob("blame_incremental", "HEAD", "src/main.c"), htmlType, "blame_data", ""},
		{blob("blame_data", "HEAD", "src/main.c"), "text/plain; charset=utf-8", "END", ""},
		{blob("history", "HEAD", "src/main.c"), htmlType, "Count the arguments", ""},
		{blob("history", "HEAD", page), htmlType, "A file with a name of its own", ""},
		{p("a=search;h=HEAD;st=commit;s=wing"), htmlType, "A <span class=\"match\">wing</span> at", ""},
		{p("a=search;h=HEAD;st=author;s=Zo%C3%AB"), htmlType, "What happened", ""},
		{p("a=search;h=HEAD;st=committer;s=carl"), htmlType, "What happened", ""},
		{p("a=search;h=HEAD;st=grep;s=needle"), htmlType, "note.txt", ""},
		{p("a=search;h=HEAD;st=grep;sr=1;s=ne%2Bdle"), htmlType, "note.txt", ""},
		{p("a=search;h=HEAD;st=pickaxe;s=argv"), htmlType, "Count the arguments", ""},
		{p("a=search_help"), htmlType, "pickaxe", ""},
		{p("a=tags"), htmlType, "v1.0", ""},
		{p("a=tag;h=" + m.commit["tag"]), htmlType, "with&nbsp;notes", ""},
		{p("a=heads"), htmlType, "side/wing", ""},
		{p("a=remotes"), htmlType, "https://example.org/museum.git", ""},
		{p("a=remotes;h=origin"), htmlType, "main", ""},
		{p("a=snapshot;h=v1.0;sf=tgz"), "application/x-gzip; charset=iso-8859-1", "\x1f\x8b", ""},
		{p("a=snapshot;h=" + side + ";sf=zip"), "application/x-zip; charset=iso-8859-1", "PK", ""},
		{p("a=rss"), "application/rss+xml; charset=utf-8", "<rss version=\"2.0\"", ""},
		{p("a=rss;f=src;h=refs/heads/main"), "application/rss+xml; charset=utf-8", "Count the arguments", ""},
		{p("a=atom"), "application/atom+xml; charset=utf-8", "<feed", ""},
		{p("a=object;h=" + first), "", "", "a=commit;h=" + first},
		{p("a=object;hb=HEAD;f=src/main.c"), "", "", "a=blob;"},
		{"p=museum/fork.git;a=summary", htmlType, "A fork", ""},
		{"p=empty.git;a=summary", htmlType, "empty.git", ""},
		{"/gitweb-paths", htmlType, "/gitweb-paths/museum.git", ""},
		{"/gitweb-paths/museum.git/blob/HEAD:/" + url.PathEscape(museumPage), htmlType, "Grüße", ""},
		{"/gitweb-paths/museum.git/blob_plain/refs/heads/side/wing:/src/main.c", "", "int main(void)", ""},
		{"/gitweb-paths/museum.git/commitdiff/" + first + ".." + change, htmlType, "argc", ""},
		{"/gitweb-paths/museum.git/tree/HEAD:/src/deep", htmlType, "er", ""},
	}
}

// path is the URL's path and query.
func (v view) path() string {
	switch {
	case v.query == "":
		return "/gitweb"
	case v.query[0] == '/':
		return v.query
	}
	return "/gitweb?" + v.query
}

// newGitweb is a museum and the configuration for gitweb.
func newGitweb(t *testing.T, dir string) *museum {
	t.Helper()
	needs(t, "gitweb", "CGI.pm", "git")
	m := newMuseum(t, dir)
	writeFile(t, filepath.Join(dir, "gitweb.conf"), fmt.Sprintf(gitwebConfig, m.root), 0o644)
	return m
}

// plainCGI runs a program as CGI says, with nothing between: what the gateway must
// give is measured by it. scriptName is the part of the path that names the program.
func plainCGI(t *testing.T, base, target, scriptName, program string, env ...string) answer {
	u, err := url.Parse(base + target)
	if !assert.NoError(t, err) {
		return answer{}
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(bounded(t), program)
	cmd.Dir = filepath.Dir(program)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append([]string{
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE=warmcgi/0.1", "SERVER_PROTOCOL=HTTP/1.1",
		"SERVER_NAME=" + u.Hostname(), "SERVER_PORT=" + u.Port(), "HTTP_HOST=" + u.Host,
		"REQUEST_METHOD=GET", "REQUEST_URI=" + u.RequestURI(), "QUERY_STRING=" + u.RawQuery,
		"SCRIPT_NAME=" + scriptName, "SCRIPT_FILENAME=" + program, "REMOTE_ADDR=127.0.0.1",
		"HTTP_USER_AGENT=warmcgi-test", "PATH=" + scriptPath,
	}, env...)
	if info := strings.TrimPrefix(u.Path, scriptName); info != "" {
		cmd.Env = append(cmd.Env, "PATH_INFO="+info)
	}
	if !assert.NoError(t, cmd.Run(), "%s for %s: %s", program, target, &errs) {
		return answer{}
	}
	r := bufio.NewReader(&out)
	head, err := textproto.NewReader(r).ReadMIMEHeader()
	if !assert.NoError(t, err, "%s for %s", program, target) {
		return answer{}
	}
	a := answer{status: http.StatusOK, header: http.Header(head)}
	if s := a.header.Get("Status"); s != "" {
		fmt.Sscan(s, &a.status)
		a.header.Del("Status")
	}
	var body bytes.Buffer
	r.WriteTo(&body)
	a.body = body.String()
	return a
}

// ago is how gitweb writes an age.
var ago = regexp.MustCompile(` ?right now| ?\d+ (years?|months?|weeks?|days?|hours?|min|sec) ago`)

// assertAlike compares two answers, but for what changes with the clock and for what
// the server adds.
func assertAlike(t *testing.T, what string, want, got answer) bool {
	t.Helper()
	ok := assert.Equal(t, want.status, got.status, "%s: status", what)
	for name, values := range want.header {
		switch name {
		case "Date", "Expires", "X-Request-Id": // CGI.pm's, from the clock; each request's own
			ok = assert.NotEmpty(t, got.header.Get(name), "%s: %s", what, name) && ok
		case "Last-Modified": // gitweb's ends in +0000, Apache writes it anew
			ok = assert.Equal(t, timeOf(t, values[0]), timeOf(t, got.header.Get(name)), "%s: %s", what, name) && ok
		default:
			ok = assert.Equal(t, values, got.header[name], "%s: %s", what, name) && ok
		}
	}
	w, g := ago.ReplaceAllString(want.body, "AGO"), ago.ReplaceAllString(got.body, "AGO")
	if w != g { // testify's diff of a large page takes long
		i := 0
		for i < min(len(w), len(g)) && w[i] == g[i] {
			i++
		}
		ok = assert.Fail(t, what+": the bodies differ", "at octet %d of %d and %d:\nwant …%q\ngot  …%q", i, len(w), len(g), around(w, i), around(g, i))
	}
	return ok
}

func timeOf(t *testing.T, date string) time.Time {
	at, err := mail.ParseDate(date)
	assert.NoError(t, err)
	return at.UTC()
}

func around(s string, i int) string { return s[max(0, i-60):min(len(s), i+60)] }

func TestGitwebAnswersAllItsViewsAsInPlainCGI(t *testing.T) {
	dir := tempDir(t)
	m := newGitweb(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitwebYAML, "@DIR@", dir))
	c := newClient(t, g.url())

	var work errgroup.Group
	work.SetLimit(3)
	for _, v := range m.views() {
		work.Go(func() error {
			got, err := c.try(request{path: v.path()})
			if !assert.NoError(t, err, "%s", v.path()) {
				return nil
			}
			v.assert(t, got)
			name := "/gitweb"
			if strings.HasPrefix(v.query, "/gitweb-paths") {
				name = "/gitweb-paths"
			}
			assertAlike(t, v.path(), plainCGI(t, g.url(), v.path(), name, gitwebCGI, "GITWEB_CONFIG="+dir+"/gitweb.conf"), got)
			return nil
		})
	}
	work.Wait()
}

// assert says whether the answer is the view.
func (v view) assert(t *testing.T, got answer) {
	t.Helper()
	if v.to != "" {
		assert.Equal(t, http.StatusFound, got.status, "%s", v.path())
		assert.Contains(t, got.header.Get("Location"), v.to, "%s", v.path())
		return
	}
	assert.Equal(t, http.StatusOK, got.status, "%s", v.path())
	if v.ctype != "" {
		assert.Equal(t, strings.ToLower(v.ctype), strings.ToLower(got.header.Get("Content-Type")), "%s", v.path())
	}
	if !strings.Contains(got.body, v.has) {
		assert.Fail(t, "the page lacks something", "%s: %q", v.path(), v.has[:min(60, len(v.has))])
	}
}

// link finds the links of a page.
var link = regexp.MustCompile(`(?:href|src)="([^"#]*)`)

func TestEveryLinkOnGitwebsPagesLeadsToAPage(t *testing.T) {
	const most = 160
	dir := tempDir(t)
	newGitweb(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitwebYAML, "@DIR@", dir))
	c := newClient(t, g.url())

	seen := map[string]bool{"/gitweb": true}
	kinds := map[string]int{"/gitweb": 1}
	for level := []string{"/gitweb"}; len(level) > 0; {
		var mu sync.Mutex
		var next []string
		var work errgroup.Group
		work.SetLimit(3)
		for _, path := range level {
			work.Go(func() error {
				got, err := c.try(request{path: path})
				if !assert.NoError(t, err, "%s", path) {
					return nil
				}
				assert.Contains(t, []int{200, 302}, got.status, "%s", path)
				assert.True(t, got.status == 302 || got.header.Get("Content-Type") != "", "%s has no Content-Type", path)
				for _, to := range linksOf(t, c.base, path, got) {
					mu.Lock()
					// A few of each kind say as much as all of them.
					if !seen[to] && len(seen) < most && kinds[kindOf(to)] < 8 {
						seen[to] = true
						kinds[kindOf(to)]++
						next = append(next, to)
					}
					mu.Unlock()
				}
				return nil
			})
		}
		work.Wait()
		level = next
	}
	t.Logf("%d pages of %d kinds", len(seen), len(kinds))
	for _, kind := range []string{"a=summary", "a=shortlog", "a=log", "a=commit", "a=commitdiff", "a=tree", "a=blob", "a=blob_plain",
		"a=blame", "a=history", "a=tag", "a=tags", "a=heads", "a=remotes", "a=snapshot", "a=rss", "a=atom", "a=opml", "a=project_index",
		"a=patch", "a=blobdiff", "a=forks", "/gitweb/static/gitweb.css", "/gitweb/static/gitweb.js"} {
		assert.NotZero(t, kinds[kind], "no link to %s was found", kind)
	}
}

var action = regexp.MustCompile(`a=[a-z_]+`)

// kindOf is the action of gitweb that a URL asks for, or its path.
func kindOf(path string) string {
	p, query, _ := strings.Cut(path, "?")
	if a := action.FindString(query); a != "" {
		return a
	}
	return p
}

// linksOf are those within gitweb.
func linksOf(t *testing.T, base, path string, a answer) []string {
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return nil
	}
	var links []string
	from, err := url.Parse(base + path)
	if !assert.NoError(t, err) {
		return nil
	}
	for _, m := range link.FindAllStringSubmatch(a.body, -1) {
		to, err := from.Parse(html.UnescapeString(m[1]))
		if !assert.NoError(t, err, "a link on %s", path) {
			continue
		}
		// An empty repository has pages that say 404, and links to them.
		if to.Host == from.Host && strings.HasPrefix(to.Path, "/gitweb") && !strings.Contains(to.RawQuery, "empty.git") {
			links = append(links, to.RequestURI())
		}
	}
	return links
}

func TestGitwebsFeedsAnswerThatNothingHasChanged(t *testing.T) {
	dir := tempDir(t)
	newGitweb(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(gitwebYAML, "@DIR@", dir))
	c := newClient(t, g.url())

	first := c.get(t, "/gitweb?p=museum.git;a=atom")
	require.Equal(t, http.StatusOK, first.status)
	stamp := first.header.Get("Last-Modified")
	require.NotEmpty(t, stamp)
	again := c.do(t, request{path: "/gitweb?p=museum.git;a=atom", header: map[string]string{"If-Modified-Since": stamp}})
	assert.Equal(t, http.StatusNotModified, again.status)
	assert.Empty(t, again.body)
	head := c.do(t, request{method: http.MethodHead, path: "/gitweb?p=museum.git;a=atom"})
	assert.Equal(t, http.StatusOK, head.status)
	assert.Equal(t, stamp, head.header.Get("Last-Modified"))

	missing := c.get(t, "/gitweb?p=nothing.git")
	assert.Equal(t, http.StatusNotFound, missing.status)
	assert.Contains(t, missing.body, "No such project")
	assert.Equal(t, http.StatusBadRequest, c.get(t, "/gitweb?p=museum.git;a=nonsense").status)
}
