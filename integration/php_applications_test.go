//go:build linux

package integration

import (
	"encoding/base64"
	"net/http/cookiejar"
	"net/url"
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

// startPHPSites runs php-fpm, and the gateway on routes, in which @DIR@ is the folder and
// @FPM@ says where php-fpm is.
func startPHPSites(t *testing.T, dir, settings, routes string) *client {
	t.Helper()
	f := startFPM(t, dir, "pm.max_children = 4\n"+settings)
	g := startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\nroutes:\n"+
		strings.NewReplacer("@DIR@", dir, "@FPM@", "fastcgi: {servers: ['unix:"+f.socket+"'], max_conns: 4}").Replace(routes))
	return browser(t, g)
}

// browser is a client that keeps cookies.
func browser(t *testing.T, g *gateway) *client {
	t.Helper()
	c := newClient(t, g.url())
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c.http.Jar = jar
	return c
}

// submit sends a form.
func (c *client) submit(t *testing.T, path string, fields url.Values) answer {
	t.Helper()
	return c.do(t, request{method: "POST", path: path, body: fields.Encode(), header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}})
}

// hidden are the hidden fields of a page's forms.
func hidden(page string) url.Values {
	fields := url.Values{}
	for _, tag := range regexp.MustCompile(`<input [^>]*>`).FindAllString(page, -1) {
		get := func(name string) string {
			if m := regexp.MustCompile(` ` + name + `=["']([^"']*)["']`).FindStringSubmatch(tag); m != nil {
				return m[1]
			}
			return ""
		}
		if get("type") == "hidden" {
			fields.Set(get("name"), get("value"))
		}
	}
	return fields
}

// aPNG is of one pixel.
const aPNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// newDokuwiki makes a wiki of Debian's package, with its data and its configuration in dir.
func newDokuwiki(t *testing.T, dir string) (settings string) {
	t.Helper()
	needs(t, "dokuwiki")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "wiki"), 0o755))
	out, err := exec.Command("cp", "-r", "/etc/dokuwiki", "/var/lib/dokuwiki/data", filepath.Join(dir, "wiki")).CombinedOutput()
	require.NoError(t, err, string(out))
	conf := filepath.Join(dir, "wiki/dokuwiki") + "/"
	writeFile(t, conf+"local.php", "<?php $conf['title'] = 'A wiki'; $conf['useacl'] = 1; $conf['superuser'] = '@admin'; $conf['savedir'] = '"+dir+"/wiki/data';", 0o644)
	writeFile(t, conf+"users.auth.php", "somebody:5ebe2294ecd0e0f08eab7690d2a6ee69:Some Body:some@example.org:admin,user\n", 0o644) // md5 of "secret"
	writeFile(t, conf+"acl.auth.php", "*\t@ALL\t1\n*\t@user\t8\n", 0o644)
	prepend := writeFile(t, filepath.Join(dir, "wiki/prepend.php"), "<?php define('DOKU_CONF', '"+conf+"');", 0o644)
	return "php_admin_value[auto_prepend_file] = " + prepend + "\n"
}

