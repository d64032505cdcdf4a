package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A place is a group of the tree of version 2.
type place struct{ dir string }

// own finds the group that the gateway may make others in: its own, or the one above, where an earlier process of it has
// moved to a group of its own.
func own() (place, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return place{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return place{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dir, err := find(string(text), string(mounts))
	if err != nil {
		return place{}, err
	}
	if filepath.Base(dir) == leaf {
		dir = filepath.Dir(dir)
	}
	return place{dir}, nil
}

// look finds where groups can be made, and why limits can't be kept there, by their names; those that can be are left out.
func look() (place, map[string]error) {
	p, err := own()
	if err == nil {
		err = p.writable()
	}
	if err == nil {
		err = canBegin()
	}
	var there []string
	if err == nil {
		if there, err = p.read("cgroup.controllers"); err != nil {
			err = p.unavailable(err)
		}
	}
	lacks := map[string]error{}
	for limit, controller := range controllers {
		switch {
		case err != nil:
			lacks[limit] = err
		case !slices.Contains(there, controller):
			lacks[limit] = fmt.Errorf("%w: %s has no %s controller (is it one of version 1, or not handed over?)", ErrUnavailable, p.dir, controller)
		}
	}
	return p, lacks
}

// find reads /proc/self/cgroup and /proc/self/mountinfo, see cgroups(7) and proc(5).
func find(groups, mounts string) (string, error) {
	path := ""
	for line := range strings.Lines(groups) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path = p
		}
	}
	if path == "" {
		return "", fmt.Errorf("%w: the kernel has none of version 2", ErrUnavailable)
	}
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || strings.Fields(after)[0] != "cgroup2" {
			continue
		}
		// A mount can be of a part of the tree, as in a container.
		root, at := unescape(fields[3]), unescape(fields[4])
		if rel, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/")); ok && (rel == "" || rel[0] == '/') {
			return filepath.Join(at, rel), nil
		}
	}
	return "", fmt.Errorf("%w: those of version 2 are not mounted here", ErrUnavailable)
}

// unescape takes back what proc(5) writes for spaces and the like.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// read is one of the group's files, as words.
func (p place) read(name string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	return strings.Fields(string(b)), err
}

func (p place) write(name, text string) error {
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (p place) below(name string) place { return place{filepath.Join(p.dir, name)} }

// writable reports whether groups can be made here.
func (p place) writable() error {
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := unix.Access(filepath.Join(p.dir, name), unix.W_OK); err != nil {
			return fmt.Errorf("%w: %s can't be written: %w (systemd gives it with Delegate=yes and ProtectControlGroups=no)", ErrUnavailable, filepath.Join(p.dir, name), err)
		}
	}
	return nil
}

// canBegin: the kernel can start a process in a group (clone3(2), CLONE_INTO_CGROUP, Linux 5.7). It is asked with a
// descriptor that is none, so that no process can come of it.
func canBegin() error {
	type args struct{ flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64 }
	a := args{flags: unix.CLONE_INTO_CGROUP, exitSignal: uint64(unix.SIGCHLD), cgroup: math.MaxInt32}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a), 0)
	if errno == unix.EBADF {
		return nil
	}
	return fmt.Errorf("%w: processes can't be started in one (clone3, Linux 5.7; systemd has it with RestrictNamespaces=no): %w", ErrUnavailable, errno)
}

// Possible tells why limits can't be kept here, by their names, as far as can be seen beforehand. It changes nothing.
func Possible() map[string]error {
	_, lacks := look()
	return lacks
}
