package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// nethttpRole makes the benchmark's own binary the net/http/cgi server.
const nethttpRole = "nethttp-server"

func startNetHTTP(_ context.Context, t task) (*server, error) {
	s, err := newServer("nethttp")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.version = runtime.Version()
	return s, s.start(self, nethttpRole, s.addr, t.w.path(), t.w.script())
}

func serveNetHTTP(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s wants ADDR PATH PROGRAM", nethttpRole)
	}
	return http.ListenAndServe(args[0], &cgi.Handler{Root: args[1], Path: args[2]})
}

func startLighttpd(_ context.Context, t task) (*server, error) {
	bin, err := find("lighttpd", "lighttpd")
	if err != nil {
		return nil, err
	}
	s, err := newServer("lighttpd")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "lighttpd.conf")
	if err := writeFile(conf, `server.bind = "127.0.0.1"
server.port = @PORT@
server.document-root = "@ROOT@"
server.modules = ("mod_cgi")
server.max-keep-alive-requests = 100000
$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }
`, "PORT", s.port(), "ROOT", filepath.Dir(t.w.dir)); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "-v")
	return s, s.start(bin, "-D", "-f", conf)
}

// wrappers are the processes of servers that have one for each script that runs.
const wrappers = 8

// startFcgiwrap is nginx in front of fcgiwrap.
func startFcgiwrap(_ context.Context, t task) (*server, error) {
	nginx, err := find("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	wrap, err := find("fcgiwrap", "fcgiwrap")
	if err != nil {
		return nil, err
	}
	s, err := newServer("fcgiwrap")
	if err != nil {
		return nil, err
	}
	sock := filepath.Join(t.dir, "fcgiwrap.sock")
	os.Remove(sock)
	if err := s.start(wrap, "-c", strconv.Itoa(wrappers), "-s", "unix:"+sock); err != nil {
		return nil, err
	}
	return s, s.startNginx(t, nginx, "", `    location /cgi-bin/ {
      fastcgi_pass unix:@SOCK@;
`+fastcgiParams+`    }
`, "SOCK", sock)
}

// startApache is mod_cgid with the event MPM.
func startApache(_ context.Context, t task) (*server, error) {
	bin, err := find("apache2", "apache2-bin")
	if err != nil {
		return nil, err
	}
	s, err := newServer("apache")
	if err != nil {
		return nil, err
	}
	return s, s.startApache(t, bin, "event", "alias cgid", `ScriptSock @RUN@/cgid.sock
ScriptAlias /cgi-bin/ @SCRIPTS@/
<Directory @SCRIPTS@>
  Require all granted
</Directory>
`)
}

// asRoot is a line that only root may have in a configuration.
func asRoot(line string) string {
	if os.Getuid() == 0 {
		return line
	}
	return ""
}
