package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

// gatewayCommand runs the command line and returns what it printed.
func gatewayCommand(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

// write makes a file in a new folder.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), mode))
	return file
}

const echoScript = `#!/bin/sh
echo "Content-Type: text/plain"
echo "Status: 201 Made Here"
echo
echo "$REQUEST_METHOD|$PATH_INFO|$QUERY_STRING|$CONTENT_LENGTH|$HTTP_X_ONE|$EXTRA"
cat
`

func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	script := write(t, "plain.txt", "text", 0o644)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"serv"}, `did you mean "serve"`},
		{[]string{"serve", "--config", "x.yaml", "dir"}, "not both"},
		{[]string{"serve", "/no/such/folder"}, "no such file or directory"},
		{[]string{"serve", script}, "is a file: to serve a configuration write `gateway serve --config"},
		{[]string{"serve", "--config", "/no/such.yaml"}, "no such file or directory"},
		{[]string{"serve", "--config", "x.yaml", "--listen", ":1"}, "the doors are in the file"},
		{[]string{"serve", t.TempDir(), "--listen", "8080"}, `write :8080 for all interfaces`},
		{[]string{"check", "/no/such.yaml"}, "no such file or directory"},
		{[]string{"config"}, "give either --reference or --schema"},
		{[]string{"run", script}, "is not executable: chmod +x it, or give --interpreter"},
		{[]string{"run", t.TempDir()}, "is a folder"},
		{[]string{"fcgi-call", "nohost", "/x.php"}, "is not an address"},
		{[]string{"fcgi-call", "127.0.0.1:1"}, "SCRIPT is missing"},
		{[]string{"fcgi-call", "systemd:x", "/x.php"}, "is for doors"},
		{[]string{"fcgi-call", "127.0.0.1:1", "/x.php", "--ca", "x"}, "--ca and --cert go with tls:"},
		{[]string{"fcgi-call", "127.0.0.1:1", "/x.php", "--param", "=x"}, "write NAME=VALUE"},
		{[]string{"fcgi-call", "127.0.0.1:1", "/x.php", "--path", "x"}, "write /extra/path"},
		{[]string{"fcgi-call", "127.0.0.1:1", "--ping", "--status"}, "can't be used together"},
		{[]string{"fcgi-call", "127.0.0.1:1", "/x", "--values"}, "is about no SCRIPT"},
		{[]string{"fcgi-call", "unix:/no/such", "/x.php"}, "unix:/no/such: can't be reached"},
		{[]string{"run", "/no/such"}, "no such file or directory"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			status, _, stderr := gatewayCommand(c.args...)
			assert.NotZero(t, status)
			assert.Contains(t, stderr, c.says)
		})
	}
}

func TestAPortThatIsTakenIsSaidToBe(t *testing.T) {
	conf, err := config.ForDir(t.TempDir())
	require.NoError(t, err)
	conf.Listen[0].HTTP, err = config.ParseAddress("127.0.0.1:0")
	require.NoError(t, err)
	s, err := gateway.New(conf, gateway.Options{})
	require.NoError(t, err)
	defer shutdown(s)
	status, _, stderr := gatewayCommand("serve", t.TempDir(), "--listen", s.Listeners()[0].String())
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "choose another address with --listen")
}

func TestHelpAndVersionSucceed(t *testing.T) {
	status, stdout, _ := gatewayCommand("--help")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "explain")
	status, stdout, _ = gatewayCommand("version")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "gateway 0.")
}

func TestCheckShowsTheLineThatIsWrong(t *testing.T) {
	file := write(t, "g.yaml", "listen:\n  - http: 127.0.0.1:0\nroutes:\n  - path: /\n    files: {root: .}\n    timeout: {idle: 5 minutes}\n", 0o644)
	status, _, stderr := gatewayCommand("check", file)
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, file+`:6:21: routes[0].timeout.idle: "5 minutes" is not a duration (write 5m)`)
	assert.Contains(t, stderr, "^")
}

func TestCheckAcceptsWhatCanBeServed(t *testing.T) {
	file := write(t, "g.yaml", "listen: [{http: \"127.0.0.1:0\"}]\nroutes: [{path: /, files: {root: .}}]\n", 0o644)
	status, stdout, stderr := gatewayCommand("check", file)
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "is fine")
}

