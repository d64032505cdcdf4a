package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const checked = `listen:
  - {https: ":1", tls: {cert: file, key: none.pem}}
  - {fastcgi: "unix:none/sock", scripts: [dir, none]}
admin: unix:dir
document_root: file
log: {access: {to: none/access.log}}
routes:
  - path: /a/
    cgi: {dir: file}
    interpreters: {.pl: /none/perl, .py: DIR/file, .rb: DIR/program}
    auth: {basic: {htpasswd: dir}}
    x_sendfile: [dir, none]
    document_root: none
  - {path: /b, cgi: {program: file}}
  - {path: /c, cgi: {program: dir}}
  - {path: /d, cgi: {program: script.pl}, interpreters: {.pl: DIR/program}}
  - {path: /e, cgi: {program: program}}
  - {path: /f, files: {root: dir}}
  - {path: /g, files: {root: none}}
  - {path: /h/, cgi: {dir: dir}, runner: none}
  - {path: /i/, cgi: {dir: dir}, runner: dir}
  - {path: /j/, php: {root: none, front: /none.php, fastcgi: {servers: ["127.0.0.1:9000"]}}}
  - {path: /k/, php: {root: dir, front: /none.php, fastcgi: {servers: ["127.0.0.1:9000"]}}}
  - {path: /l/, php: {root: none, front: /none.php, fastcgi: {servers: ["127.0.0.1:9000"]}}, files: {root: dir}}
`

func TestCheckFilesNamesWhatIsMissingOrOfTheWrongKind(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	for name, mode := range map[string]os.FileMode{"file": 0o644, "script.pl": 0o644, "program": 0o755} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, mode))
	}
	file := filepath.Join(dir, "gateway.yaml")
	c, err := Parse(file, []byte(strings.ReplaceAll(checked, "DIR", dir)), Options{})
	require.NoError(t, err)

	var got []string
	for _, e := range c.CheckFiles() {
		assert.NotEmpty(t, e.Source)
		got = append(got, strings.ReplaceAll(e.Summary(), dir+"/", ""))
	}
	assert.Equal(t, []string{
		`gateway.yaml:2:42: listen[0].tls.key: none.pem: no such file or directory`,
		`gateway.yaml:3:15: listen[1].fastcgi: none: no such file or directory`,
		`gateway.yaml:3:48: listen[1].scripts[1]: none: no such file or directory`,
		`gateway.yaml:4:8: admin: dir is a folder`,
		`gateway.yaml:5:16: document_root: file is not a folder`,
		`gateway.yaml:6:20: log.access.to: none: no such file or directory`,
		`gateway.yaml:9:16: routes[0].cgi.dir: file is not a folder`,
		`gateway.yaml:10:25: routes[0].interpreters[".pl"]: /none/perl: no such file or directory`,
		`gateway.yaml:10:42: routes[0].interpreters[".py"]: file is not executable (chmod +x)`,
		`gateway.yaml:11:30: routes[0].auth.basic.htpasswd: dir is a folder, not a file`,
		`gateway.yaml:12:23: routes[0].x_sendfile[1]: none: no such file or directory`,
		`gateway.yaml:13:20: routes[0].document_root: none: no such file or directory`,
		`gateway.yaml:14:31: routes[1].cgi.program: file is not executable (chmod +x)`,
		`gateway.yaml:15:31: routes[2].cgi.program: dir is not a program`,
		`gateway.yaml:19:30: routes[6].files.root: none: no such file or directory`,
		`gateway.yaml:20:42: routes[7].runner: none: no such file or directory`,
		`gateway.yaml:21:42: routes[8].runner: dir is a folder, not a file`,
		`gateway.yaml:22:29: routes[9].php.root: none: no such file or directory`,
		`gateway.yaml:23:41: routes[10].php.front: dir/none.php: no such file or directory`,
		`gateway.yaml:24:42: routes[11].php.front: dir/none.php: no such file or directory`,
	}, got)
}

func TestAnAccessLogThatIsOffNeedsNoFolder(t *testing.T) {
	dir := t.TempDir()
	yaml := "listen: [{http: \":8080\"}]\nlog: {access: {to: none/x, format: off}}\nroutes: [{path: /, files: {root: .}}]\n"
	c, err := Parse(filepath.Join(dir, "f.yaml"), []byte(yaml), Options{})
	require.NoError(t, err)
	assert.Empty(t, c.CheckFiles())
}

func TestCheckFilesWorksForAFolderWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	c, err := ForDir(dir)
	require.NoError(t, err)
	require.NoError(t, os.Remove(dir))
	errs := c.CheckFiles()
	require.Len(t, errs, 2)
	assert.Equal(t, "document_root: "+dir+": no such file or directory", errs[0].Error())
	assert.Equal(t, "routes[0].files.root: "+dir+": no such file or directory", errs[1].Error())
}
