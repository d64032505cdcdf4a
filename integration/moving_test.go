//go:build linux

package integration

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moved is a request that the old server and the gateway must answer alike: status,
// body and the fields of comparedFields.
type moved struct {
	request
	status int  // of both
	page   bool // the body, with its type, is a page of the server's own
	// known says in words what differs, and the rest what that is: the status of
	// either, the body, some fields.
	known   string
	was, is int
	body    bool
	fields  []string
}

var comparedFields = []string{"Content-Type", "Location", "Set-Cookie", "X-Custom", "Cache-Control", "Pragma", "Expires", "Etag", "Www-Authenticate", "Content-Range"}

// assertMoved asks both. A page shows the port of its server, which is no difference.
func assertMoved(t *testing.T, old, new *client, cases []moved) {
	t.Helper()
	for _, m := range cases {
		name := strings.TrimSpace(m.method + " " + m.path)
		was, err := old.try(m.request)
		assert.NoError(t, err, "%s of the old server", name)
		is, err := new.try(m.request)
		assert.NoError(t, err, "%s of the gateway", name)
		if m.was == 0 {
			m.was, m.is = m.status, m.status
		}
		assert.Equal(t, m.was, was.status, "%s: status of the old server", name)
		assert.Equal(t, m.is, is.status, "%s: status of the gateway", name)
		if !m.page && !m.body {
			assert.Equal(t, withoutPort(old.base, was.body), withoutPort(new.base, is.body), "%s: body", name)
		}
		for _, f := range comparedFields {
			if m.page && f == "Content-Type" {
				continue
			}
			alike := withoutPort(old.base, strings.Join(was.header[f], "|")) == withoutPort(new.base, strings.Join(is.header[f], "|"))
			assert.Equal(t, !slices.Contains(m.fields, f), alike, "%s: %s was %q and is %q", name, f, was.header[f], is.header[f])
		}
		if (m.was != m.is || m.body || len(m.fields) > 0) && m.known == "" {
			t.Errorf("%s: a difference that nobody explains", name)
		}
	}
}

// withoutPort replaces the port of a URL where it stands as a number, and not within one or
// within a hash.
func withoutPort(base, text string) string {
	u, _ := url.Parse(base)
	return regexp.MustCompile(`\b`+u.Port()+`\b`).ReplaceAllString(text, "PORT")
}

// assertSameVars compares the environments that vars.sh saw, but for the variables
// that are known to differ, or to be on one side only.
func assertSameVars(t *testing.T, old, new *client, q request, known map[string]string) {
	t.Helper()
	was, is := varsOf(t, old.do(t, q)), varsOf(t, new.do(t, q))
	names := map[string]bool{}
	for n := range was {
		names[n] = true
	}
	for n := range is {
		names[n] = true
	}
	for n := range names {
		w, had := was[n]
		i, has := is[n]
		w, i = withoutPort(old.base, w), withoutPort(new.base, i)
		if known[n] != "" {
			continue
		}
		switch {
		case !has:
			assert.Fail(t, "a variable is lost", "%s %s: %s=%s", q.method, q.path, n, w)
		case !had:
			assert.Fail(t, "a variable is new", "%s %s: %s=%s", q.method, q.path, n, i)
		default:
			assert.Equal(t, w, i, "%s %s: %s", q.method, q.path, n)
		}
	}
}

var hostHeader = map[string]string{"Host": "www.example.org", "X-Foo": "bar", "Accept": "text/*", "Proxy": "evil:1"}

// someForms are a form as browsers send it, and one with a file.
func someForms(t *testing.T) (form string, formHeader map[string]string, upload string, uploadHeader map[string]string) {
	t.Helper()
	form = url.Values{"text": {"Grüße & more"}}.Encode()
	upload, ctype := multipartForm(t, append(formFields[:4:4], field{name: "f", file: "f.bin", ctype: "a/b", value: randomText(9, 300_000)}))
	return form, map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		upload, map[string]string{"Content-Type": ctype, "Cookie": "a=1; b=2"}
}

// newPages makes the folders that the configurations of testdata name.
func newPages(t *testing.T, dir string) (bin, htdocs, icons string) {
	t.Helper()
	bin = newScripts(t, dir, "echo.c")
	copyFiles(t, "cgi-bin", filepath.Join(bin, "members"))
	htdocs, icons = filepath.Join(dir, "htdocs"), filepath.Join(dir, "icons")
	writeFile(t, filepath.Join(htdocs, "index.html"), "<p>the front page\n", 0o644)
	writeFile(t, filepath.Join(htdocs, "page.txt"), strings.Repeat("0123456789", 100), 0o644)
	writeFile(t, filepath.Join(htdocs, "app", "index.cgi"), "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nindex %s %s\\n' \"$SCRIPT_NAME\" \"$PATH_INFO\"\n", 0o755)
	writeFile(t, filepath.Join(htdocs, "nothing", "there.txt"), "there\n", 0o644)
	writeFile(t, filepath.Join(icons, "dot.png"), "\x89PNG not really", 0o644)
	writeFile(t, filepath.Join(dir, "htpasswd"), apr1(t, "alice", "wonder"), 0o644)
	return bin, htdocs, icons
}