func TestCheckAndExplainTakeAConfigurationAsServeDoes(t *testing.T) {
	file := write(t, "g.yaml", "listen: [{http: \"127.0.0.1:0\"}]\nroutes: [{path: /, files: {root: .}}]\n", 0o644)
	for _, args := range [][]string{{"check", "-c", file}, {"check", "--config", file}, {"explain", "-c", file, "/g.yaml"}, {"explain", file, "/g.yaml"}} {
		status, _, stderr := gatewayCommand(args...)
		assert.Zero(t, status, "%q %s", args, stderr)
	}
	for _, args := range [][]string{{"check"}, {"check", "-c", file, file}, {"explain"}, {"explain", file}, {"explain", "-c", file}, {"explain", "-c", file, file, "/g.yaml"}} {
		status, _, stderr := gatewayCommand(args...)
		assert.Equal(t, 1, status, args)
		assert.Contains(t, stderr, "give ", args)
	}
}

func TestTheManualAndTheSchemaArePrinted(t *testing.T) {
	status, stdout, _ := gatewayCommand("config", "--reference")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "routes[]")
	status, stdout, _ = gatewayCommand("config", "--schema")
	assert.Zero(t, status)
	assert.Contains(t, stdout, `"$schema"`)
}

func TestRunSendsOneRequestAndPrintsTheAnswer(t *testing.T) {
	script := write(t, "echo one.cgi", echoScript, 0o755)
	body := write(t, "body", "the body", 0o644)
	status, stdout, stderr := gatewayCommand("run", script, "--path", "/x%20y?a=b", "--method", "POST", "--body", body,
		"--header", "X-One: 1", "--env", "EXTRA=more")
	assert.Zero(t, status, stderr)
	assert.True(t, strings.HasPrefix(stdout, "HTTP/1.1 201 Made Here\r\n"), stdout)
	assert.True(t, strings.HasSuffix(stdout, "\r\n\r\nPOST|/x y|a=b|8|1|more\nthe body"), stdout)
}

func TestRunFailsWhereTheScriptDoes(t *testing.T) {
	silent := write(t, "silent.cgi", "#!/bin/sh\n", 0o755)
	status, stdout, _ := gatewayCommand("run", silent)
	assert.Equal(t, 1, status)
	assert.Contains(t, stdout, "502 Bad Gateway")

	broken := write(t, "broken.cgi", "#!/bin/sh\nprintf 'Content-Type: a/b\\nContent-Length: 100\\n\\nshort'\n", 0o755)
	status, stdout, _ = gatewayCommand("run", broken)
	assert.Equal(t, 1, status)
	assert.Contains(t, stdout, "200 OK")
}

func TestRunTakesAnInterpreterForAFileThatIsNotExecutable(t *testing.T) {
	script := write(t, "x.foo", "printf 'Content-Type: text/plain\\n\\nran\\n'\n", 0o644)
	status, stdout, stderr := gatewayCommand("run", script, "--interpreter", "/bin/sh")
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "ran\n")
}

func TestExplainShowsRouteProgramAndVariables(t *testing.T) {
	script := write(t, "a.cgi", echoScript, 0o755)
	dir := filepath.Dir(script)
	file := write(t, "g.yaml", "listen: [{http: \"127.0.0.1:0\"}]\nroutes:\n  - {path: /bin/, cgi: {dir: "+dir+"}, auth: {basic: {realm: r, htpasswd: htpasswd}}}\n  - {path: /, files: {root: .}}\n", 0o644)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "htpasswd"), []byte("a:{SHA}x\n"), 0o644))
	for _, c := range []struct {
		url  string
		says []string
	}{
		{"/bin/a.cgi/p%41?q+r", []string{"route        /bin/", `Basic auth, realm "r"`, "program      " + script, `"q" "r"`, "PATH_INFO=/pA", "QUERY_STRING=q+r"}},
		{"http://www.example.org/bin/a.cgi", []string{"SERVER_NAME=www.example.org"}},
		{"/bin/none", []string{"404 Not Found"}},
		{"/bin", []string{"301 to /bin/"}},
		{"/g.yaml", []string{"200, a file of type"}},
		{"/../x", []string{"400 Bad Request"}},
	} {
		t.Run(c.url, func(t *testing.T) {
			status, stdout, stderr := gatewayCommand("explain", file, c.url)
			assert.Zero(t, status, stderr)
			for _, want := range c.says {
				assert.Contains(t, stdout, want)
			}
		})
	}
}

func TestExplainSaysInWhichModeAScriptRuns(t *testing.T) {
	for text, want := range map[string]string{
		"#!/usr/bin/perl\n":               "script, mode auto\n",
		"#!/usr/bin/perl\n# cgi: reuse\n": "script, mode auto: reuse, as its comment says\n",
		echoScript:                        "script, mode spawn, not auto: no runner for it: it runs by /bin/sh\n",
	} {
		status, stdout, stderr := gatewayCommand("explain", filepath.Dir(write(t, "a.cgi", text, 0o755)), "/a.cgi")
		assert.Zero(t, status, stderr)
		assert.Contains(t, stdout, want)
	}
}

