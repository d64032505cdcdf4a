package confine

import (
	"errors"
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What can be done to files and folders, as Landlock has it. That a Unix socket is connected to (version 9) is not among
// it: workers have to.
const (
	readAccess   = syscall.AccessFSExecute | syscall.AccessFSReadFile | syscall.AccessFSReadDir
	changeAccess = readAccess | syscall.AccessFSWriteFile | syscall.AccessFSRemoveDir | syscall.AccessFSRemoveFile |
		syscall.AccessFSMakeChar | syscall.AccessFSMakeDir | syscall.AccessFSMakeReg | syscall.AccessFSMakeSock |
		syscall.AccessFSMakeFifo | syscall.AccessFSMakeBlock | syscall.AccessFSMakeSym
	// Of files, which are no folders.
	fileAccess = syscall.AccessFSExecute | syscall.AccessFSReadFile | syscall.AccessFSWriteFile | syscall.AccessFSTruncate | syscall.AccessFSIoctlDev
)

// LandlockVersion is the kernel's (landlock(7)); 0 is none. From 3 on files can't be cut short that may not be written.
func LandlockVersion() int {
	v, _ := landlock()
	return v
}

// landlock is the version, or why there is none.
func landlock() (version int, err error) {
	version, err = syscall.LandlockGetABIVersion()
	switch err {
	case nil:
		return version, nil
	case unix.EPERM: // the kernel itself does not answer so
		return 0, errors.New("a filter of system calls keeps the gateway from Landlock, which read and write need (SystemCallFilter= of its unit, or its container's)")
	}
	return 0, errors.New("this kernel has no Landlock, which read and write need (Linux 5.13, and landlock among its security modules)")
}

// known is what the kernel's Landlock can keep from a process, of all that is in changeAccess.
func known(version int) uint64 {
	all := uint64(changeAccess)
	if version >= 2 {
		all |= syscall.AccessFSRefer // from one folder into another
	}
	if version >= 3 {
		all |= syscall.AccessFSTruncate
	}
	if version >= 5 {
		all |= syscall.AccessFSIoctlDev
	}
	return all
}

// A ruleset grows by what a process may do, where; the rest is kept from it.
type ruleset struct {
	fd  int
	all uint64
}

// restrict keeps all files from the calling thread, and from what it starts, but those of the sandbox and the place.
// Only this thread, as for the package's other rules: exec ends the others.
func (s *Sandbox) restrict(p Place) error {
	r := ruleset{all: known(LandlockVersion())}
	var err error
	if r.fd, err = syscall.LandlockCreateRuleset(&syscall.RulesetAttr{HandledAccessFS: r.all}, 0); err != nil {
		return os.NewSyscallError("landlock_create_ruleset", err)
	}
	defer unix.Close(r.fd)
	own := []string{p.Connect}
	if s.PrivateTmp > 0 {
		own = append(own, tmpFolders...)
	}
	for _, part := range []struct {
		paths  []string
		access uint64
		needed bool
	}{
		{systemPaths.read, readAccess, false},
		{systemPaths.write, r.all, false},
		{own, r.all, false},
		{p.Read, readAccess, true},
		{s.Read, readAccess, true},
		{s.Write, r.all, true},
	} {
		for _, path := range part.paths {
			if err := r.allow(path, part.access); err != nil && (part.needed || !os.IsNotExist(err)) {
				return err
			}
		}
	}
	return os.NewSyscallError("landlock_restrict_self", syscall.LandlockRestrictSelf(r.fd, 0))
}

// allow has a folder and all that is in it, or a file, be reached.
func (r *ruleset) allow(path string, access uint64) error {
	if path == "" {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= fileAccess
	}
	if err := syscall.LandlockAddPathBeneathRule(r.fd, &syscall.PathBeneathAttr{AllowedAccess: access & r.all, ParentFd: fd}, 0); err != nil {
		return fmt.Errorf("landlock_add_rule: %s: %w", path, err)
	}
	return nil
}
