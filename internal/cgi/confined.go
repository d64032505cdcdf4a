package cgi

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"warmcgi/internal/confine"
	"warmcgi/internal/shim"
)

// fork starts a program as the rules have it. Another user costs nothing; limits and a sandbox cost the
// start of the shim before the program's, as fork has no place for them.
func (s *Spawn) fork(p *process, path string, argv []string, dir string, files []uintptr) (pid int, err error) {
	r, script := p.req.Confine, p.req.Script.File
	attr := &syscall.ProcAttr{Dir: dir, Env: environ(p.req), Files: files, Sys: sysProcAttr()}
	p.leaf.Begin(attr.Sys)
	if r.NeedShim() {
		return s.forkByShim(r, script, argv, attr)
	}
	if u := r.RunsAs(); u != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	return syscall.ForkExec(path, argv, attr)
}

// forkByShim starts the shim, tells it what to execute, and waits until it has: in a
// process that is another child of ours. The shim ends.
func (s *Spawn) forkByShim(r *confine.Rules, script string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if len(s.shim) == 0 {
		return 0, errors.New("limits and a sandbox need the shim, which is not known here")
	}
	inside := make([]string, len(argv))
	for i, a := range argv {
		if inside[i] = a; a == script {
			inside[i] = r.Inside(a)
		}
	}
	order, err := (&shim.Order{
		Version: shim.Version, Mode: shim.Spawn, Script: script, Dir: r.Inside(attr.Dir), Argv: inside, Env: attr.Env, Confine: r, Gateway: os.Getpid(),
	}).Encode()
	if err != nil {
		return 0, err
	}
	ours, theirs, err := controlPair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	attr.Files = append(attr.Files, theirs.Fd())
	attr.Dir, attr.Env = "/", []string{}
	pid, err = syscall.ForkExec(s.shim[0], s.shim, attr)
	theirs.Close()
	if err != nil {
		return 0, fmt.Errorf("shim: %w", err)
	}
	first := pid
	if _, err = ours.Write(order); err == nil || errors.Is(err, syscall.EPIPE) {
		pid, err = shim.Spawned(ours)
	} else {
		kill(-first, syscall.SIGKILL)
	}
	reap(first)
	if err != nil && pid != first {
		reap(pid)
	}
	return pid, err
}

// reap waits for a process that is about to end.
func reap(pid int) {
	for pid != 0 {
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// controlPair is a connected pair of sockets, ours and the shim's.
func controlPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(pair[0]), "control socket"), os.NewFile(uintptr(pair[1]), "control socket"), nil
}

// limited notes the limit that has ended the process. The caller must hold p.mu.
func (p *process) limited() {
	if e := &p.exit; e.Killed == "" {
		e.Limit = p.req.Confine.Ended(e.Signal, e.Code, e.User+e.System)
		if e.Limit == "" && confine.Died(syscall.SIGKILL, e.Signal, e.Code) && p.group.Killed() > p.killed {
			e.Limit = confine.ScriptMemory // with others' processes in the group it may have been another's, but hardly
		}
	}
}

// overLimit says how the process went over a limit. The caller must hold p.mu.
func (p *process) overLimit() string {
	how := "died of " + p.exit.Signal
	if p.exit.Signal == "" {
		how = fmt.Sprintf("exit status %d", p.exit.Code)
	}
	return how + ", as the route has " + p.req.Confine.Describe(p.exit.Limit)
}

// killGroup signals the process group. That of a process of our own can't be anyone
// else's; of a worker that is the word of its warm parent.
func (p *process) killGroup(sig syscall.Signal) error {
	if p.worker {
		return p.req.Confine.Kill(p.pid, sig)
	}
	return kill(-p.pid, sig)
}
