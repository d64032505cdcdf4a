package confine

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoSandbox: the machine, or what the gateway may do on it, has no place for a sandbox.
var ErrNoSandbox = errors.New("no sandbox")

// A Sandbox keeps a script's processes, and what they start, from the rest of the machine.
// The nil pointer is none.
type Sandbox struct {
	// NoNewPrivs: no program that is executed gives more rights than there are, as setuid
	// ones do (PR_SET_NO_NEW_PRIVS).
	NoNewPrivs bool
	// Files: of the file system there is only what Read and Write name, what belongs to the
	// system (see systemPaths), and the folder of the script (landlock(7)).
	Files bool
	// Read are files and folders that can be read and executed; those of Write can be changed, too.
	Read, Write []string
	// PrivateTmp, in octets, is the size of a /tmp and /var/tmp of the process's own, in memory;
	// 0 is the machine's. Workers share that of their warm parent.
	PrivateTmp int64
	// Root is the folder that is the process's root; "" is the machine's (chroot(2)).
	Root string
	// PrivateNetwork: there is no network but a loopback of its own.
	PrivateNetwork bool
}

// A Place is what a sandboxed process needs of the file system to be what it is.
type Place struct {
	// Read are files and folders, Connect the folder of the socket that it connects to,
	// which is its own. Those that are "" are none.
	Read    []string
	Connect string
}

// Sandboxed reports whether there is a sandbox.
func (r *Rules) Sandboxed() bool { return r != nil && r.Sandbox != nil }

// NeedShim reports whether only the shim can start a process under the rules: fork has no place for limits, nor
// for a sandbox.
func (r *Rules) NeedShim() bool { return r.Limited() || r.Sandboxed() }

// String lists the parts, as the configuration has them.
func (s *Sandbox) String() string {
	var words []string
	if s.NoNewPrivs {
		words = append(words, "no_new_privs")
	}
	if s.Files {
		words = append(words, "read ["+strings.Join(s.Read, " ")+"]", "write ["+strings.Join(s.Write, " ")+"]")
	}
	if s.Root != "" {
		words = append(words, "chroot "+s.Root)
	}
	if s.PrivateTmp > 0 {
		words = append(words, "private_tmp "+octets(s.PrivateTmp))
	}
	if s.PrivateNetwork {
		words = append(words, "private_network")
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// A Feature is a part of a sandbox, by the names of the configuration, and why this machine has it not; nil is that it has.
type Feature struct {
	Name string
	Why  error
	// Detail says more of one that is there, or is "".
	Detail string
}

// Features are what a sandbox can have here.
func Features() []Feature {
	files := Feature{Name: "read and write", Why: (&Sandbox{Files: true}).Possible()}
	if v := LandlockVersion(); v > 0 {
		files.Detail = fmt.Sprintf("Landlock %d", v)
		if v < 3 {
			files.Detail += ": files that permissions let be written can be cut short"
		}
	}
	return []Feature{
		{Name: "no_new_privs", Why: (&Sandbox{NoNewPrivs: true}).Possible()},
		files,
		{Name: "private_tmp", Why: (&Sandbox{PrivateTmp: 1}).Possible()},
		{Name: "chroot", Why: (&Sandbox{Root: "/"}).Possible()},
		{Name: "private_network", Why: (&Sandbox{PrivateNetwork: true}).Possible()},
	}
}

// Root is that of the rules' sandbox, or "".
func (r *Rules) Root() string {
	if !r.Sandboxed() {
		return ""
	}
	return r.Sandbox.Root
}

// Inside is what a path is for a process under the rules. One outside of its root is the root.
func (r *Rules) Inside(path string) string {
	root := r.Root()
	switch {
	case root == "" || path == "":
		return path
	case !within(root, path):
		return "/"
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
}

// tmpFolders are what PrivateTmp has of its own.
var tmpFolders = []string{"/tmp", "/var/tmp"}

// systemPaths are what programs and interpreters take for granted: their own files, devices without a machine behind them,
// and what the kernel says of the process. Not all of it is on each machine. None of it has the data of sites or people.
var systemPaths = struct{ read, write []string }{
	read: []string{
		"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/opt", "/etc", "/proc",
		"/sys/devices/system/cpu",
		"/var/lib/gems", "/run/systemd/resolve", "/run/resolvconf",
		"/dev/random", "/dev/urandom",
	},
	write: []string{"/dev/null", "/dev/zero", "/dev/full"},
}
