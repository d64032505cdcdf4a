package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, yaml string) *Config {
	t.Helper()
	c, err := Parse("/etc/gateway/gateway.yaml", []byte(yaml), Options{LookupEnv: lookup, LookupUser: lookupUser})
	require.NoError(t, err)
	return c
}

func TestTheFullExampleLoads(t *testing.T) {
	c, err := Load("testdata/full.yaml", Options{LookupUser: lookupUser})
	require.NoError(t, err)
	here, err := filepath.Abs("testdata")
	require.NoError(t, err)

	require.Len(t, c.Listen, 3)
	kind, addr := c.Listen[1].Door()
	assert.Equal(t, "https", kind)
	assert.Equal(t, ":8443", addr.Addr())
	assert.Equal(t, &DoorTLS{Cert: filepath.Join(here, "cert.pem"), Key: filepath.Join(here, "key.pem")}, c.Listen[1].TLS)
	kind, addr = c.Listen[2].Door()
	assert.Equal(t, "fastcgi", kind)
	assert.Equal(t, []string{"unix", "/run/gateway/fcgi.sock"}, []string{addr.Network(), addr.Addr()})
	assert.Equal(t, FileMode(0o660), c.Listen[2].SocketMode)
	assert.Equal(t, "127.0.0.1:9180", c.Admin.Listen.String())
	assert.Equal(t, "webmaster@example.org", c.ServerAdmin)
	assert.Equal(t, Log{Access: AccessLog{To: "stdout", Format: AccessCombined}, Level: LogInfo, Format: LogText}, c.Log)
	assert.Equal(t, Env{"PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": "UTC"}, c.Env)
	assert.Equal(t, builtin(), c.Defaults, "the example shows the built-in values")

	require.Len(t, c.Routes, 7)
	assert.Equal(t, &CGI{Program: "/usr/lib/git-core/git-http-backend", Args: []string{}}, c.Routes[0].CGI)
	assert.Equal(t, "1", c.Routes[0].Env["GIT_HTTP_EXPORT_ALL"])
	assert.Equal(t, &BasicAuth{Realm: "git", Htpasswd: "/etc/gateway/htpasswd"}, c.Routes[0].Auth.Basic)
	bin := c.Routes[1]
	assert.Equal(t, map[string]string{".pl": "/usr/bin/perl"}, bin.Interpreters)
	assert.Equal(t, &Limits{Memory: 512 * MiB, CPU: Duration(30 * time.Second), Processes: 64, Files: 256, FileSize: GiB},
		bin.Limits)
	assert.EqualValues(t, 33, bin.RunAs.UID)
	assert.Equal(t, "unix:/run/php/php-fpm.sock", c.Routes[2].PHP.FastCGI.Servers[0].String())
	assert.Equal(t, "app.default.svc:9000", c.Routes[4].FastCGI.DNS)
	assert.Equal(t, 4, c.Routes[5].FastCGI.Processes)
	assert.Equal(t, "/var/www/html", c.Routes[6].DocumentRoot)
}

func TestTheProbeConfigurationLoads(t *testing.T) {
	c, err := Load("testdata/probe.yaml", Options{})
	require.NoError(t, err)
	assert.Equal(t, AccessOff, c.Log.Access.Format)
	assert.Empty(t, c.TrustedProxies)
	assert.Equal(t, ModeSpawn, c.Routes[0].Mode)
	assert.Equal(t, ModeWarm, c.Routes[2].Mode)
	assert.Equal(t, Duration(10*time.Second), c.Routes[0].Timeout.FirstByte)
}

func TestARouteOverridesDefaultsValueByValue(t *testing.T) {
	// defaults stand last: where they stand does not matter.
	c := parse(t, `
listen: [{http: ":8080"}]
routes:
  - path: /a
    cgi: {program: a}
    timeout: {idle: 5s}
    queue: {length: 0}
    body: {max: 0}
    on_disconnect: kill
  - {path: /b, cgi: {program: b}}
defaults:
  mode: spawn
  timeout: {idle: 20s, first_byte: 30s}
  on_disconnect: finish
`)
	want := builtin()
	want.Mode = ModeSpawn
	want.Timeout.Idle, want.Timeout.FirstByte = Duration(20*time.Second), Duration(30*time.Second)
	want.OnDisconnect = DisconnectFinish
	assert.Equal(t, want, c.Defaults)
	assert.Equal(t, want, c.Routes[1].Settings)

	want.Timeout.Idle = Duration(5 * time.Second)
	want.Queue.Length, want.Body.Max, want.OnDisconnect = 0, 0, DisconnectKill
	assert.Equal(t, want, c.Routes[0].Settings)
}

func TestTheSmallestFileHasEveryDefault(t *testing.T) {
	c := parse(t, "listen: [{http: \":8080\"}]\nroutes: [{path: /, files: {root: www}}]\n")
	r := c.Routes[0]
	assert.Equal(t, builtin(), r.Settings)
	assert.Equal(t, AuthorizationHide, r.Authorization)
	assert.Equal(t, SymlinksInside, r.Symlinks)
	assert.Equal(t, &Files{Root: "/etc/gateway/www", Index: []string{"index.html"}}, r.Files)
	assert.Equal(t, "/etc/gateway/www", r.DocumentRoot)
	assert.Equal(t, Env{"PATH": basePath}, c.Env)
	assert.True(t, c.Admin.IsZero())
}

