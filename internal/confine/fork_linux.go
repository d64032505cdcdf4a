package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process of Go's can't take a limit of memory upon itself and then execute: its other
// threads still start threads, which end all of it where they get no memory. So limits
// are taken by a fork, which has one thread, and executes. It is a child of this process'
// parent, as if that had started it.

// Assume makes the calling thread, which must be locked, the user as far as files go:
// what it reads it may read, and what it makes is the user's. See [Rules.Fork].
func (r *Rules) Assume() error {
	u := r.RunsAs()
	if u == nil {
		return nil
	}
	if err := u.setGroups(); err != nil {
		return err
	}
	syscall.RawSyscall(syscall.SYS_SETFSGID, uintptr(u.GID), 0, 0)
	syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(u.UID), 0, 0)
	const ask = ^uintptr(0)
	gid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSGID, ask, 0, 0)
	uid, _, _ := syscall.RawSyscall(syscall.SYS_SETFSUID, ask, 0, 0)
	if uint32(gid) != u.GID || uint32(uid) != u.UID {
		return fmt.Errorf("user %s: files are still those of %d, group %d", u.Name, uid, gid)
	}
	return nil
}

// A plan is all that the fork needs. It must not allocate, lock, or grow its stack: who
// could help it is not there.
type plan struct {
	path      *byte
	argv, env **byte
	limits    []rlimit
	processes rlimit // soft 0: none
	user      bool
	uid, gid  uintptr
	death     uintptr
	parent    uintptr
	keep      [][2]int // descriptors: here, there
	start     [2]int   // a pipe: the fork waits for its octet
	failure   [2]int   // a pipe: a report, or exec closes it
	mask      uint64   // of signals, for the program
}

// report is what the fork says of its failure.
type report struct {
	step  int32
	errno int32
}

// The steps of the fork.
const (
	stepStart = iota
	stepDescriptors
	stepGroup
	stepLimits
	stepGID
	stepUID
	stepRegained
	stepProcesses
	stepDeath
	stepParent
	stepExec
)

// steps are named in an error.
var steps = [...]string{
	"start", "descriptors", "process group", "limits", "group of the user", "user", "root could be regained",
	"limit of processes", "parent-death signal", "the gateway has gone", stepExec: "",
}

// Fork executes a program as the user and under the limits, in a new process; the thread
// must be what [Rules.Assume] made it. announce is told its number before it executes. An
// error of exec itself is a plain [syscall.Errno].
func (r *Rules) Fork(g Program, announce func(pid int) error) error {
	p := &plan{death: uintptr(g.Death), parent: uintptr(g.Parent)}
	var err error
	if p.path, err = syscall.BytePtrFromString(g.Argv[0]); err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings(g.Argv)
	if err != nil {
		return err
	}
	vars, err := syscall.SlicePtrFromStrings(g.Env)
	if err != nil {
		return err
	}
	p.argv, p.env = unsafe.SliceData(args), unsafe.SliceData(vars)
	for there, here := range g.Keep {
		p.keep = append(p.keep, [2]int{here, there})
	}
	restoreFiles()
	for _, l := range r.Limits.rlimits() {
		if l, err = l.possible(); err != nil {
			return err
		}
		p.limits = append(p.limits, l)
	}
	if l := r.Limits.processes(); l.soft > 0 {
		if p.processes, err = l.possible(); err != nil {
			return err
		}
	}
	if u := r.User; u != nil {
		p.user, p.uid, p.gid = true, uintptr(u.UID), uintptr(u.GID)
	}
	if err := errors.Join(syscall.Pipe2(p.start[:], syscall.O_CLOEXEC), syscall.Pipe2(p.failure[:], syscall.O_CLOEXEC)); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	pid, errno := p.fork()
	runtime.KeepAlive(args)
	runtime.KeepAlive(vars)
	syscall.Close(p.start[0])
	syscall.Close(p.failure[1])
	if errno != 0 {
		return errno
	}
	if err := announce(int(pid)); err != nil {
		syscall.Close(p.start[1]) // it goes
		return err
	}
	if _, err := syscall.Write(p.start[1], []byte{1}); err != nil {
		return os.NewSyscallError("write", err)
	}
	return p.outcome()
}

