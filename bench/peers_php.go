package main

import (
	"context"
	"path/filepath"
)

// The servers of this file are in front of php-fpm, as the gateway is with a `php:` route.

// phpLocation is that of Debian's snippets/fastcgi-php.conf, which looks whether the
// script is there.
func phpLocation(pass string) string {
	return `    root @ROOT@;
    location ~ \.php$ {
      try_files $fastcgi_script_name =404;
` + fastcgiParams + "      " + pass + `
    }
`
}

// startNginxFPM makes a connection for each request, as nginx does if it is told no more.
func startNginxFPM(_ context.Context, s *server, t task, sock string) error {
	bin, err := find("nginx", "nginx-light")
	if err != nil {
		return err
	}
	return s.startNginx(t, bin, "", phpLocation("fastcgi_pass unix:@SOCK@;"), "SOCK", sock)
}

// startNginxFPMKept keeps connections, at most 16 in each of its processes.
func startNginxFPMKept(_ context.Context, s *server, t task, sock string) error {
	bin, err := find("nginx", "nginx-light")
	if err != nil {
		return err
	}
	return s.startNginx(t, bin, "  upstream fpm { server unix:@SOCK@; keepalive 16; }\n",
		phpLocation("fastcgi_pass fpm; fastcgi_keep_conn on;"), "SOCK", sock)
}

// startCaddy is Caddy with its php_fastcgi directive.
func startCaddy(_ context.Context, s *server, t task, sock string) error {
	bin, err := find("caddy", "caddy")
	if err != nil {
		return err
	}
	run, err := s.folder(t)
	if err != nil {
		return err
	}
	conf := filepath.Join(run, "Caddyfile")
	if err := writeFile(conf, `{
	admin off
}
http://:@PORT@ {
	bind 127.0.0.1
	root * @ROOT@
	php_fastcgi unix/@SOCK@
}
`, "PORT", s.port(), "ROOT", filepath.Dir(t.w.dir), "SOCK", sock); err != nil {
		return err
	}
	s.version = "Caddy " + versionOf(bin, "version")
	return s.start("env", "HOME="+run, "XDG_DATA_HOME="+run, "XDG_CONFIG_HOME="+run, bin, "run", "--config", conf, "--adapter", "caddyfile")
}

// startApacheFPM is Apache with mod_proxy_fcgi and the event MPM.
func startApacheFPM(_ context.Context, s *server, t task, sock string) error {
	bin, err := find("apache2", "apache2-bin")
	if err != nil {
		return err
	}
	return s.startApache(t, bin, "event", "alias proxy proxy_fcgi", `Alias /cgi-bin/ @SCRIPTS@/
<Directory @SCRIPTS@>
  Require all granted
</Directory>
<FilesMatch "\.php$">
  SetHandler "proxy:unix:@SOCK@|fcgi://localhost"
</FilesMatch>
`, "SOCK", sock)
}