func TestAFastCGIDoorWithScriptsNeedsNoRoute(t *testing.T) {
	c := parse(t, "listen: [{fastcgi: \"unix:run/s\", scripts: [bin, /srv/cgi/], socket_mode: \"0600\"}]\n")
	assert.Equal(t, []string{"/etc/gateway/bin", "/srv/cgi"}, c.Listen[0].Scripts)
	assert.Equal(t, "/etc/gateway/run/s", c.Listen[0].FastCGI.Addr())
	assert.Equal(t, FileMode(0o600), c.Listen[0].SocketMode)
}

func TestRelativePathsAreRelativeToTheFile(t *testing.T) {
	c, err := Parse("/etc/gateway/gateway.yaml", []byte(`
listen:
  - {https: ":1", tls: {cert: c.pem, key: ../k.pem}}
  - http: systemd:web
admin: unix:admin.sock
document_root: htdocs
log: {access: {to: logs/access.log}}
routes:
  - path: /a/
    cgi: {dir: bin, index: [i.cgi]}
    auth: {basic: {htpasswd: users}}
    x_sendfile: [private, /srv/big]
    document_root: other
    interpreters: {.pl: /usr/bin/perl}
  - {path: /b, cgi: {program: ./b.cgi, args: [x]}}
  - {path: /c, files: {root: .}}
  - {path: /d, fastcgi: {program: d}}
  - {path: /e, php: {root: e, fastcgi: {servers: ["unix:e.sock", "tls:e:1"]}}}
`), Options{})
	require.NoError(t, err)
	assert.Equal(t, &DoorTLS{Cert: "/etc/gateway/c.pem", Key: "/etc/k.pem"}, c.Listen[0].TLS)
	assert.Equal(t, "systemd:web", c.Listen[1].HTTP.String())
	assert.Equal(t, "unix:/etc/gateway/admin.sock", c.Admin.Listen.String())
	assert.Equal(t, "/etc/gateway/htdocs", c.DocumentRoot)
	assert.Equal(t, "/etc/gateway/logs/access.log", c.Log.Access.To)
	a := c.Routes[0]
	assert.Equal(t, &CGI{Dir: "/etc/gateway/bin", Index: []string{"i.cgi"}}, a.CGI)
	assert.Equal(t, &BasicAuth{Realm: "restricted", Htpasswd: "/etc/gateway/users"}, a.Auth.Basic)
	assert.Equal(t, []string{"/etc/gateway/private", "/srv/big"}, a.XSendfile)
	assert.Equal(t, "/etc/gateway/other", a.DocumentRoot)
	assert.Equal(t, map[string]string{".pl": "/usr/bin/perl"}, a.Interpreters)
	assert.Equal(t, &CGI{Program: "/etc/gateway/b.cgi", Args: []string{"x"}}, c.Routes[1].CGI)
	assert.Equal(t, "/etc/gateway/htdocs", c.Routes[1].DocumentRoot)
	assert.Equal(t, "/etc/gateway", c.Routes[2].Files.Root)
	assert.Equal(t, "/etc/gateway/d", c.Routes[3].FastCGI.Program)
	assert.Equal(t, "/etc/gateway/e", c.Routes[4].PHP.Root)
	assert.Equal(t, "unix:/etc/gateway/e.sock", c.Routes[4].PHP.FastCGI.Servers[0].String())
	assert.Equal(t, Address{"tls", "e:1"}, c.Routes[4].PHP.FastCGI.Servers[1])
}

func TestVariablesAreTakenFromTheEnvironment(t *testing.T) {
	c := parse(t, `
listen:
  - http: ${HOST}:${PORT}
env:
  PLAIN: $HOST
  ESCAPED: "$${HOST} costs $$5"
  TWICE: ${HOST}${EMPTY}${HOST}
  BLOCK: |
    port ${PORT}
  SINGLE: '${PORT}'
max_processes: ${PORT}
routes: [{path: /, files: {root: "/srv/${PORT}/x"}, queue: {length: "${PORT}"}}]
`)
	assert.Equal(t, "127.0.0.1:8080", c.Listen[0].HTTP.Addr())
	assert.Equal(t, Env{
		"PATH": basePath, "PLAIN": "$HOST", "ESCAPED": "${HOST} costs $$5", "TWICE": "127.0.0.1127.0.0.1",
		"BLOCK": "port 8080\n", "SINGLE": "8080",
	}, c.Env)
	assert.Equal(t, 8080, c.MaxProcesses)
	assert.Equal(t, "/srv/8080/x", c.Routes[0].Files.Root)
	assert.Equal(t, 8080, c.Routes[0].Queue.Length)
}

