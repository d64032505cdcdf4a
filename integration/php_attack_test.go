//go:build linux

package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// evidence is PHP that says that it was run, and as what.
const evidence = `<?php echo json_encode(['ran' => basename(__FILE__), 'name' => $_SERVER['SCRIPT_NAME'], 'file' => $_SERVER['SCRIPT_FILENAME'],
	'info' => $_SERVER['PATH_INFO'] ?? null, 'self' => $_SERVER['PHP_SELF'], 'translated' => $_SERVER['PATH_TRANSLATED'] ?? null], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);`

// told is what such a file says.
type told struct {
	Ran, Name, File, Self string
	Info, Translated      *string
}

// newAttackedSite is a folder of PHP and pictures with PHP in them. limit is php-fpm's own net.
func newAttackedSite(t *testing.T, limit string) (c *client, www string) {
	t.Helper()
	dir := tempDir(t)
	www = filepath.Join(dir, "www")
	for _, name := range []string{
		"script.php", "info.php", "sub/script.php", "picture.jpg", "uploads/picture.jpg", "uploads/picture.php.jpg", "picture.php.", "script.php ", "script.phps",
		"Ⱥ.php", "ȺȺȺȺ.jpg", "K.php", "ß.php", "picture.jpg.PHP", "script.pHp", "İ/script.php", "x.phtml", "x.php5", "x.phar", "picture.ph\u017f", "script.ph\u1e57",
	} {
		writeFile(t, filepath.Join(www, name), evidence, 0o644)
	}
	require.NoError(t, os.MkdirAll(filepath.Join(www, "folder.php"), 0o755))
	writeFile(t, filepath.Join(www, "folder.php/picture.jpg"), evidence, 0o644)
	f := startFPM(t, dir, "pm.max_children = 2\n"+limit)
	g := startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\nroutes:\n  - {path: /, php: {root: '"+www+"', fastcgi: {servers: ['unix:"+f.socket+"'], max_conns: 2}}}\n")
	return newClient(t, g.url()), www
}

// limits are php-fpm with its net (security.limit_extensions, cgi.fix_pathinfo) and without.
var limits = map[string]string{
	"as Debian has it":                            "",
	"without limit_extensions":                    "security.limit_extensions =\n",
	"without limit_extensions, the path as it is": "security.limit_extensions =\nphp_admin_value[cgi.fix_pathinfo] = 0\n",
}

// A picture that anybody may upload must not be run because of what stands behind it in the
// path (cgi.fix_pathinfo), whatever php-fpm would do with it.
func TestNothingButAPHPFileIsRunByPHP(t *testing.T) {
	for how, limit := range limits {
		t.Run(how, func(t *testing.T) {
			c, _ := newAttackedSite(t, limit)
			assert.Equal(t, "script.php", ask(t, c, "/script.php").Ran)
			for _, path := range []string{
				"/picture.jpg/x.php", "/picture.jpg/script.php", "/picture.jpg/.php", "/picture.jpg%00.php", "/picture.jpg%00/x.php", "/picture.jpg%0a.php", "/picture.jpg%0a/x.php",
				"/picture.jpg/%0ax.php", "/picture.jpg%2fx.php", "/picture.jpg%20.php", "/picture.jpg%5cx.php", "/picture.jpg;x.php", "/picture.jpg?x.php", "/picture.jpg?/x.php", "/picture.jpg%3f.php",
				"/picture.jpg%23.php", "/uploads/picture.jpg/x.php", "/uploads/picture.php.jpg", "/uploads/picture.php.jpg/x.php", "/uploads/../picture.jpg/x.php", "/uploads/picture.jpg/..%2fx.php",
				"/uploads/picture.jpg//x.php", "/folder.php/picture.jpg", "/folder.php/picture.jpg/x.php", "/picture.jpg/folder.php/x.php", "/%C8%BA%C8%BA%C8%BA%C8%BA.jpg/x.php", "/%C8%BA%C8%BA%C8%BA%C8%BA.jpg",
				"/picture.php.", "/script.php%20", "/script.php.", "/script.phps", "/script.phps/x.php", "/picture.jpg.PHP", "/picture.jpg.PHP/x.php", "/script.pHp", "/script.pHp/x.php",
				"/x.phtml", "/x.phtml/x.php", "/x.php5/x.php", "/x.phar", "/x.phar/x.php", "/picture.ph%C5%BF/x.php", "/script.ph%E1%B9%97", "/script.ph%E1%B9%97/x.php",
				"/none.php", "/none.php/picture.jpg", "/none.php%0a/picture.jpg", "/script.php%00.jpg", "/script.php%0a", "/script.php%0a/x", "/script.ph%0ap",
			} {
				a := c.get(t, path)
				assert.NotContains(t, a.body, `"ran"`, "%s: %d", path, a.status)
				if strings.Contains(path, "picture.jpg") && a.status == 200 {
					assert.Contains(t, a.header.Get("Content-Type"), "image/jpeg", path)
				}
			}
		})
	}
}