func TestMovingFromApachesScriptAlias(t *testing.T) {
	needs(t, "apache2", "CGI.pm")
	dir := tempDir(t)
	bin, htdocs, icons := newPages(t, dir)
	old := newClient(t, startApache(t, dir, configured(t, "apache-scriptalias.conf.tmpl",
		"/var/www/html", htdocs, "/usr/lib/cgi-bin", bin, "/srv/icons", icons, "/etc/htpasswd", dir+"/htpasswd")))
	g := startGateway(t, dir, configured(t, "apache-scriptalias.yaml.tmpl", "http: :80", "http: 127.0.0.1:0",
		"/var/www/html", htdocs, "/usr/lib/cgi-bin", bin, "/srv/icons", icons, "/etc/htpasswd", dir+"/htpasswd"))
	now := newClient(t, g.url())

	form, formHeader, upload, uploadHeader := someForms(t)
	get := func(path string) request { return request{path: path} }
	static := []string{"Content-Type", "Etag"}
	assertMoved(t, old, now, []moved{
		{request: get("/cgi-bin/say.sh"), status: 200},
		{request: get("/cgi-bin/say.sh?x=1&y=a%20b"), status: 200},
		{request: get("/cgi-bin/echo.cgi/extra/p%C3%A4th?find+these%20two"), status: 200},
		{request: request{method: "POST", path: "/cgi-bin/form.pl", body: form, header: formHeader}, status: 200},
		{request: request{method: "POST", path: "/cgi-bin/form.pl", body: upload, header: uploadHeader}, status: 200},
		{request: request{method: "HEAD", path: "/cgi-bin/say.sh?fields"}, status: 200},
		{request: request{method: "PUT", path: "/cgi-bin/echo.cgi", body: "put"}, status: 200},
		{request: request{method: "DELETE", path: "/cgi-bin/echo.cgi"}, status: 200},
		{request: get("/cgi-bin/say.sh?status"), status: 404},
		{request: get("/cgi-bin/say.sh?reason"), status: 418},
		{request: get("/cgi-bin/say.sh?cookies"), status: 200},
		{request: get("/cgi-bin/say.sh?away"), status: 302, page: true},
		{request: get("/cgi-bin/say.sh?here"), status: 200},
		{request: get("/cgi-bin/say.sh?page"), status: 303},
		{request: get("/cgi-bin/say.sh?empty"), status: 204},
		{request: get("/cgi-bin/say.sh?unchanged"), status: 304},
		{request: get("/cgi-bin/say.sh?fields"), status: 200},
		{request: get("/cgi-bin/say.sh?crlf"), status: 200},
		{request: get("/cgi-bin/say.sh?length"), status: 200},
		{request: get("/cgi-bin/say.sh?big"), status: 200},
		{request: get("/cgi-bin/say.sh?failed"), status: 200},
		{request: get("/cgi-bin/nph-say.sh"), status: 200},
		{request: get("/cgi-bin/../cgi-bin/say.sh"), status: 200},
		{request: get("/cgi-bin/missing.sh"), status: 404, page: true},
		{request: get("/cgi-bin/"), status: 403, page: true},
		{request: get("/../../etc/passwd"), status: 400, page: true},
		{request: get("/app/"), status: 200},
		{request: get("/app/index.cgi/more?x=1"), status: 200},
		{request: get("/nothing/"), status: 403, page: true},
		{request: request{path: "/cgi-bin/members/say.sh?x", user: "alice", password: "wonder"}, status: 200},
		{request: request{path: "/cgi-bin/members/missing.sh", user: "alice", password: "wonder"}, status: 404, page: true},

		{request: get("/cgi-bin/say.sh?nothing"), was: 500, is: 502, page: true, known: "a script that fails is 502"},
		{request: get("/cgi-bin/say.sh?nohead"), was: 500, is: 502, page: true, known: "a script that fails is 502"},
		{request: get("/cgi-bin/form.php"), was: 500, is: 403, page: true, known: "a script that is not executable is 403"},
		{request: get("/cgi-bin/echo.cgi/a%2Fb"), was: 404, is: 200, body: true, fields: []string{"Content-Type"},
			known: "an encoded slash in the extra path is decoded, as with AllowEncodedSlashes On"},
		{request: get("/cgi-bin/echo.cgi//double//slash"), status: 200, body: true, known: "double slashes in the extra path stay, as with MergeSlashes Off"},
		{request: get("/"), status: 200, fields: static, known: "text files are sent as UTF-8; ETags are made in another way"},
		{request: get("/nothing/there.txt"), status: 200, fields: static, known: "the same"},
		{request: get("/icons/dot.png"), status: 200, fields: []string{"Etag"}, known: "the same"},
		{request: request{path: "/page.txt", header: map[string]string{"Range": "bytes=10-19"}}, status: 206, fields: static, known: "the same"},
		{request: get("/app"), status: 301, page: true, fields: []string{"Location"}, known: "the redirect to a folder names no host"},
		{request: get("/cgi-bin/members/say.sh"), status: 401, page: true, fields: []string{"Www-Authenticate"}, known: `charset="UTF-8" is asked for`},
		{request: request{path: "/cgi-bin/members/say.sh", user: "alice", password: "wrong"}, status: 401, page: true,
			fields: []string{"Www-Authenticate"}, known: "the same"},
	})

	// A form of unknown length: Apache has no CONTENT_LENGTH for the script then.
	chunked := request{method: "POST", path: "/cgi-bin/form.pl", body: form, header: formHeader, chunked: true}
	lost, _ := old.try(chunked)
	assert.NotContains(t, lost.body, "Grüße")
	assert.Contains(t, now.do(t, chunked).body, "Grüße")

	known := map[string]string{
		"CONTEXT_PREFIX": "Apache's own", "CONTEXT_DOCUMENT_ROOT": "Apache's own", "SERVER_SIGNATURE": "Apache's own",
		"SERVER_SOFTWARE": "names the server", "UNIQUE_ID": "Apache has it with mod_unique_id", "REQUEST_ID": "the same", "REMOTE_PORT": "another connection",
	}
	assertSameVars(t, old, now, request{path: "/cgi-bin/vars.sh/extra/p%C3%A4th?x=1&y", header: hostHeader}, known)
	assertSameVars(t, old, now, request{path: "/cgi-bin/members/vars.sh", user: "alice", password: "wonder"}, known)
	assertSameVars(t, old, now, request{method: "POST", path: "/cgi-bin/vars.sh", body: "x=1", header: map[string]string{"Content-Type": "a/b"}}, known)
}