func TestDokuwikiWorks(t *testing.T) {
	dir := tempDir(t)
	c := startPHPSites(t, dir, newDokuwiki(t, dir), `  - {path: /, php: {root: /usr/share/dokuwiki, index: [doku.php], @FPM@}, symlinks: follow}
`)
	page := c.get(t, "/")
	assert.Equal(t, 200, page.status)
	assert.Contains(t, page.body, "A wiki")
	for path, what := range map[string]string{
		"/lib/exe/css.php?t=dokuwiki": "text/css", "/lib/exe/js.php?t=dokuwiki": "application/javascript", "/lib/tpl/dokuwiki/images/logo.png": "image/png",
		"/doku.php?id=wiki:syntax": "text/html", "/feed.php": "application/xml",
	} {
		a := c.get(t, path)
		assert.Equal(t, 200, a.status, path)
		assert.Contains(t, a.header.Get("Content-Type"), what, path)
		assert.NotEmpty(t, a.body, path)
	}
	for _, path := range []string{"/.htaccess", "/inc/.htaccess", "/lib/plugins/.htaccess"} {
		assert.Equal(t, 404, c.get(t, path).status, path)
	}

	a := c.submit(t, "/doku.php?id=start&do=login", url.Values{"u": {"somebody"}, "p": {"wrong"}})
	assert.Contains(t, a.body, "Sorry, username or password was wrong.")
	page = c.get(t, "/doku.php?id=start&do=login")
	fields := hidden(page.body)
	fields.Set("u", "somebody")
	fields.Set("p", "secret")
	a = c.submit(t, "/doku.php?id=start&do=login", fields)
	require.Equal(t, 302, a.status, a.body)

	page = c.get(t, "/doku.php?id=notes:first&do=edit")
	assert.Contains(t, page.body, "somebody")
	fields = hidden(page.body)
	require.NotEmpty(t, fields.Get("sectok"))
	text := "====== Ünïcode ======\n\nThe word is xylophone. {{:notes:dot.png}}\n" + strings.Repeat("More of it. ", 20_000)
	fields.Set("wikitext", text)
	fields.Set("do[save]", "Save")
	fields.Set("summary", "a test")
	a = c.submit(t, "/doku.php?id=notes:first", fields)
	require.Equal(t, 302, a.status, a.body)
	page = c.get(t, "/doku.php?id=notes:first")
	assert.Contains(t, page.body, "Ünïcode")
	assert.Contains(t, page.body, "xylophone")
	raw := c.get(t, "/doku.php?id=notes:first&do=export_raw").body
	assert.Equal(t, text, raw)

	png, err := base64.StdEncoding.DecodeString(aPNG)
	require.NoError(t, err)
	body, ctype := multipartForm(t, []field{
		{name: "sectok", value: fields.Get("sectok")}, {name: "ns", value: "notes"}, {name: "mediaid", value: "dot.png"}, {name: "ow", value: "1"},
		{name: "upload", value: string(png), file: "dot.png", ctype: "image/png"},
	})
	a = c.do(t, request{method: "POST", path: "/lib/exe/mediamanager.php?ns=notes", body: body, chunked: true, header: map[string]string{"Content-Type": ctype}})
	assert.Contains(t, a.body, "Upload successful")
	a = c.get(t, "/lib/exe/fetch.php?media=notes:dot.png")
	assert.Equal(t, "image/png", a.header.Get("Content-Type"))
	assert.Equal(t, png, []byte(a.body))
	etag := a.header.Get("ETag")
	require.NotEmpty(t, etag)
	a = c.do(t, request{path: "/lib/exe/fetch.php?media=notes:dot.png", header: map[string]string{"If-None-Match": etag}})
	assert.Equal(t, 304, a.status)

	// The index is made behind the answer of this picture.
	a = c.get(t, "/lib/exe/taskrunner.php?id=notes%3Afirst")
	assert.Equal(t, "image/gif", a.header.Get("Content-Type"))
	assert.Eventually(t, func() bool {
		a, err := c.try(request{path: "/doku.php?do=search&q=xylophone"})
		return err == nil && strings.Contains(a.body, "notes:first") && strings.Contains(a.body, "search_hit")
	}, patience, 100*time.Millisecond)
}

func TestAdminerWorks(t *testing.T) {
	needs(t, "adminer", "php-sqlite3")
	dir := tempDir(t)
	// Adminer opens no database without a password; this is how its users say which.
	writeFile(t, filepath.Join(dir, "www/index.php"), `<?php function adminer_object() {
	include_once '/usr/share/adminer/plugins/plugin.php';
	include_once '/usr/share/adminer/plugins/login-password-less.php';
	return new AdminerPlugin([new AdminerLoginPasswordLess(password_hash('secret', PASSWORD_DEFAULT))]);
}
include '/usr/share/adminer/adminer.php';
`, 0o644)
	c := startPHPSites(t, dir, "", `  - {path: /db, php: {root: @DIR@/www, @FPM@}}
`)
	db := writeFile(t, filepath.Join(dir, "data.sqlite"), "", 0o644)
	require.Contains(t, c.get(t, "/db/").body, "Adminer")
	a := c.submit(t, "/db/", url.Values{"auth[driver]": {"sqlite"}, "auth[server]": {""}, "auth[username]": {""}, "auth[password]": {"secret"}, "auth[db]": {db}})
	require.Equal(t, 302, a.status, a.body)
	query := "?sqlite=&username=&db=" + url.QueryEscape(db)
	sql := func(text string) string {
		page := c.get(t, "/db/"+query+"&sql=")
		require.Equal(t, 200, page.status, page.header)
		fields := hidden(page.body)
		require.NotEmpty(t, fields.Get("token"), page.body)
		fields.Set("query", text)
		return c.submit(t, "/db/"+query+"&sql=", fields).body
	}
	sql("CREATE TABLE t (a TEXT)")
	sql("INSERT INTO t VALUES ('the value')")
	assert.Contains(t, sql("SELECT a || '!' FROM t"), "the value!")
}