// PATH_INFO is what stands behind the script in the path, octet by octet, and nothing else: a
// pattern that a line feed gets by, or a length that is another in lower case, has made servers
// send an empty or a negative one (CVE-2019-11043, and FrankenPHP's of 2025).
func TestPathInfoIsWhatStandsBehindTheScript(t *testing.T) {
	for how, limit := range limits {
		t.Run(how, func(t *testing.T) {
			c, www := newAttackedSite(t, limit)
			for _, script := range []string{"/script.php", "/sub/script.php", "/Ⱥ.php", "/K.php", "/ß.php", "/İ/script.php"} {
				for _, info := range []string{
					"", "/", "//", "/x", "/a\nb", "/\n", "/\n/", "/x\r\nX-Injected: y", "/PHP\nis_the_shittiest_lang.php", "/" + strings.Repeat("Q", 1700) + "\n", "/" + strings.Repeat("/", 40) + "\n",
					"/Ⱥ", "/" + strings.Repeat("Ⱥ", 500), "/" + strings.Repeat("İ", 300) + ".php", "/K.PHP", "/script.php", "/script.php/script.php", "/sub/script.php/x",
					"/.php", "/x.php\n", "/none.php/Ⱥ.php", "/picture.jpg", "/uploads/picture.jpg", "/a b", "/a%b", "/a?b", "/a#b", "/;a=b",
				} {
					p := (&url.URL{Path: script}).EscapedPath() + strings.NewReplacer("%", "%25", "\n", "%0a", "\r", "%0d", "?", "%3f", "#", "%23", " ", "%20").Replace(info)
					got := ask(t, c, p)
					assert.Equal(t, filepath.Base(script), got.Ran, p)
					assert.Equal(t, script, got.Name, p)
					assert.Equal(t, www+script, got.File, p)
					if strings.Contains(limit, "fix_pathinfo") {
						assert.Nil(t, got.Translated, "PHP would run it: %s", p)
					} else {
						assert.Equal(t, script+info, got.Self, p)
					}
					if info == "" {
						assert.Nil(t, got.Info, p)
					} else if assert.NotNil(t, got.Info, p) {
						assert.Equal(t, info, *got.Info, p)
					}
				}
			}
		})
	}
}

// ask has a file of [evidence] run.
func ask(t *testing.T, c *client, path string) (a told) {
	t.Helper()
	r := c.get(t, path)
	require.Equal(t, http.StatusOK, r.status, "%s: %s", path, r.body)
	require.NoError(t, json.Unmarshal([]byte(r.body), &a), "%s: %q", path, r.body)
	return a
}

// php-cgi takes PATH_TRANSLATED for the script where cgi.fix_pathinfo is 0, in whatever way it
// was started: an upload's text would be run as PHP.
func TestPHPRunsTheScriptAndNotWhatStandsBehindIt(t *testing.T) {
	needs(t, "php-cgi")
	php := programs["php-cgi"].path()
	dir := tempDir(t)
	www := filepath.Join(dir, "www")
	writeFile(t, filepath.Join(dir, "php.ini"), "cgi.fix_pathinfo = 0\n", 0o644)
	writeFile(t, filepath.Join(www, "picture.jpg"), evidence, 0o644)
	writeFile(t, filepath.Join(www, "plain.php"), evidence, 0o644)
	writeFile(t, filepath.Join(www, "line.cgi"), "#!"+php+"\n"+evidence, 0o755)
	writeFile(t, filepath.Join(www, "env.cgi"), "#!/usr/bin/env "+filepath.Base(php)+"\n"+evidence, 0o755)
	writeFile(t, filepath.Join(www, "kept.php"), evidence, 0o644)
	env := "env: {PHPRC: '" + dir + "', REDIRECT_STATUS: '200', PATH: '" + filepath.Dir(php) + ":/usr/bin:/bin'}"
	g := startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\ndocument_root: '"+www+"'\nroutes:\n"+
		"  - {path: /, cgi: {dir: '"+www+"'}, interpreters: {.php: "+php+"}, "+env+"}\n"+
		"  - {path: /kept.php, fastcgi: {program: "+php+", args: [-d, cgi.fix_pathinfo=0], processes: 1}, "+env+"}\n"+
		"  - {path: /program, cgi: {program: '"+www+"/line.cgi'}, "+env+"}\n")
	c := newClient(t, g.url())
	for path, ran := range map[string]string{"/plain.php": "plain.php", "/line.cgi": "line.cgi", "/env.cgi": "env.cgi", "/kept.php": "kept.php", "/program": "line.cgi"} {
		assert.Equal(t, ran, ask(t, c, path).Ran, path)
		got := ask(t, c, path+"/picture.jpg")
		assert.Equal(t, ran, got.Ran, path)
		if assert.NotNil(t, got.Info, path) {
			assert.Equal(t, "/picture.jpg", *got.Info, path)
		}
	}
}
