package confine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported: this platform can confine.
const Supported = true

// Become makes the calling thread, which must be locked and is going to execute the
// script, one of the user's. Only this thread: exec ends the others, and as long as they
// live they would count against the user's limit of processes. What needs root for the
// limits is done before.
func (r *Rules) Become() error {
	if r == nil {
		return nil
	}
	for _, l := range r.rlimits(false) {
		if err := raise(l); err != nil {
			return err
		}
	}
	if n := r.Limits.Processes; n > 0 { // setuid compares with it, and exec tells of that
		if err := set(rlimit{unix.RLIMIT_NPROC, uint64(n), uint64(n), "processes"}); err != nil {
			return err
		}
	}
	if r.User == nil {
		return nil
	}
	return r.User.become()
}

func (u *User) become() error {
	call := func(trap uintptr, a, b, c uintptr) error {
		if _, _, errno := syscall.RawSyscall(trap, a, b, c); errno != 0 {
			return errno
		}
		return nil
	}
	groups := append([]uint32(nil), u.Groups...)
	first := unsafe.Pointer(unsafe.SliceData(groups))
	if err := call(syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); err != nil {
		return fmt.Errorf("groups of user %s: %w", u.Name, err)
	}
	gid, uid := uintptr(u.GID), uintptr(u.UID)
	if err := call(syscall.SYS_SETRESGID, gid, gid, gid); err != nil {
		return fmt.Errorf("group of user %s: %w", u.Name, err)
	}
	if err := call(syscall.SYS_SETRESUID, uid, uid, uid); err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	return u.verify()
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

// Bound sets the limits, as the last thing before exec. A warm parent (forks) has only a soft limit of processor time, for its
// loading: its workers get theirs from the gateway, see [Rules.LimitCPU].
func (r *Rules) Bound(forks bool) error {
	if r == nil {
		return nil
	}
	for _, l := range r.rlimits(forks) {
		if err := set(l); err != nil {
			return err
		}
	}
	return nil
}

type rlimit struct {
	resource   int
	soft, hard uint64
	name       string
}

const infinity = math.MaxUint64

// rlimits are those of the limits, but for that of processes; that of memory comes last,
// as the process that sets it is larger than many a script.
func (r *Rules) rlimits(forks bool) []rlimit {
	var all []rlimit
	l := r.Limits
	if l.CPU > 0 {
		soft, hard := cpuLimits(0, l.CPU)
		if forks {
			hard = infinity
		}
		all = append(all, rlimit{unix.RLIMIT_CPU, soft, hard, "cpu"})
	}
	if l.Files > 0 {
		all = append(all, rlimit{unix.RLIMIT_NOFILE, uint64(l.Files), uint64(l.Files), "files"})
	}
	if l.FileSize > 0 {
		all = append(all, rlimit{unix.RLIMIT_FSIZE, uint64(l.FileSize), uint64(l.FileSize), "file_size"})
	}
	if l.Memory > 0 {
		all = append(all, rlimit{unix.RLIMIT_AS, uint64(l.Memory), uint64(l.Memory), "memory"})
	}
	return all
}

// cpuLimits: at the soft one comes SIGXCPU, which says what has happened; at the hard one
// SIGKILL, for who does not listen.
func cpuLimits(used, allowed time.Duration) (soft, hard uint64) {
	const begin = 100 * time.Millisecond // what a worker may have used for its start
	soft = uint64((max(used-begin, 0) + allowed + time.Second - 1) / time.Second)
	return soft, soft + 1
}

// raise lifts a hard limit that is below, which needs root.
func raise(l rlimit) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(l.resource, &now); err != nil {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	if now.Max >= l.hard {
		return nil
	}
	now.Max = l.hard
	if err := syscall.Setrlimit(l.resource, &now); err != nil && err != syscall.EPERM {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	return nil
}

// set sets a limit. A lower one that the gateway has itself, and may not raise, stays.
func set(l rlimit) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(l.resource, &now); err != nil {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	hard := l.hard
	if hard > now.Max && (hard == infinity || !threadIsRoot()) {
		hard = now.Max
	}
	// Not unix.Setrlimit: package syscall must know that its own change of RLIMIT_NOFILE
	// is not to be undone by exec.
	if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: min(l.soft, hard), Max: hard}); err != nil {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	return nil
}

// threadIsRoot asks for this thread; see Become.
func threadIsRoot() bool {
	euid, _, _ := syscall.RawSyscall(syscall.SYS_GETEUID, 0, 0, 0)
	return euid == 0
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

// LimitCPU gives a process its processor time, from now on. A worker that is reused gets
// it for each request anew, so its hard limit stays. The error [syscall.ESRCH] means that
// the process is not there any more.
func (r *Rules) LimitCPU(pid int, reused bool) error {
	if r == nil || r.Limits.CPU == 0 {
		return nil
	}
	if !r.owns(pid) {
		return syscall.ESRCH
	}
	used := unix.Timespec{}
	if err := unix.ClockGettime(int32(^pid<<3|2), &used); err != nil { // its CPU clock, see clock_getcpuclockid(3)
		return syscall.ESRCH
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &now); err != nil {
		return err
	}
	soft, hard := cpuLimits(time.Duration(used.Nano()), r.Limits.CPU)
	if reused {
		hard = now.Max
	}
	hard = min(hard, now.Max)
	return unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: min(soft, hard), Max: hard}, nil)
}

// FreeCPU lifts the limit of a warm parent that has loaded its script.
func (r *Rules) FreeCPU(pid int) error {
	if r == nil || r.Limits.CPU == 0 {
		return nil
	}
	if !r.owns(pid) {
		return syscall.ESRCH
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &now); err != nil {
		return err
	}
	now.Cur = now.Max
	return unix.Prlimit(pid, unix.RLIMIT_CPU, &now, nil)
}

// owns is cheap: the owner of a process' folder is its effective user, or root where its
// memory is not to be read.
func (r *Rules) owns(pid int) bool {
	if r.User == nil {
		return true
	}
	var st syscall.Stat_t
	return syscall.Stat("/proc/"+strconv.Itoa(pid), &st) == nil && st.Uid == r.User.UID
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
	if os.Geteuid() == 0 {
		return nil
	}
	var low []string
	r := &Rules{Limits: l}
	all := r.rlimits(true)
	if l.Processes > 0 {
		all = append(all, rlimit{unix.RLIMIT_NPROC, uint64(l.Processes), uint64(l.Processes), "processes"})
	}
	for _, w := range all {
		var now syscall.Rlimit
		if syscall.Getrlimit(w.resource, &now) == nil && now.Max < w.soft {
			low = append(low, w.name)
		}
	}
	return low
}