// restoreFiles takes back that package syscall has raised the soft limit of open files for
// this process: that is what exec does, also one that fails.
func restoreFiles() { syscall.Exec("", nil, nil) }

// outcome waits until the fork has executed, or failed.
func (p *plan) outcome() error {
	var b [unsafe.Sizeof(report{})]byte
	n, err := syscall.Read(p.failure[0], b[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(p.failure[0], b[:])
	}
	if err != nil || n == 0 {
		return err
	}
	got := *(*report)(unsafe.Pointer(&b))
	if step := steps[got.step]; step != "" {
		return fmt.Errorf("%s: %w", step, syscall.Errno(got.errno))
	}
	return syscall.Errno(got.errno)
}

// fork makes the process. It returns in the one that calls it only.
//
//go:noinline
//go:norace
//go:nocheckptr
func (p *plan) fork() (pid uintptr, errno syscall.Errno) {
	// No handler of Go's may run in the fork.
	all := ^uint64(0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&p.mask)), 8, 0, 0)
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, unix.CLONE_PARENT|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.mask)), 0, 8, 0, 0)
		return pid, errno
	}

	const keep = ^uintptr(0)
	var rep report
	var one byte
	var before rlimit
	var parent uintptr
	var n uintptr
	// Only raw system calls from here on.
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(p.start[1]), 0, 0)
	if n, _, errno = syscall.RawSyscall(syscall.SYS_READ, uintptr(p.start[0]), uintptr(unsafe.Pointer(&one)), 1); errno != 0 || n != 1 {
		goto failed
	}
	rep.step = stepDescriptors
	for i := range p.keep {
		if p.keep[i][0] == p.keep[i][1] {
			_, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(p.keep[i][0]), syscall.F_SETFD, 0)
		} else {
			_, _, errno = syscall.RawSyscall(syscall.SYS_DUP3, uintptr(p.keep[i][0]), uintptr(p.keep[i][1]), 0)
		}
		if errno != 0 {
			goto failed
		}
	}
	rep.step = stepGroup
	if _, _, errno = syscall.RawSyscall(syscall.SYS_SETPGID, 0, 0, 0); errno != 0 {
		goto failed
	}
	rep.step = stepLimits
	for i := range p.limits {
		l := &p.limits[i]
		if _, _, errno = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, uintptr(l.resource), uintptr(unsafe.Pointer(&l.soft)), 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	if p.processes.soft > 0 && p.user {
		// setuid compares the processes that are there already, without this one, and exec
		// tells of it.
		before = p.processes
		before.soft--
		if _, _, errno = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, uintptr(unsafe.Pointer(&before.soft)), 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	if p.user {
		rep.step = stepGID
		if _, _, errno = syscall.RawSyscall(syscall.SYS_SETRESGID, p.gid, p.gid, p.gid); errno != 0 {
			goto failed
		}
		rep.step = stepUID
		if _, _, errno = syscall.RawSyscall(syscall.SYS_SETRESUID, p.uid, p.uid, p.uid); errno != 0 {
			goto failed
		}
		rep.step = stepRegained
		if p.uid != 0 {
			if _, _, errno = syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno == 0 {
				goto failed
			}
		}
	}
	rep.step = stepProcesses
	if p.processes.soft > 0 {
		if _, _, errno = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, uintptr(unsafe.Pointer(&p.processes.soft)), 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	rep.step = stepDeath // a change of user takes this back
	if _, _, errno = syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, p.death, 0, 0, 0, 0); errno != 0 {
		goto failed
	}
	rep.step = stepParent
	if parent, _, _ = syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); parent != p.parent {
		errno = syscall.ESRCH
		goto failed
	}
	rep.step = stepExec
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.mask)), 0, 8, 0, 0)
	_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(p.path)), uintptr(unsafe.Pointer(p.argv)), uintptr(unsafe.Pointer(p.env)))
failed:
	rep.errno = int32(errno)
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.failure[1]), uintptr(unsafe.Pointer(&rep)), unsafe.Sizeof(rep))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