func TestMovingFromNginxWithFcgiwrap(t *testing.T) {
	needs(t, "nginx", "fcgiwrap", "CGI.pm")
	s := newSite(t)
	require.NoError(t, os.Symlink(gitwebCGI, filepath.Join(s.bin, "gitweb.cgi"))) // as Debian's package does
	_, socket := s.gateway(t)
	fcgiwrap := startFcgiwrap(t, s.dir)
	conf := []string{"gzip off;", "gzip off; client_max_body_size 10m;"}
	oldURL, newURL := s.nginxFor(t, filepath.Join(s.dir, "old"), fcgiwrap, conf...), s.nginx(t, socket, conf...)
	old, now := newClient(t, oldURL), newClient(t, newURL)

	form, formHeader, upload, uploadHeader := someForms(t)
	get := func(path string) request { return request{path: path} }
	unset := "what is not there is not set, instead of empty"
	assertMoved(t, old, now, []moved{
		{request: get("/cgi-bin/say.sh"), status: 200},
		{request: get("/cgi-bin/say.sh?x=1&y=a%20b"), status: 200},
		{request: request{method: "POST", path: "/cgi-bin/form.pl", body: form, header: formHeader}, status: 200},
		{request: request{method: "POST", path: "/cgi-bin/form.pl", body: form, header: formHeader, chunked: true}, status: 200},
		{request: request{method: "POST", path: "/cgi-bin/form.pl", body: upload, header: uploadHeader}, status: 200},
		{request: request{method: "HEAD", path: "/cgi-bin/say.sh?fields"}, status: 200},
		{request: get("/cgi-bin/say.sh?status"), status: 404},
		{request: get("/cgi-bin/say.sh?reason"), status: 418},
		{request: get("/cgi-bin/say.sh?cookies"), status: 200},
		{request: get("/cgi-bin/say.sh?away"), status: 302},
		{request: get("/cgi-bin/say.sh?here"), status: 302},
		{request: get("/cgi-bin/say.sh?page"), status: 303},
		{request: get("/cgi-bin/say.sh?empty"), status: 204},
		{request: get("/cgi-bin/say.sh?unchanged"), status: 304},
		{request: get("/cgi-bin/say.sh?fields"), status: 200},
		{request: get("/cgi-bin/say.sh?crlf"), status: 200},
		{request: get("/cgi-bin/say.sh?length"), status: 200},
		{request: get("/cgi-bin/say.sh?big"), status: 200},
		{request: get("/cgi-bin/say.sh?failed"), status: 200},
		{request: get("/cgi-bin/nph-say.sh"), status: 200},
		{request: get("/cgi-bin/say.sh?nothing"), status: 502, page: true},
		{request: get("/cgi-bin/say.sh?nohead"), status: 502, page: true},
		{request: get("/cgi-bin/form.php"), status: 403, page: true},
		{request: get("/cgi-bin/"), status: 403, page: true},
		{request: get("/cgi-bin/gitweb.cgi?a=project_index"), status: 404},
		{request: get("/gitweb?p=museum.git;a=tree"), status: 200},
		{request: get("/gitweb?p=museum.git;a=snapshot;h=v1.0;sf=tgz"), status: 200},
		{request: get("/git/museum.git/HEAD"), status: 200},
		{request: get("/git/museum.git/info/refs?service=git-upload-pack"), status: 200},
		{request: get("/git/museum.git/info/refs?service=git-receive-pack"), status: 403},
		{request: get("/git/none.git/HEAD"), status: 404},

		{request: get("/cgi-bin/missing.sh"), was: 403, is: 404, page: true, known: "a script that is not there is 404"},
		{request: get("/cgi-bin/echo.cgi/extra/p%C3%A4th?x=1"), was: 403, is: 200, body: true,
			known: "an extra path needs no fastcgi_split_path_info"},
		{request: get("/cgi-bin/echo.cgi?x=1"), status: 200, body: true, known: unset},
		{request: request{method: "PUT", path: "/cgi-bin/echo.cgi", body: "put"}, status: 200, body: true, known: unset},
		{request: get("/cgi-bin/echo.cgi?find+these%20two"), status: 200, body: true, known: "a query without = is given as arguments too (RFC 3875 section 4.4)"},
	})

	known := map[string]string{
		"CONTENT_TYPE": unset, "CONTENT_LENGTH": unset, "REMOTE_USER": unset,
		"FCGI_ROLE": "of the protocol", "HTTP_PROXY": "is never passed on (CVE-2016-5385)",
		"UNIQUE_ID": "is new", "REQUEST_ID": "is new", "REMOTE_PORT": "another connection",
		"HTTP_CONTENT_LENGTH": "has a variable of its own", "HTTP_CONTENT_TYPE": "has a variable of its own",
	}
	assertSameVars(t, old, now, request{path: "/cgi-bin/vars.sh?x=1&y", header: hostHeader}, known)
	delete(known, "CONTENT_TYPE")
	delete(known, "CONTENT_LENGTH")
	assertSameVars(t, old, now, request{method: "POST", path: "/cgi-bin/vars.sh", body: "x=1", header: map[string]string{"Content-Type": "a/b"}}, known)

	for i, base := range []string{oldURL, newURL} {
		sub := filepath.Join(s.dir, fmt.Sprint("clones", i))
		require.NoError(t, os.MkdirAll(sub, 0o755))
		assertClones(t, sub, base+"/git/museum.git", s.museum.commit["now"])
	}
}

