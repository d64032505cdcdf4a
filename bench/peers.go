package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"runtime"
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
server.port = PORT
server.document-root = "ROOT"
server.modules = ("mod_cgi")
server.max-keep-alive-requests = 100000
$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }
`, "PORT", s.port(), "ROOT", filepath.Dir(t.w.dir)); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "-v")
	return s, s.start(bin, "-D", "-f", conf)
}

// startFcgiwrap is nginx in front of fcgiwrap with eight processes.
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
	if err := s.start(wrap, "-c", "8", "-s", "unix:"+sock); err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "nginx.conf")
	if err := writeFile(conf, `daemon off;
USER
worker_processes 2;
pid DIR/nginx.pid;
error_log DIR/nginx.err;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
  keepalive_requests 100000;
  server {
    listen ADDR;
    location /cgi-bin/ {
      fastcgi_pass unix:SOCK;
      fastcgi_param SCRIPT_FILENAME ROOT$fastcgi_script_name;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param SCRIPT_NAME $fastcgi_script_name;
      fastcgi_param REQUEST_URI $request_uri;
      fastcgi_param DOCUMENT_ROOT ROOT;
      fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param SERVER_NAME $server_name;
      fastcgi_param SERVER_PORT $server_port;
    }
  }
}
`, "DIR", t.dir, "ADDR", s.addr, "SOCK", sock, "ROOT", filepath.Dir(t.w.dir), "USER", asRoot("user root;")); err != nil {
		return nil, err
	}
	s.version = versionOf(nginx, "-v")
	return s, s.start(nginx, "-c", conf, "-p", t.dir)
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
	conf := filepath.Join(t.dir, "apache.conf")
	if err := writeFile(conf, `ServerRoot DIR
ServerName localhost
Listen ADDR
PidFile DIR/apache.pid
ErrorLog DIR/apache.err
User nobody
Group nogroup
LoadModule mpm_event_module MODS/mod_mpm_event.so
LoadModule authz_core_module MODS/mod_authz_core.so
LoadModule alias_module MODS/mod_alias.so
LoadModule cgid_module MODS/mod_cgid.so
ScriptSock DIR/cgid.sock
MaxKeepAliveRequests 0
ScriptAlias /cgi-bin/ CGI/
<Directory CGI>
  Require all granted
</Directory>
`, "DIR", t.dir, "ADDR", s.addr, "MODS", "/usr/lib/apache2/modules", "CGI", t.w.dir); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "-v")
	return s, s.start(bin, "-D", "FOREGROUND", "-f", conf)
}

// asRoot is a line that only root may have in a configuration.
func asRoot(line string) string {
	if os.Getuid() == 0 {
		return line
	}
	return ""
}
