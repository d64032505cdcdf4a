package confine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported: this platform can confine.
const Supported = true

// Become makes the calling thread, which must be locked and is going to execute the
// script, one of the user's. Only this thread: exec ends the others.
func (r *Rules) Become() error {
	u := r.RunsAs()
	if u == nil {
		return nil
	}
	if err := u.setGroups(); err != nil {
		return err
	}
	gid, uid := uintptr(u.GID), uintptr(u.UID)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("group of user %s: %w", u.Name, errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("user %s: %w", u.Name, errno)
	}
	return u.verify()
}

// setGroups gives the calling thread the user's supplementary groups.
func (u *User) setGroups() error {
	first := unsafe.Pointer(unsafe.SliceData(append([]uint32(nil), u.Groups...)))
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(first), 0); errno != 0 {
		return fmt.Errorf("groups of user %s: %w", u.Name, errno)
	}
	return nil
}

// verify: what was given up must not come back.
func (u *User) verify() error {
	var r, e, s uint32
	var rg, eg, sg uint32
	syscall.RawSyscall(syscall.SYS_GETRESUID, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&s)))
	syscall.RawSyscall(syscall.SYS_GETRESGID, uintptr(unsafe.Pointer(&rg)), uintptr(unsafe.Pointer(&eg)), uintptr(unsafe.Pointer(&sg)))
	if r != u.UID || e != u.UID || s != u.UID || rg != u.GID || eg != u.GID || sg != u.GID {
		return fmt.Errorf("user %s: the process is %d %d %d, group %d %d %d", u.Name, r, e, s, rg, eg, sg)
	}
	if u.UID == 0 {
		return nil
	}
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno == 0 {
		return fmt.Errorf("user %s: root could be regained", u.Name)
	}
	return nil
}

// An rlimit is a limit; from soft on it is a struct rlimit64 of the kernel's.
type rlimit struct {
	resource   int
	soft, hard uint64
	name       string
}

// rlimits are those of the limits, but for that of processes.
func (l Limits) rlimits() []rlimit {
	var all []rlimit
	add := func(resource int, soft, hard uint64, name string) {
		if soft > 0 {
			all = append(all, rlimit{resource, soft, hard, name})
		}
	}
	// At the soft one comes SIGXCPU, which says what has happened; at the hard one
	// SIGKILL, for who does not listen.
	cpu := uint64(l.CPU / time.Second)
	add(unix.RLIMIT_CPU, cpu, cpu+1, CPU)
	add(unix.RLIMIT_NOFILE, uint64(l.Files), uint64(l.Files), "files")
	add(unix.RLIMIT_FSIZE, uint64(l.FileSize), uint64(l.FileSize), FileSize)
	add(unix.RLIMIT_AS, uint64(l.Memory), uint64(l.Memory), "memory")
	if l.Core.Set {
		all = append(all, rlimit{unix.RLIMIT_CORE, uint64(l.Core.Size), uint64(l.Core.Size), "core"})
	}
	return all
}

func (l Limits) processes() rlimit {
	return rlimit{unix.RLIMIT_NPROC, uint64(l.Processes), uint64(l.Processes), Processes}
}

// possible is the limit as it can be had: a lower one that the gateway has itself, and may
// not raise, stays.
func (l rlimit) possible() (rlimit, error) {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(l.resource, &now); err != nil {
		return l, fmt.Errorf("limit of %s: %w", l.name, err)
	}
	if !mayRaise() {
		l.hard = min(l.hard, now.Max)
		l.soft = min(l.soft, l.hard)
	}
	return l, nil
}

// DieWith has the kernel send a signal when the parent dies. A change of user takes that
// back, and it belongs to a thread, so it is set anew by the one that executes.
func DieWith(parent int, s syscall.Signal) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(s), 0, 0, 0); err != nil {
		return fmt.Errorf("parent-death signal: %w", err)
	}
	if parent != 0 && os.Getppid() != parent {
		return errors.New("the gateway has gone")
	}
	return nil
}

// CPUTime is the processor time that a process has used so far.
func CPUTime(pid int) time.Duration {
	var used unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &used) != nil { // its CPU clock, see clock_getcpuclockid(3)
		return 0
	}
	return time.Duration(used.Nano())
}

// Look has f look at the processes of the rules' user, in /proc: as root may not where it
// lacks CAP_SYS_PTRACE, as in many a container. Of the thread's identity only that for
// files changes, so nobody gets hold of it meanwhile.
func (r *Rules) Look(f func()) {
	u := r.RunsAs()
	if u == nil || u.UID == 0 {
		f()
		return
	}
	runtime.LockOSThread()
	was := func(trap, id uintptr) uintptr {
		old, _, _ := syscall.RawSyscall(trap, id, 0, 0)
		return old
	}
	gid := was(syscall.SYS_SETFSGID, uintptr(u.GID))
	uid := was(syscall.SYS_SETFSUID, uintptr(u.UID))
	f()
	was(syscall.SYS_SETFSUID, uid)
	was(syscall.SYS_SETFSGID, gid)
	const ask = ^uintptr(0)
	if was(syscall.SYS_SETFSUID, ask) == uid && was(syscall.SYS_SETFSGID, ask) == gid {
		runtime.UnlockOSThread() // otherwise the thread ends with its goroutine
	}
}

// Kill sends a signal to the process group of a worker.
//
// It is the warm parent that says when a worker has ended, and that runs a user's code,
// which may lie. A root gateway must not be led to signal a number that somebody else has
// by now. The number of a group is not given away while one process is in it: so it is
// enough that a leader, where there is one, is the user's.
func (r *Rules) Kill(group int, s syscall.Signal) error {
	if u := r.RunsAs(); u != nil && s != 0 {
		if uid, err := realUID(group); err == nil && uid != u.UID {
			return syscall.ESRCH
		}
	}
	return syscall.Kill(-group, s)
}

// realUID stays the user's when it executes a setuid program.
func realUID(pid int) (uint32, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("\nUid:\t"))
	first, _, ok := bytes.Cut(rest, []byte("\t"))
	if !ok {
		return 0, errors.New("no Uid")
	}
	return id(string(first))
}

// Lower tells which limits the gateway's own are below, and may not be raised.
func (l Limits) Lower() []string {
	var low []string
	if mayRaise() {
		return nil
	}
	for _, w := range append(l.rlimits(), l.processes()) {
		var now syscall.Rlimit
		if syscall.Getrlimit(w.resource, &now) == nil && now.Max < w.soft {
			low = append(low, w.name)
		}
	}
	return low
}

func mayRaise() bool { return has(unix.CAP_SYS_RESOURCE) }

// lacks names a capability that root needs to run scripts as another user, and has not: a
// container or a service's settings may have taken it.
func lacks() string {
	for _, c := range []struct {
		name   string
		number int
	}{
		{"CAP_SETUID", unix.CAP_SETUID}, {"CAP_SETGID", unix.CAP_SETGID}, // to become it
		{"CAP_KILL", unix.CAP_KILL},   // to end it
		{"CAP_CHOWN", unix.CAP_CHOWN}, // to give it the script's socket
	} {
		if !has(c.number) {
			return c.name
		}
	}
	return ""
}

// has asks for a capability of the calling thread.
func has(capability int) bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