func TestMovingFromNginxThatSplitsThePath(t *testing.T) {
	needs(t, "nginx", "fcgiwrap", "git", "gitweb", "CGI.pm")
	s := newSite(t)
	_, socket := s.gateway(t)
	fcgiwrap := startFcgiwrap(t, s.dir)
	conf := []string{"gzip off;", `gzip off; fastcgi_split_path_info ^(/cgi-bin/[^/]+)(/.+)$; fastcgi_param PATH_INFO $fastcgi_path_info;
		fastcgi_param PATH_TRANSLATED $document_root$fastcgi_path_info;`}
	old := newClient(t, s.nginxFor(t, filepath.Join(s.dir, "old"), fcgiwrap, conf...))
	now := newClient(t, s.nginx(t, socket, conf...))
	known := map[string]string{
		"CONTENT_TYPE": "is unset", "CONTENT_LENGTH": "is unset", "REMOTE_USER": "is unset", "FCGI_ROLE": "of the protocol",
		"HTTP_PROXY": "is never passed on", "UNIQUE_ID": "is new", "REQUEST_ID": "is new", "REMOTE_PORT": "another connection",
	}
	assertSameVars(t, old, now, request{path: "/cgi-bin/vars.sh/extra/p%C3%A4th?x=1", header: hostHeader}, known)
	known["PATH_INFO"], known["PATH_TRANSLATED"] = "is unset", "is unset"
	assertSameVars(t, old, now, request{path: "/cgi-bin/vars.sh?x=1", header: hostHeader}, known)
}
