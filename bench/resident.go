package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// The servers of this file keep a script's logic in processes that stay, as mode reuse
// does: with as many processes, where that has a meaning.

// processes is how many a script has in mode reuse.
func processes() int { return runtime.NumCPU() + 1 }

// startModPerl is Apache with mod_perl's Registry, which runs the very script. Its prefork
// MPM has a process per connection, so there must be that many; no more of them work at
// once than there are processors.
func startModPerl(_ context.Context, t task) (*server, error) {
	bin, err := find("apache2", "apache2-bin")
	if err != nil {
		return nil, err
	}
	if err := findApacheModule("perl", "libapache2-mod-perl2"); err != nil {
		return nil, err
	}
	s, err := newServer("mod_perl")
	if err != nil {
		return nil, err
	}
	if err := s.startApache(t, bin, "prefork", "alias perl", `ServerLimit @CHILDREN@
StartServers @CHILDREN@
MaxRequestWorkers @CHILDREN@
MinSpareServers @CHILDREN@
MaxSpareServers @CHILDREN@
MaxConnectionsPerChild 0
KeepAliveTimeout 30
PerlModule CGI
PerlModule ModPerl::Registry
Alias /cgi-bin/ @SCRIPTS@/
<Directory @SCRIPTS@>
  Require all granted
  Options +ExecCGI
  SetHandler perl-script
  PerlResponseHandler ModPerl::Registry
  PerlOptions +ParseHeaders
</Directory>
`, "CHILDREN", strconv.Itoa(t.connections+1)); err != nil {
		return s, err
	}
	s.version += ", mod_perl, " + versionOf("perl", "-e", "print $^V")
	return s, nil
}

// startGunicorn has the script's function in a WSGI application, with its default, the sync
// workers: one request at a time, as in mode reuse. They close the connection behind each
// answer.
func startGunicorn(_ context.Context, t task) (*server, error) {
	bin, err := find("gunicorn", "gunicorn")
	if err != nil {
		return nil, err
	}
	s, err := newServer("gunicorn")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(t.dir, "wsgi.py"), []byte(text("wsgi.py")), 0o644); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "--version") + ", sync workers: " + strconv.Itoa(processes())
	return s, s.start(bin, "--bind", s.addr, "--workers", strconv.Itoa(processes()), "--preload",
		"--chdir", t.dir, "--pythonpath", t.w.dir, "--env", "BENCH_SCRIPT="+strings.TrimSuffix(t.w.file, ".py"), "wsgi:application")
}

// startPuma has the script's function in a Rack application.
func startPuma(_ context.Context, t task) (*server, error) {
	bin, err := find("puma", "puma")
	if err != nil {
		return nil, err
	}
	s, err := newServer("puma")
	if err != nil {
		return nil, err
	}
	rackup := filepath.Join(t.dir, "config.ru")
	if err := os.WriteFile(rackup, []byte(text("config.ru")), 0o644); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "--version") + ", workers with one thread: " + strconv.Itoa(processes())
	return s, s.start("env", "BENCH_SCRIPT="+t.w.script(), "RACK_ENV=production",
		bin, "--quiet", "--bind", "tcp://"+s.addr, "--workers", strconv.Itoa(processes()), "--threads", "1:1", "--preload", rackup)
}
