package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Possible says what keeps the machine from having such a sandbox; it is an [ErrNoSandbox].
func (s *Sandbox) Possible() error {
	if s.Files {
		if _, err := landlock(); err != nil {
			return fmt.Errorf("%w: %w", ErrNoSandbox, err)
		}
	}
	if s.Root != "" && !has(unix.CAP_SYS_CHROOT) {
		return fmt.Errorf("%w: chroot needs a gateway that is root, with CAP_SYS_CHROOT", ErrNoSandbox)
	}
	if (s.PrivateTmp > 0 || s.PrivateNetwork) && !has(unix.CAP_SYS_ADMIN) {
		return fmt.Errorf("%w: private_tmp and private_network need a gateway that is root, with CAP_SYS_ADMIN", ErrNoSandbox)
	}
	return nil
}

// Enter puts the calling thread, which must be locked and is going to execute or fork, into the sandbox.
// It comes before the change of user, which may not make namespaces.
func (s *Sandbox) Enter(p Place) error {
	if s == nil {
		return nil
	}
	if s.PrivateNetwork {
		if err := privateNetwork(); err != nil {
			return fmt.Errorf("sandbox: private_network: %w", err)
		}
	}
	if s.PrivateTmp > 0 {
		if err := s.privateTmp(p); err != nil {
			return fmt.Errorf("sandbox: private_tmp: %w", err)
		}
	}
	if s.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("sandbox: no_new_privs: %w", err)
		}
	}
	if s.Files {
		if err := s.restrict(p); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	if s.Root != "" { // last, as what was named until here is outside
		if err := unix.Chroot(s.Root); err != nil {
			return fmt.Errorf("sandbox: chroot: %s: %w", s.Root, err)
		}
		if err := unix.Chdir("/"); err != nil {
			return fmt.Errorf("sandbox: chroot: %w", err)
		}
	}
	return nil
}

// privateNetwork leaves the network, for one with nothing but a loopback that is up.
func privateNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// privateTmp mounts an empty folder over each of tmpFolders, for this thread and what it executes. What the process needs
// of the old one shows through.
func (s *Sandbox) privateTmp(p Place) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// What the machine mounts from now on is seen here, but not the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &os.PathError{Op: "mount", Path: "/", Err: err}
	}
	covered := map[string]bool{}
	for _, folder := range tmpFolders {
		real, err := filepath.EvalSymlinks(folder)
		if err != nil || covered[real] {
			continue // no such folder, or another name of the first
		}
		covered[real] = true
		if err := s.cover(real, p); err != nil {
			return err
		}
	}
	return nil
}

// cover mounts a new folder over one, and in it what the process needs of the old one.
func (s *Sandbox) cover(folder string, p Place) error {
	var all []kept
	keep := slices.Concat(p.Read, []string{p.Connect}, s.Read, s.Write)
	defer func() {
		for _, k := range all {
			unix.Close(k.fd)
		}
	}()
	slices.Sort(keep) // a folder before what is in it
	for _, path := range slices.Compact(keep) {
		if path == "" || !within(folder, path) {
			continue
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		k := kept{path, fd, st.Mode&unix.S_IFMT == unix.S_IFDIR, s.Files && !s.written(path, p)}
		if slices.ContainsFunc(all, func(in kept) bool { return in.readOnly == k.readOnly && within(in.path, path) }) {
			unix.Close(fd)
			continue
		}
		all = append(all, k)
	}
	// Each file costs memory, too, even if it is empty.
	data := fmt.Sprintf("mode=1777,size=%d,nr_inodes=%d", s.PrivateTmp, max(1024, s.PrivateTmp/4096))
	if err := unix.Mount("tmpfs", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return &os.PathError{Op: "mount", Path: folder, Err: err}
	}
	for _, k := range all {
		if err := k.mount(); err != nil {
			return err
		}
	}
	return nil
}

// written reports whether a path is, or is in, what can be changed.
func (s *Sandbox) written(path string, p Place) bool {
	return slices.ContainsFunc(append(s.Write[:len(s.Write):len(s.Write)], p.Connect), func(w string) bool { return w != "" && within(w, path) })
}

// kept is a file or folder that is mounted over itself.
type kept struct {
	path     string
	fd       int
	dir      bool
	readOnly bool // Landlock has all of the new folder be changed, and what is mounted in it
}

// mount mounts it where it was.
func (k kept) mount() error {
	if err := k.place(); err != nil {
		return err
	}
	err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", k.fd), k.path, "", unix.MS_BIND, "")
	if err == nil && k.readOnly {
		err = unix.Mount("", k.path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|k.flags(), "")
	}
	if err != nil {
		return &os.PathError{Op: "mount", Path: k.path, Err: err}
	}
	return nil
}

// flags are those of the mount that it is in, which a remount would otherwise take away.
func (k kept) flags() uintptr {
	var st unix.Statfs_t
	if unix.Fstatfs(k.fd, &st) != nil {
		return 0
	}
	flags := uintptr(0)
	for has, set := range map[int64]uintptr{unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC} {
		if int64(st.Flags)&has != 0 {
			flags |= set
		}
	}
	return flags
}

// place makes what it can be mounted on.
func (k kept) place() error {
	if _, err := os.Lstat(k.path); err == nil {
		return nil // in one that is mounted already
	}
	folder := k.path
	if !k.dir {
		folder = filepath.Dir(folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil || k.dir {
		return err
	}
	return os.WriteFile(k.path, nil, 0o600)
}