func TestVariablesComeFromTheProcessByDefault(t *testing.T) {
	t.Setenv("GATEWAY_TEST_PORT", "81")
	c, err := Parse("f.yaml", []byte("listen: [{http: \":${GATEWAY_TEST_PORT}\"}]\nroutes: [{path: /, files: {root: a}}]\n"),
		Options{})
	require.NoError(t, err)
	assert.Equal(t, ":81", c.Listen[0].HTTP.Addr())
}

func TestEnvironmentValuesNeedNoQuotes(t *testing.T) {
	c := parse(t, `
listen: [{http: ":8080"}]
env: {A: 1, B: true, C: 007, D: 1.50, E: no, F: "", G: -3, PATH: /bin}
routes: [{path: /, files: {root: a}}]
`)
	assert.Equal(t, Env{"A": "1", "B": "true", "C": "007", "D": "1.50", "E": "no", "F": "", "G": "-3", "PATH": "/bin"}, c.Env)
}

func TestAnchorsStandForWhatTheyName(t *testing.T) {
	c := parse(t, `
listen: [{http: ":8080"}]
routes:
  - {path: /a, files: {root: a}, timeout: &slow {idle: 1h}, env: {A: &a x}}
  - {path: /b, files: {root: b}, timeout: *slow, env: {A: *a}}
`)
	assert.Equal(t, c.Routes[0].Timeout, c.Routes[1].Timeout)
	assert.Equal(t, Duration(time.Hour), c.Routes[1].Timeout.Idle)
	assert.Equal(t, "x", c.Routes[1].Env["A"])
}

func TestByteOrderMarkWindowsLinesAndDocumentMarksAreHarmless(t *testing.T) {
	c := parse(t, "\uFEFF%YAML 1.2\r\n---\r\nlisten: [{http: \":8080\"}]\r\nserver_admin: me\r\nroutes: [{path: /, files: {root: a}}]\r\n...\r\n")
	assert.Equal(t, "me", c.ServerAdmin)
}

func TestTrustedProxiesHoldNetworksAndUnixPeers(t *testing.T) {
	c := parse(t, `
listen: [{http: ":8080"}]
trusted_proxies: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32", "::ffff:198.51.100.1", unix]
routes: [{path: /, files: {root: a}}]
`)
	p := c.TrustedProxies
	for addr, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "192.0.2.1": true, "192.0.2.2": false, "2001:db8::5": true,
		"::ffff:10.0.0.1": true, "198.51.100.1": true, "::1": false,
	} {
		assert.Equal(t, want, p.Contains(netip.MustParseAddr(addr)), addr)
	}
	assert.True(t, p.ContainsUnix())
	assert.False(t, Prefixes{}.ContainsUnix())
	assert.False(t, Prefixes{{Unix: true}}.Contains(netip.Addr{}))
}

func TestSizesAndDurationsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"0", "1B", "1023B", "64KiB", "512MiB", "1GiB", "3TiB"} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)))
		assert.Equal(t, text, s.String())
	}
	for _, text := range []string{"0", "500ms", "30s", "5m", "1h", "1h30m", "1h0m5s"} {
		var d Duration
		require.NoError(t, d.UnmarshalText([]byte(text)))
		assert.Equal(t, text, d.String())
	}
}

func TestLogLevelsAreThoseOfSlog(t *testing.T) {
	assert.Equal(t, []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError},
		[]slog.Level{LogDebug.Slog(), LogInfo.Slog(), LogWarn.Slog(), LogError.Slog()})
}

func TestForDirServesTheFolderAndItsCgiBin(t *testing.T) {
	dir := t.TempDir()
	c, err := ForDir(dir)
	require.NoError(t, err)
	require.Len(t, c.Routes, 1)
	assert.Equal(t, "127.0.0.1:8080", c.Listen[0].HTTP.Addr())
	assert.Equal(t, Env{"PATH": "/usr/local/bin:/usr/bin:/bin"}, c.Env)
	root := c.Routes[0]
	assert.Equal(t, "/", root.Path)
	assert.Equal(t, &Files{
		Root:    dir,
		Index:   []string{"index.html", "index.cgi", "index.pl", "index.py"},
		Scripts: []string{".cgi", ".pl", ".py", ".rb", ".sh"},
	}, root.Files)
	assert.Equal(t, builtin(), root.Settings)
	assert.Equal(t, AuthorizationHide, root.Authorization)
	assert.Equal(t, dir, root.DocumentRoot)
	assert.Empty(t, c.CheckFiles())

	require.NoError(t, os.Mkdir(filepath.Join(dir, "cgi-bin"), 0o755))
	c, err = ForDir(dir)
	require.NoError(t, err)
	require.Len(t, c.Routes, 2)
	assert.Equal(t, "/cgi-bin/", c.Routes[1].Path)
	assert.Equal(t, &CGI{Dir: filepath.Join(dir, "cgi-bin")}, c.Routes[1].CGI)
}

func TestForDirRefusesWhatIsNoFolder(t *testing.T) {
	_, err := ForDir("load_test.go")
	require.EqualError(t, err, "cannot serve load_test.go: it is not a folder")
	_, err = ForDir("none")
	require.ErrorIs(t, err, os.ErrNotExist)
}
