package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/proctree"
)

// task is what a server is started for.
type task struct {
	dir         string // for its files
	w           *workload
	connections int // that will ask it at once
}

type starter func(ctx context.Context, t task) (*server, error)

// kind is one that can be measured.
type kind struct {
	name  string
	start starter
	// mode is that of the gateway. spawns: a peer with a process per request, which any
	// workload can be asked of. The other peers keep the script's own logic in memory.
	mode   cgi.Mode
	spawns bool
	class  class
	// asked: it has a turn only if it is named.
	asked bool
}

// kinds are in the order in which they take turns.
var kinds = []kind{
	{name: "warmcgi", start: startGateway("warmcgi", cgi.ModeSpawn), mode: cgi.ModeSpawn},
	{name: "warmcgi-warm", start: startGateway("warmcgi-warm", cgi.ModeWarm), mode: cgi.ModeWarm},
	{name: "warmcgi-reuse", start: startGateway("warmcgi-reuse", cgi.ModeReuse), mode: cgi.ModeReuse},
	{name: "warmcgi-host-warm", start: startHost("warmcgi-host-warm", cgi.ModeWarm), mode: cgi.ModeFastCGI, asked: true},
	{name: "warmcgi-host-reuse", start: startHost("warmcgi-host-reuse", cgi.ModeReuse), mode: cgi.ModeFastCGI, asked: true},
	{name: "nethttp", start: startNetHTTP, spawns: true},
	{name: "lighttpd", start: startLighttpd, spawns: true},
	{name: "fcgiwrap", start: startFcgiwrap, spawns: true},
	{name: "apache", start: startApache, spawns: true},
	{name: "uwsgi-cgi", start: startUWSGICGI, spawns: true},
	{name: "mod_perl", start: startModPerl},
	{name: "fcgi-loop", start: startFCGILoop},
	{name: "mod_fcgid", start: startModFcgid},
	{name: "starman", start: startStarman},
	{name: "gunicorn", start: startGunicorn},
	{name: "uwsgi", start: startUWSGI},
	{name: "puma", start: startPuma},
	{name: "warmcgi-php", start: startGatewayPHP("warmcgi-php", false), mode: cgi.ModeFastCGI, class: classPHP},
	{name: "warmcgi-php-max", start: startGatewayPHP("warmcgi-php-max", true), mode: cgi.ModeFastCGI, class: classPHP},
	{name: "nginx-fpm", start: startPHP("nginx-fpm", startNginxFPM), class: classPHP},
	{name: "nginx-fpm-keepalive", start: startPHP("nginx-fpm-keepalive", startNginxFPMKept), class: classPHP},
	{name: "caddy", start: startPHP("caddy", startCaddy), class: classPHP},
	{name: "apache-fpm", start: startPHP("apache-fpm", startApacheFPM), class: classPHP},
	{name: "door-http", start: startDoor("door-http", false), mode: cgi.ModeFastCGI, class: classDoor},
	{name: "door-fastcgi", start: startDoor("door-fastcgi", true), mode: cgi.ModeFastCGI, class: classDoor},
	{name: "door-http-nginx", start: startDoorBehindNginx("door-http-nginx", false), mode: cgi.ModeFastCGI, class: classDoor},
	{name: "door-fastcgi-nginx", start: startDoorBehindNginx("door-fastcgi-nginx", true), mode: cgi.ModeFastCGI, class: classDoor},
}

func serverNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// usualServers are those that have a turn without being named.
func usualServers() []string {
	var names []string
	for _, k := range kinds {
		if !k.asked {
			names = append(names, k.name)
		}
	}
	return names
}

func kindOf(name string) (kind, error) {
	for _, k := range kinds {
		if k.name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("no server %q; there are %s", name, strings.Join(serverNames(), ", "))
}

// serves reports whether a workload can be asked of it.
func (k kind) serves(w *workload) bool {
	switch {
	case k.class != w.class, w.modes != nil && !slices.Contains(w.modes, k.mode):
		return false
	case k.class != classCGI:
		return true
	case k.asked:
		return w.warm
	case k.mode == cgi.ModeWarm, k.mode == cgi.ModeReuse:
		return w.warm
	case k.mode == cgi.ModeSpawn, k.spawns:
		return true
	}
	return slices.Contains(w.residents, k.name)
}

// notInstalled names the Debian package that is missing.
type notInstalled struct{ program, pkg string }

func (e notInstalled) Error() string {
	return fmt.Sprintf("%s is not installed (apt-get install %s)", e.program, e.pkg)
}

// server is one that runs, with all its processes.
type server struct {
	name    string
	addr    string
	found   []string // addresses for it, of which it may not listen at some yet
	version string
	speaks  language // to its door
	procs   []*exec.Cmd
	fpm     *exec.Cmd        // one of procs: php-fpm, where there is one
	rest    int64            // resident memory of the others, before the load
	group   *proctree.Cgroup // nil where there are none to be had
	gateway *admin           // ours; nil is a peer
	output  *output
}

// output keeps the beginning of what a server prints, for the error message.
type output struct {
	mu sync.Mutex
	b  []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b[:min(len(b), 16<<10-len(o.b))]...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// find looks for a program where daemons are, too.
func find(program, pkg string) (string, error) {
	if p, err := exec.LookPath(program); err == nil {
		return p, nil
	}
	for _, d := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(d, program)); err == nil {
			return p, nil
		}
	}
	return "", notInstalled{program, pkg}
}

// findPerl looks for a module of Perl.
func findPerl(module, pkg string) error {
	if exec.Command("perl", "-M"+module, "-e1").Run() != nil {
		return notInstalled{module, pkg}
	}
	return nil
}

// freeAddr is one on loopback that nobody listens at, and another one each time.
func (s *server) freeAddr() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close() // at the end, so that it is not found twice here
		if addr := l.Addr().String(); !slices.Contains(s.found, addr) {
			s.found = append(s.found, addr)
			return addr, nil
		}
	}
}

func newServer(name string) (s *server, err error) {
	s = &server{name: name, output: &output{}, group: proctree.NewCgroup(name)}
	s.addr, err = s.freeAddr()
	return s, err
}

func (s *server) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// start adds a process, in a group of its own that dies with the benchmark.
func (s *server) start(program string, args ...string) error {
	c := exec.Command(program, args...)
	if s.group != nil {
		c = exec.Command("sh", append([]string{"-c", s.group.Enter() + `exec "$0" "$@"`, program}, args...)...)
	}
	c.Stdout, c.Stderr = s.output, s.output
	c.WaitDelay = time.Second // what it leaves behind may hold its output open
	ownGroup(c)
	if err := c.Start(); err != nil {
		s.stop()
		return err
	}
	s.procs = append(s.procs, c)
	return nil
}

// stop ends the process groups that were started (fcgiwrap leaves its children behind).
func (s *server) stop() {
	for _, c := range s.procs {
		syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
	}
	for _, c := range s.procs {
		t := time.AfterFunc(3*time.Second, func() { syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		c.Wait()
		t.Stop()
	}
	s.procs = nil
	if s.group != nil {
		s.group.Remove()
	}
}

// await waits until the server gives the right answer.
func (s *server) await(ctx context.Context, w *workload) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := s.once(w.probe())
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, errors.New(strings.TrimSpace(s.output.String())))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// versionOf is the first line that a program prints of itself.
func versionOf(program string, args ...string) string {
	b, _ := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// writeFile writes a configuration, with each @NAME@ in it replaced. pairs are names and
// what stands for them.
func writeFile(path, text string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, "@"+pairs[i]+"@", pairs[i+1])
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
