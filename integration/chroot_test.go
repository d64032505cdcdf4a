//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const jailScript = `#!/bin/sh
printf 'Content-Type: text/plain\n\n'
for f in /*; do printf '%s ' "$f"; done
echo
echo "$0 $PWD $SCRIPT_FILENAME $DOCUMENT_ROOT $PATH_TRANSLATED"
cat
for way in .. ../.. ../../../../../..; do [ -e "$way/etc/passwd" ] && echo "outside by $way"; done
[ -e /proc/1 ] && echo /proc
for f in /data/new /cgi-bin/new; do ( : > "$f" ) 2>&- && echo "wrote $f"; done
echo end
`

// library is a file that ldd(1) names.
var library = regexp.MustCompile(`/\S+`)

// newJail is a folder with a shell and cat, what these need, and a script.
func newJail(t *testing.T) (dir, jail string) {
	t.Helper()
	dir = tempDir(t)
	jail = filepath.Join(dir, "jail")
	for _, program := range []string{"/bin/sh", "/bin/cat"} {
		out, err := exec.Command("ldd", program).Output()
		require.NoError(t, err)
		for _, file := range append(library.FindAllString(string(out), -1), program) {
			writeFile(t, filepath.Join(jail, file), readFile(t, file), 0o755)
		}
	}
	writeFile(t, filepath.Join(jail, "cgi-bin/script.sh"), jailScript, 0o755)
	require.NoError(t, os.Mkdir(filepath.Join(jail, "data"), 0o777))
	require.NoError(t, os.Chmod(filepath.Join(jail, "data"), 0o777))
	return dir, jail
}

func TestAScriptInAChrootSeesNothingElse(t *testing.T) {
	needsRoot(t)
	dir, _ := newJail(t)
	g := startGateway(t, dir, `
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /cgi/, cgi: {dir: jail/cgi-bin}, mode: auto, user: www-data, sandbox: {chroot: jail}}
  - {path: /limited/, cgi: {dir: jail/cgi-bin}, mode: spawn, user: www-data, limits: {cpu: 5s}, sandbox: {chroot: jail, read: [], write: [jail/data], private_network: true}}
  - {path: /empty/, cgi: {dir: jail/data}, mode: spawn, user: www-data, sandbox: {chroot: jail/data}}
`)
	c := newClient(t, g.url())
	for _, route := range []string{"cgi", "limited"} {
		for range 2 { // it is never warm
			a := c.do(t, request{method: "POST", path: "/" + route + "/script.sh/in/fo", body: "the body\n"})
			require.Equal(t, 200, a.status)
			lines := strings.Split(a.body, "\n")
			assert.Subset(t, []string{"/bin", "/cgi-bin", "/data", "/lib", "/lib64", "/usr"}, strings.Fields(lines[0]))
			assert.Equal(t, []string{"/cgi-bin/script.sh /cgi-bin /cgi-bin/script.sh /cgi-bin /cgi-bin/in/fo", "the body", "wrote /data/new", "end", ""}, lines[1:])
		}
	}
	writeFile(t, filepath.Join(dir, "jail/data/script.sh"), "#!/bin/sh\n", 0o755)
	assert.Equal(t, 502, c.get(t, "/empty/script.sh").status)
	g.logs(t, `of the #! line, or a library of it, below `+filepath.Join(dir, "jail/data"))
}

func TestAChrootThatCannotBeIsSaidBeforeItIsServed(t *testing.T) {
	dir, jail := newJail(t)
	binary, err := raceGateway()
	require.NoError(t, err)
	for route, says := range map[string]string{
		"cgi: {dir: jail/cgi-bin}, mode: warm, sandbox: {chroot: jail}":                     "routes[0].sandbox.chroot: goes with mode: spawn, or auto, not with warm",
		"cgi: {dir: jail/cgi-bin}, mode: spawn, sandbox: {chroot: jail, private_tmp: 1MiB}": "routes[0].sandbox.chroot: does not go with private_tmp",
		"cgi: {dir: jail/cgi-bin}, mode: spawn, sandbox: {chroot: jail/data}":               "routes[0].sandbox.chroot: must have in it what the route runs: " + jail + "/cgi-bin",
		"cgi: {program: jail/cgi-bin/script.sh}, mode: spawn, sandbox: {chroot: jail/none}": "routes[0].sandbox.chroot",
		"cgi: {dir: jail/cgi-bin}, mode: spawn, sandbox: {chroot: jail/cgi-bin/script.sh}":  "routes[0].sandbox.chroot",
	} {
		file := writeFile(t, filepath.Join(dir, "gateway.yaml"), "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /, "+route+"}]\n", 0o644)
		out, err := exec.Command(binary, "check", file).CombinedOutput()
		assert.Error(t, err, route)
		assert.Contains(t, string(out), says)
	}
}
