//go:build linux

package integration

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const scriptsYAML = `
listen:
  - http: 127.0.0.1:0
document_root: @DIR@/htdocs
routes:
  - path: /cgi-bin/
    cgi: {dir: @DIR@/cgi-bin}
    interpreters: {.php: /usr/bin/php-cgi}
    env: {PHPRC: @DIR@}
`

// newScripts puts the scripts of testdata, and the C programs, into dir/cgi-bin.
func newScripts(t *testing.T, dir string, c ...string) string {
	t.Helper()
	bin := copyFiles(t, "cgi-bin", filepath.Join(dir, "cgi-bin"))
	require.NoError(t, os.Chmod(filepath.Join(bin, "form.php"), 0o644)) // by its interpreter
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "htdocs"), 0o755))
	for _, source := range c {
		b, err := os.ReadFile(compile(t, source))
		require.NoError(t, err)
		writeFile(t, filepath.Join(bin, strings.TrimSuffix(source, ".c")+".cgi"), string(b), 0o755)
	}
	writeFile(t, filepath.Join(dir, "php.ini"), "upload_max_filesize = 64M\npost_max_size = 64M\nexpose_php = Off\n", 0o644)
	return bin
}

func sha1Of(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// formScripts show what a form sent, all in the same words.
var formScripts = []struct{ file, needs string }{
	{"form.pl", "CGI.pm"}, {"form.py", "python3"}, {"form.rb", "ruby"}, {"form.php", "php-cgi"},
}

// The values of the form: what goes wrong first is what is not plain ASCII.
var formFields = []field{
	{name: "empty"},
	{name: "many[]", value: "one & two"},
	{name: "many[]", value: "drei=3;vier+5%20"},
	{name: "text", value: "Grüße, ☃ <b>\"quoted\"</b>\r\nnext line"},
}

func assertForms(t *testing.T, c *client, script string) {
	t.Helper()
	assertFields(t, c, script)
	assertUpload(t, c, script, false)
	assertUpload(t, c, script, true)
}

// assertFields sends a form as a query, and as a body.
func assertFields(t *testing.T, c *client, script string) {
	t.Helper()
	values := url.Values{}
	lines := ""
	for _, f := range formFields {
		values.Add(f.name, f.value)
		lines += fmt.Sprintf("field %s=%s\n", f.name, f.value)
	}

	got := c.get(t, script+"?"+values.Encode())
	assert.Equal(t, "method GET\n"+lines, got.body, "GET")
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, "text/plain; charset=utf-8", strings.ToLower(got.header.Get("Content-Type")))
	cookies := got.header["Set-Cookie"]
	if assert.Len(t, cookies, 2) {
		assert.Regexp(t, `^seen=now(%20|\+)%26(%20|\+)%22then%22`, cookies[0])
		assert.Regexp(t, `^two=2`, cookies[1])
	}

	for _, chunked := range []bool{false, true} {
		got = c.do(t, request{method: http.MethodPost, path: script, body: values.Encode(), chunked: chunked,
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Cookie": "b=2; a=Gr%C3%BC%C3%9Fe"}})
		assert.Equal(t, "method POST\n"+lines+"cookie a=Grüße\ncookie b=2\n", got.body, "POST, chunked: %v", chunked)
	}
}

// assertUpload sends fields and files, one of 5 MB.
func assertUpload(t *testing.T, c *client, script string, chunked bool) {
	t.Helper()
	files := []field{
		{name: "photo", value: randomText(3, 5<<20), file: "façade ☃ (1).jpg", ctype: "image/jpeg"},
		{name: "pile[]", value: "first\r\n--not the boundary\r\n", file: "a.txt", ctype: "text/plain"},
		{name: "pile[]", value: randomText(4, 100_001), file: "b.bin", ctype: "application/octet-stream"},
	}
	want := "method POST\n"
	for _, f := range append(formFields[:3:3], files...) {
		if f.file == "" {
			want += fmt.Sprintf("field %s=%s\n", f.name, f.value)
		} else {
			want += fmt.Sprintf("file %s name=%s type=%s size=%d sha1=%s\n", f.name, f.file, f.ctype, len(f.value), sha1Of(f.value))
		}
	}
	want += fmt.Sprintf("field %s=%s\n", formFields[3].name, formFields[3].value)
	body, ctype := multipartForm(t, append(formFields[:4:4], files...))
	got := c.do(t, request{method: http.MethodPost, path: script, body: body, chunked: chunked, header: map[string]string{"Content-Type": ctype}})
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, want, got.body, "upload, chunked: %v", chunked)
}

func TestFormsArriveWholeInEveryLanguage(t *testing.T) {
	for _, s := range formScripts {
		t.Run(s.needs, func(t *testing.T) {
			needs(t, s.needs)
			dir := tempDir(t)
			newScripts(t, dir)
			g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
			assertForms(t, newClient(t, g.url()), "/cgi-bin/"+s.file)
			assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
		})
	}
}

func TestCGIpmRedirects(t *testing.T) {
	needs(t, "CGI.pm")
	dir := tempDir(t)
	newScripts(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
	c := newClient(t, g.url())

	far := c.get(t, "/cgi-bin/redirect.pl?to=https://example.org/x?y=1")
	assert.Equal(t, http.StatusFound, far.status)
	assert.Equal(t, "https://example.org/x?y=1", far.header.Get("Location"))

	with := c.get(t, "/cgi-bin/redirect.pl?cookie=1&to=/cgi-bin/form.pl")
	assert.Equal(t, http.StatusFound, with.status, "a cookie must not be lost on the way")
	assert.Equal(t, "/cgi-bin/form.pl", with.header.Get("Location"))
	assert.Equal(t, "left=here; path=/", with.header.Get("Set-Cookie"))

	other := c.get(t, "/cgi-bin/redirect.pl?status=303%20See%20Other&to=/elsewhere")
	assert.Equal(t, http.StatusSeeOther, other.status)
	assert.Equal(t, "/elsewhere", other.header.Get("Location"))
}

func TestACProgramSeesTheRequest(t *testing.T) {
	dir := tempDir(t)
	newScripts(t, dir, "echo.c")
	g := startGateway(t, dir, strings.ReplaceAll(scriptsYAML, "@DIR@", dir))
	c := newClient(t, g.url())

	got := c.do(t, request{method: http.MethodPost, path: "/cgi-bin/echo.cgi/extra/p%C3%A4th?x=1&y", body: "the body",
		header: map[string]string{"Content-Type": "text/x-test", "X-Token": "t", "Cookie": "a=1"}})
	assert.Equal(t, "REQUEST_METHOD=POST\nSCRIPT_NAME=/cgi-bin/echo.cgi\nPATH_INFO=/extra/päth\nQUERY_STRING=x=1&y\nCONTENT_TYPE=text/x-test\n"+
		"CONTENT_LENGTH=8\nHTTP_X_TOKEN=t\nHTTP_COOKIE=a=1\nbody 8 octets: the body", got.body)
	assert.Equal(t, "t", got.header.Get("X-Token"))

	words := c.get(t, "/cgi-bin/echo.cgi?find+these%20two")
	assert.Equal(t, "REQUEST_METHOD=GET\nSCRIPT_NAME=/cgi-bin/echo.cgi\nQUERY_STRING=find+these%20two\nargument find\nargument these two\nbody 0 octets: ", words.body)
}
