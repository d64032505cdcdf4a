//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// cleanEnv is what servers are started with that pass their environment on to scripts.
var cleanEnv = []string{"PATH=" + scriptPath}

// startNginx runs nginx with the server blocks given. conf is asked for with the port
// that they have to listen at.
func startNginx(t *testing.T, dir string, conf func(port string) string) (url string) {
	t.Helper()
	needs(t, "nginx")
	run := filepath.Join(dir, "nginx")
	require.NoError(t, os.MkdirAll(run, 0o755))
	port := fmt.Sprint(freePort(t))
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the sockets and the scripts are root's
	}
	file := writeFile(t, filepath.Join(run, "nginx.conf"), fmt.Sprintf(`
daemon off;
%[1]s
worker_processes 2;
pid %[2]s/pid;
error_log %[2]s/error.log info;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path %[2]s/body;
    fastcgi_temp_path %[2]s/fastcgi;
    proxy_temp_path %[2]s/proxy;
    uwsgi_temp_path %[2]s/uwsgi;
    scgi_temp_path %[2]s/scgi;
    include /etc/nginx/mime.types;
%[3]s
}
`, user, run, conf(port)), 0o644)
	// Names in the configuration are relative to the folder it lies in.
	b, err := os.ReadFile("/etc/nginx/fastcgi_params")
	require.NoError(t, err)
	writeFile(t, filepath.Join(run, "fastcgi_params"), string(b), 0o644)
	s := startServer(t, "nginx", exec.Command("/usr/sbin/nginx", "-p", run, "-c", file, "-e", filepath.Join(run, "error.log")))
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(run, "error.log"))
			t.Logf("nginx's error log:\n%s", b)
		}
	})
	s.awaitDial(t, "tcp", "127.0.0.1:"+port)
	return "http://127.0.0.1:" + port
}

// startFcgiwrap runs fcgiwrap at a socket.
func startFcgiwrap(t *testing.T, dir string) (socket string) {
	t.Helper()
	needs(t, "fcgiwrap")
	socket = filepath.Join(dir, "fcgiwrap.sock")
	cmd := exec.Command("/usr/sbin/fcgiwrap", "-c", "4", "-s", "unix:"+socket)
	cmd.Env = cleanEnv
	s := startServer(t, "fcgiwrap", cmd)
	s.hard = true
	s.awaitDial(t, "unix", socket)
	return socket
}

// apacheModules are those that the tests' configurations name.
var apacheModules = []string{"mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "alias", "autoindex", "env",
	"mime", "dir", "headers", "cgid", "proxy", "proxy_fcgi", "proxy_http"}

// startApache runs Apache httpd with a configuration. Run by root it takes the
// identity of www-data, as on Debian: it refuses to stay root.
func startApache(t *testing.T, dir string, conf string) (url string) {
	t.Helper()
	needs(t, "apache2")
	run := filepath.Join(dir, "apache")
	require.NoError(t, os.MkdirAll(run, 0o755))
	port := fmt.Sprint(freePort(t))
	text := fmt.Sprintf("ServerRoot %[1]s\nPidFile %[1]s/pid\nErrorLog %[1]s/error.log\nLogLevel info\nKeepAliveTimeout 1\nListen 127.0.0.1:%[2]s\nServerName 127.0.0.1:%[2]s\n", run, port)
	if os.Getuid() == 0 {
		text += "User www-data\nGroup www-data\n"
	}
	for _, m := range apacheModules {
		text += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
	}
	text += "TypesConfig /etc/mime.types\nScriptSock " + run + "/cgid.sock\n" + conf
	file := writeFile(t, filepath.Join(run, "httpd.conf"), text, 0o644)
	cmd := exec.Command("/usr/sbin/apache2", "-D", "FOREGROUND", "-f", file)
	cmd.Env = cleanEnv
	s := startServer(t, "Apache", cmd)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(run, "error.log"))
			t.Logf("Apache's error log:\n%s", b)
		}
	})
	s.awaitDial(t, "tcp", "127.0.0.1:"+port)
	return "http://127.0.0.1:" + port
}

// startLighttpd runs lighttpd with a configuration.
func startLighttpd(t *testing.T, dir, conf string) (url string) {
	t.Helper()
	needs(t, "lighttpd")
	run := filepath.Join(dir, "lighttpd")
	require.NoError(t, os.MkdirAll(run, 0o755))
	port := fmt.Sprint(freePort(t))
	file := writeFile(t, filepath.Join(run, "lighttpd.conf"), fmt.Sprintf(
		"server.document-root = %q\nserver.bind = \"127.0.0.1\"\nserver.port = %s\nserver.errorlog = %q\nserver.upload-dirs = (%q)\n"+
			"server.http-parseopts = (\"url-ctrls-reject\" => \"disable\")\n%s", // it refuses forms with line ends in them
		run, port, filepath.Join(run, "error.log"), run, conf), 0o644)
	s := startServer(t, "lighttpd", exec.Command("/usr/sbin/lighttpd", "-D", "-f", file))
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(run, "error.log"))
			t.Logf("lighttpd's error log:\n%s", b)
		}
	})
	s.awaitDial(t, "tcp", "127.0.0.1:"+port)
	return "http://127.0.0.1:" + port
}