func TestEveryProgramOfTheExampleAnswers(t *testing.T) {
	dir, err := exampleSite()
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	conf, err := config.ForDir(dir)
	require.NoError(t, err)
	exampleConfig(conf)
	conf.Log.Access.Format = config.AccessOff
	conf.Listen[0].HTTP, err = config.ParseAddress("127.0.0.1:0")
	require.NoError(t, err)
	s, err := gateway.New(conf, gateway.Options{})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	defer func() {
		require.NoError(t, shutdown(s))
		require.NoError(t, <-served)
	}()
	base := s.Addrs()[0]
	paths := []string{"", "style.css"}
	for _, p := range examplePrograms() {
		if os.Getenv("CI") != "" {
			require.True(t, p.Installed, "%s is not installed: run scripts/setup", p.Language)
		}
		if p.Installed {
			paths = append(paths, "cgi-bin/"+p.File)
		}
	}
	for _, p := range paths {
		t.Run(p, func(t *testing.T) {
			res, err := http.Get(base + p)
			require.NoError(t, err)
			defer res.Body.Close()
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.NotEqual(t, "application/octet-stream", res.Header.Get("Content-Type"))
		})
	}
}

func TestExplainShowsUserAndLimits(t *testing.T) {
	needsRoot(t)
	script := write(t, "a.cgi", echoScript, 0o755)
	file := write(t, "g.yaml", "listen: [{http: \"127.0.0.1:0\"}]\nroutes:\n  - {path: /, cgi: {dir: "+filepath.Dir(script)+"}, user: nobody, limits: {cpu: 30s, memory: 1GiB}}\n  - {path: /x/, cgi: {dir: "+filepath.Dir(script)+"}, limits: {script: {processes: 9}}}\n", 0o644)
	status, stdout, stderr := gatewayCommand("explain", file, "/a.cgi")
	assert.Zero(t, status, stderr)
	assert.Regexp(t, `(?m)^user +nobody \(uid 65534, gid 65534, groups 65534\)$`, stdout)
	assert.Regexp(t, `(?m)^limits +memory 1GiB, cpu 30s$`, stdout)
	_, stdout, _ = gatewayCommand("explain", file, "/x/a.cgi")
	assert.Regexp(t, `(?m)^limits +script.processes 9$`, stdout)
}

func TestCheckNotesALimitThatDoesNotHold(t *testing.T) {
	needsRoot(t)
	file := write(t, "g.yaml", "listen: [{http: \"127.0.0.1:0\"}]\nroutes:\n  - path: /\n    cgi: {dir: .}\n    limits: {processes: 10}\n", 0o644)
	status, stdout, stderr := gatewayCommand("check", file)
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, file+":5:25: routes[0].limits.processes: does not hold for root: give the route a user")
	assert.Contains(t, stdout, "is fine")
	require.NoError(t, os.WriteFile(file, []byte("listen: [{http: \"127.0.0.1:0\"}]\nroutes:\n  - path: /\n    cgi: {dir: .}\n    user: nobody\n    limits: {processes: 10}\n"), 0o644))
	_, stdout, _ = gatewayCommand("check", file)
	assert.NotContains(t, stdout, "note")
}

func TestLimitsOfTheCommandLineAreRead(t *testing.T) {
	script := write(t, "a.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; ulimit -t; ulimit -n; ulimit -f\n", 0o755)
	for _, c := range []struct{ limit, says string }{
		{"cpu=1500ms", `--limit: cpu: "1.5s" is not a whole number of seconds (write 2s)`},
		{"ram=1GiB", "--limit: ram: there is no such limit"},
		{"files=many", `--limit: files: "many" is not a whole number`},
		{"memory=1GB", `--limit: memory: "1GB" is not a size`},
	} {
		status, _, stderr := gatewayCommand("run", script, "--limit", c.limit)
		assert.Equal(t, 1, status)
		assert.Contains(t, stderr, c.says)
	}
	status, _, stderr := gatewayCommand("run", script, "--user", "no-such-user")
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, `there is no user "no-such-user"`)

	code, out, errs := runGateway(t, "run", script, "--limit", "cpu=77s", "--limit", "files=88", "--limit", "file_size=1MiB")
	assert.Zero(t, code, errs)
	assert.Contains(t, out, "\n77\n88\n2048\n")
	code, out, errs = runGateway(t, "worker", "-q", write(t, "a.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", `ulimit -t; ulimit -Hn`;\n", 0o755), "--limit", "cpu=77s", "--limit", "files=88")
	assert.Zero(t, code, errs+out)
	assert.Contains(t, out, "request 3:  status 200, 6 octets")
}

// needsRoot skips a test that must become another user; where all tests have to run it fails.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}
