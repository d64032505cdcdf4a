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
	const modules = "/usr/lib/apache2/modules"
	if _, err := os.Stat(modules + "/mod_perl.so"); err != nil {
		return nil, notInstalled{"mod_perl", "libapache2-mod-perl2"}
	}
	s, err := newServer("mod_perl")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "mod_perl.conf")
	if err := writeFile(conf, `ServerRoot DIR
ServerName localhost
Listen ADDR
PidFile DIR/mod_perl.pid
ErrorLog DIR/mod_perl.err
User nobody
Group nogroup
LoadModule mpm_prefork_module MODS/mod_mpm_prefork.so
LoadModule authz_core_module MODS/mod_authz_core.so
LoadModule alias_module MODS/mod_alias.so
LoadModule perl_module MODS/mod_perl.so
ServerLimit CHILDREN
StartServers CHILDREN
MaxRequestWorkers CHILDREN
MinSpareServers CHILDREN
MaxSpareServers CHILDREN
MaxConnectionsPerChild 0
MaxKeepAliveRequests 0
KeepAliveTimeout 30
PerlModule CGI
PerlModule ModPerl::Registry
Alias /cgi-bin/ SCRIPTS/
<Directory SCRIPTS>
  Require all granted
  Options +ExecCGI
  SetHandler perl-script
  PerlResponseHandler ModPerl::Registry
  PerlOptions +ParseHeaders
</Directory>
`, "DIR", t.dir, "ADDR", s.addr, "MODS", modules, "SCRIPTS", t.w.dir, "CHILDREN", strconv.Itoa(t.connections+1)); err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "-v") + ", mod_perl, " + versionOf("perl", "-e", "print $^V")
	return s, s.start(bin, "-D", "FOREGROUND", "-f", conf)
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
