package main

import (
	"os"
	"path/filepath"
)

// fastcgiParams are those of nginx's own fastcgi_params, and the script.
const fastcgiParams = `      fastcgi_param SCRIPT_FILENAME @ROOT@$fastcgi_script_name;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param SCRIPT_NAME $fastcgi_script_name;
      fastcgi_param REQUEST_URI $request_uri;
      fastcgi_param DOCUMENT_URI $document_uri;
      fastcgi_param DOCUMENT_ROOT @ROOT@;
      fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param REQUEST_SCHEME $scheme;
      fastcgi_param HTTPS $https if_not_empty;
      fastcgi_param GATEWAY_INTERFACE CGI/1.1;
      fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param REMOTE_PORT $remote_port;
      fastcgi_param SERVER_ADDR $server_addr;
      fastcgi_param SERVER_PORT $server_port;
      fastcgi_param SERVER_NAME $server_name;
      fastcgi_param REDIRECT_STATUS 200;
`

// startNginx starts nginx with two processes, one per processor of the machine that the
// goals are for. All else is as it comes, but for the access log, which nobody else
// writes, and requests per connection. http and locations are the configuration's own.
func (s *server) startNginx(t task, bin, http, locations string, pairs ...string) error {
	run, err := s.folder(t)
	if err != nil {
		return err
	}
	conf := filepath.Join(run, "nginx.conf")
	if err := writeFile(conf, `daemon off;
@USER@
worker_processes 2;
pid @RUN@/nginx.pid;
error_log @RUN@/nginx.err;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path @RUN@/t1; proxy_temp_path @RUN@/t2; fastcgi_temp_path @RUN@/t3; uwsgi_temp_path @RUN@/t4; scgi_temp_path @RUN@/t5;
  keepalive_requests 10000000;
  client_max_body_size 1g;
`+http+`  server {
    listen @ADDR@;
`+locations+`  }
}
`, append(pairs, "RUN", run, "ADDR", s.addr, "ROOT", filepath.Dir(t.w.dir), "USER", asRoot("user root;"))...); err != nil {
		return err
	}
	s.version = versionOf(bin, "-v")
	return s.start(bin, "-c", conf, "-p", run)
}

// folder is the server's own.
func (s *server) folder(t task) (string, error) {
	dir := filepath.Join(t.dir, s.name+"-"+t.w.name)
	return dir, os.MkdirAll(dir, 0o755)
}
