package config

import (
	"path/filepath"
	"strings"

	"warmcgi/internal/confine"
)

// Sandbox keeps the processes of a route's scripts, and what they start, from the rest of the machine. sandbox: {} alone is
// no_new_privs. A part that the machine or the gateway can't have is an error of the configuration, never left out; gateway doctor says what the machine
// supports.
type Sandbox struct {
	// No program that is executed has more rights than the script, as setuid and setgid ones do: sudo, and many a sendmail, don't
	// work then. read and write need it. Default: true.
	NoNewPrivs bool `yaml:"no_new_privs"`

	// Files and folders that can be read and executed, with all that is in them. Once read or write is given, everything else is
	// out of reach (Landlock, Linux 5.13 or later; before 6.2 a file that its permissions let be written can still be cut short), but for what write
	// names, the script's own folder, and what belongs to the system: /bin, /etc, /lib, /opt, /proc, /sbin, /usr, /dev/null, /dev/urandom and the like.
	// /tmp is not among them: it goes with write, or with private_tmp. Names and sizes of files can still be seen, their times and
	// permissions changed, and Unix sockets be connected to, as permissions have it.
	Read []string `yaml:"read" path:"file"`

	// Files and folders that can be changed as well, as far as their permissions let the script's user.
	Write []string `yaml:"write" path:"file"`

	// Folder that is the root of the script's file system (chroot): the script, its interpreter and all that they need have to be in it, under
	// the names that they have there; paths in its variables are those inside, too. Root can leave it, so give the route a user. It needs root, and goes with mode
	// spawn, which auto then is; not with private_tmp.
	Chroot string `yaml:"chroot" path:"folder"`

	// Size of a /tmp and /var/tmp of the script's own, empty and in memory; each process of mode spawn has its own, workers share that of their
	// warm parent. What the script needs of the machine's one, its folder or what read and write name, is still there. It needs root. With 0 it is the machine's. Default: 0.
	PrivateTmp Size `yaml:"private_tmp"`

	// No network but a loopback of the script's own, which nobody else is on. Unix sockets that are files can still be reached. It needs root, and
	// in mode spawn costs some milliseconds for each request. Default: false.
	PrivateNetwork bool `yaml:"private_network"`

	// Files tells that read or write was given, even if empty.
	Files bool `yaml:"-"`
}

func (s *Sandbox) setDefaults(*Config) { s.NoNewPrivs = true }

// Confine is the sandbox as package confine has it.
func (s *Sandbox) Confine() *confine.Sandbox {
	if s == nil {
		return nil
	}
	return &confine.Sandbox{
		NoNewPrivs: s.NoNewPrivs, Files: s.Files, Read: s.Read, Write: s.Write,
		Root: s.Chroot, PrivateTmp: int64(s.PrivateTmp), PrivateNetwork: s.PrivateNetwork,
	}
}

// checkSandbox: what can't be had is said now, and not by each request.
func (d *decoder) checkSandbox(route string, r *Route) {
	key, s := route+".sandbox", r.Sandbox
	s.Files = d.src.has(key+".read") || d.src.has(key+".write")
	if s.Files && !s.NoNewPrivs {
		d.refuse(d.src.value(key+".no_new_privs", "must be true where there is read or write"))
	}
	if s.Chroot != "" {
		d.checkChroot(key+".chroot", r)
	}
	if !confine.Supported {
		return // which was said of the whole
	}
	if err := s.Confine().Possible(); err != nil {
		d.refuse(d.src.key(key, "%v", err))
	}
}

// checkChroot: everything that the route runs must be below its root.
func (d *decoder) checkChroot(key string, r *Route) {
	root := r.Sandbox.Chroot
	switch r.Mode {
	case ModeAuto:
		r.Mode = ModeSpawn // workers come back to the gateway by a socket outside
	case ModeSpawn:
	default:
		d.refuse(d.src.value(key, "goes with mode: spawn, or auto, not with %s", r.Mode))
	}
	if r.Sandbox.PrivateTmp > 0 {
		d.refuse(d.src.value(key, "does not go with private_tmp, which is the /tmp of the machine's root"))
	}
	runs := ""
	switch {
	case r.Files != nil:
		runs = r.Files.Root
	case r.CGI != nil && r.CGI.Dir != "":
		runs = r.CGI.Dir
	case r.CGI != nil:
		runs = r.CGI.Program
	}
	if rel, err := filepath.Rel(root, runs); runs != "" && (err != nil || rel == ".." || strings.HasPrefix(rel, "../")) {
		d.refuse(d.src.value(key, "must have in it what the route runs: %s", runs))
	}
	if r.User != UserOwner && confine.IsRoot(r.RunAs) {
		d.note(d.src.value(key, "does not hold root: give the route a user"))
	}
}
