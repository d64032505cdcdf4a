package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
)

// testFile writes a file of testdata to a server's own folder.
func (s *server) testFile(t task, name string) (string, error) {
	run, err := s.folder(t)
	if err != nil {
		return "", err
	}
	file := filepath.Join(run, name)
	return file, os.WriteFile(file, []byte(text(name)), 0o755)
}

// startFCGILoop is nginx in front of the script's body in a loop of FCGI.pm, with as many
// processes as mode reuse has.
func startFCGILoop(_ context.Context, t task) (*server, error) {
	nginx, err := find("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	if err := findPerl("FCGI", "libfcgi-perl"); err != nil {
		return nil, err
	}
	s, err := newServer("fcgi-loop")
	if err != nil {
		return nil, err
	}
	loop, err := s.testFile(t, "loop.pl")
	if err != nil {
		return nil, err
	}
	sock := filepath.Join(filepath.Dir(loop), "loop.sock")
	if err := s.start("perl", loop, t.w.script(), sock, strconv.Itoa(processes())); err != nil {
		return s, err
	}
	err = s.startNginx(t, nginx, "", `    location /cgi-bin/ {
      fastcgi_pass unix:@SOCK@;
`+fastcgiParams+`    }
`, "SOCK", sock)
	s.version += ", FCGI.pm, processes: " + strconv.Itoa(processes())
	return s, err
}

// startModFcgid is Apache with mod_fcgid, which starts the same loop itself. It starts its
// processes one by one as requests come.
func startModFcgid(_ context.Context, t task) (*server, error) {
	bin, err := find("apache2", "apache2-bin")
	if err != nil {
		return nil, err
	}
	if err := findApacheModule("fcgid", "libapache2-mod-fcgid"); err != nil {
		return nil, err
	}
	if err := findPerl("FCGI", "libfcgi-perl"); err != nil {
		return nil, err
	}
	s, err := newServer("mod_fcgid")
	if err != nil {
		return nil, err
	}
	loop, err := s.testFile(t, "loop.pl")
	if err != nil {
		return nil, err
	}
	ipc := filepath.Join(filepath.Dir(loop), "ipc") // which is written to by the user that it becomes
	if err := os.MkdirAll(ipc, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(ipc, 0o777); err != nil {
		return nil, err
	}
	err = s.startApache(t, bin, "event", "alias fcgid", `FcgidIPCDir @IPC@
FcgidProcessTableFile @IPC@/fcgid_shm
FcgidMinProcessesPerClass @PROCESSES@
FcgidMaxProcessesPerClass @PROCESSES@
FcgidMaxRequestLen 1073741824
FcgidWrapper "/usr/bin/perl @LOOP@ @SCRIPT@" .pl virtual
Alias /cgi-bin/ @SCRIPTS@/
<Directory @SCRIPTS@>
  Require all granted
  Options +ExecCGI
  SetHandler fcgid-script
</Directory>
`, "IPC", ipc, "LOOP", loop, "SCRIPT", t.w.script(), "PROCESSES", strconv.Itoa(processes()))
	s.version += ", mod_fcgid, FCGI.pm, processes: " + strconv.Itoa(processes())
	return s, err
}

// startStarman has the very script in a PSGI application. Its workers serve one connection at
// a time, so kept ones of more clients than workers would starve: it closes them.
func startStarman(_ context.Context, t task) (*server, error) {
	bin, err := find("starman", "starman")
	if err != nil {
		return nil, err
	}
	if err := findPerl("Plack::App::WrapCGI", "libplack-perl"); err != nil {
		return nil, err
	}
	if err := findPerl("CGI::Compile", "libcgi-compile-perl"); err != nil {
		return nil, err
	}
	if err := findPerl("CGI::Emulate::PSGI", "libcgi-emulate-psgi-perl"); err != nil {
		return nil, err
	}
	s, err := newServer("starman")
	if err != nil {
		return nil, err
	}
	app, err := s.testFile(t, "script.psgi")
	if err != nil {
		return nil, err
	}
	s.version = versionOf(bin, "--version") + ", workers: " + strconv.Itoa(processes())
	return s, s.start("env", "BENCH_SCRIPT="+t.w.script(), "PLACK_ENV=deployment",
		bin, "--listen", s.addr, "--workers", strconv.Itoa(processes()), "--preload-app", "--disable-keepalive", app)
}
