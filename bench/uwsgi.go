package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const uwsgiPlugins = "/usr/lib/uwsgi/plugins"

// newUWSGI finds uWSGI with a plugin of it, and has its own door answer HTTP: it closes the
// connection behind each answer, and is told to say so.
func newUWSGI(name, plugin, pkg string) (s *server, bin string, err error) {
	if bin, err = find("uwsgi", "uwsgi-core"); err != nil {
		return nil, "", err
	}
	if _, err := os.Stat(filepath.Join(uwsgiPlugins, plugin+"_plugin.so")); err != nil {
		return nil, "", notInstalled{"uWSGI's plugin " + plugin, pkg}
	}
	s, err = newServer(name)
	if err == nil {
		s.version = "uWSGI " + versionOf(bin, "--version")
	}
	return s, bin, err
}

// startUWSGI has the script's function in a WSGI application, with as many processes as mode
// reuse has.
func startUWSGI(_ context.Context, t task) (*server, error) {
	s, bin, err := newUWSGI("uwsgi", "python3", "uwsgi-plugin-python3")
	if err != nil {
		return nil, err
	}
	app, err := s.testFile(t, "wsgi.py")
	if err != nil {
		return nil, err
	}
	s.version += ", processes: " + strconv.Itoa(processes())
	return s, s.start("env", "BENCH_SCRIPT="+strings.TrimSuffix(t.w.file, ".py"), bin, "--http-socket", s.addr, "--plugin", "python3",
		"--master", "--processes", strconv.Itoa(processes()), "--pythonpath", t.w.dir, "--wsgi-file", app, "--need-app", "--disable-logging", "--die-on-term", "--add-header", "Connection: close")
}

// startUWSGICGI is its CGI plugin, with as many processes as fcgiwrap has: each waits for the
// script that it has started.
func startUWSGICGI(_ context.Context, t task) (*server, error) {
	s, bin, err := newUWSGI("uwsgi-cgi", "cgi", "uwsgi-core")
	if err != nil {
		return nil, err
	}
	s.version += ", processes: " + strconv.Itoa(wrappers)
	return s, s.start(bin, "--http-socket", s.addr, "--http-socket-modifier1", "9", "--plugin", "cgi", "--cgi", "/cgi-bin="+t.w.dir,
		"--master", "--processes", strconv.Itoa(wrappers), "--disable-logging", "--die-on-term", "--add-header", "Connection: close")
}
