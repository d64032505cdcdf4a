package pool

import (
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"warmcgi/internal/cgi"
)

// loadFailed: the runner or the shim could not load the script.
func (g *generation) loadFailed(why string) {
	why = strings.ReplaceAll(why, runnersFile, g.p.script.File)
	why = strings.TrimSpace(why)
	last := strings.TrimSpace(strings.TrimPrefix(g.p.lastLineOf(g), "shim: "))
	if strings.ContainsFunc(last, unicode.IsLetter) && !strings.Contains(why, last) { // no mere ^ below a line
		why += ": " + last
	}
	g.fail(why)
}

// fail gives the generation up.
func (g *generation) fail(why string) {
	g.p.broken(g, why)
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.kill()
}

// kill ends the warm parent; it takes its workers with it, see docs/worker-protocol.md.
// The caller must hold p.mu.
func (g *generation) kill() {
	if g.killedAt.IsZero() {
		g.killedAt = time.Now()
	}
	g.process().Signal(syscall.SIGTERM)
}

// parentEnded: without a warm parent nobody waits for its workers but us. It returns how
// the warm parent ended.
func (g *generation) parentEnded(state *os.ProcessState, err error) string {
	how := "its exit status was lost"
	if err == nil {
		how = state.String()
	}
	p := g.p
	p.mu.Lock()
	g.dead = true
	loaded := g.isReady // otherwise its last lines are still to be read
	var orphans []*worker
	for _, w := range g.workers {
		if w.named {
			orphans = append(orphans, w)
		}
	}
	g.endIfEmptyLocked()
	p.mu.Unlock()
	if last := p.lastLineOf(g); last != "" {
		how += ": " + last
	}
	how = "the warm parent has ended: " + how
	if loaded {
		p.broken(g, how)
	}
	for _, w := range orphans {
		go g.adopt(w) // ends with the worker
	}
	return how
}

// adopt waits for a worker whose warm parent has ended. It is our own child then, where
// we are a subreaper; elsewhere nobody can tell how it ended.
func (g *generation) adopt(w *worker) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(w.pid, &ws, syscall.WNOHANG, nil)
		if pid == w.pid {
			g.exited(w.pid, exitOf(ws))
			return
		}
		if err == syscall.ECHILD && syscall.Kill(w.pid, 0) == syscall.ESRCH {
			g.exited(w.pid, cgi.Exit{Started: true, Code: -1})
			return
		}
		time.Sleep(pause)
	}
}

// exitOf reads a raw exit status.
func exitOf(ws syscall.WaitStatus) cgi.Exit {
	e := cgi.Exit{Started: true, Code: -1}
	if ws.Signaled() {
		e.Signal = cgi.SignalName(ws.Signal())
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}
