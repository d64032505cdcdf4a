package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
)

// startFPM starts a php-fpm of the server's own, with a fixed number of children and
// Debian's php.ini, opcache included. It returns the path of its socket.
func (s *server) startFPM(t task) (string, error) {
	bin, err := findFPM()
	if err != nil {
		return "", err
	}
	run, err := s.folder(t)
	if err != nil {
		return "", err
	}
	sock, conf := filepath.Join(run, "fpm.sock"), filepath.Join(run, "fpm.conf")
	if err := writeFile(conf, `[global]
daemonize = no
error_log = @RUN@/fpm.log
[www]
@USER@
listen = @SOCK@
listen.mode = 0666
pm = static
pm.max_children = @CHILDREN@
`, "RUN", run, "SOCK", sock, "CHILDREN", strconv.Itoa(t.w.children), "USER", asRoot("user = nobody\ngroup = nogroup")); err != nil {
		return "", err
	}
	if err := s.start(bin, "--nodaemonize", "--fpm-config", conf); err != nil {
		return "", err
	}
	s.fpm = s.procs[len(s.procs)-1]
	return sock, nil
}

// findFPM finds php-fpm, whose name has its version.
func findFPM() (string, error) {
	names, _ := filepath.Glob("/usr/sbin/php-fpm[0-9]*")
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return find("php-fpm", "php-fpm")
}

// startPHP has a server started in front of a php-fpm of its own.
func startPHP(name string, start func(ctx context.Context, s *server, t task, sock string) error) starter {
	return func(ctx context.Context, t task) (*server, error) {
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		sock, err := s.startFPM(t)
		if err != nil {
			return s, err
		}
		return s, start(ctx, s, t, sock)
	}
}
