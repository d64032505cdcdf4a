package pool

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"warmcgi/internal/confine"
)

// A warm parent and a reused worker live long, but the kernel counts the processor time of
// a process from its start. (That of a worker begins at its fork.) So both are replaced
// when half of what the route allows is used: the other half is left for what they do
// meanwhile. To lift the limit from outside would need CAP_SYS_RESOURCE, which root does
// not have in a container.

// spent reports whether a process has used half of its processor time.
func (p *Pool) spent(pid int) bool {
	if p.confine == nil || p.confine.Limits.CPU == 0 {
		return false
	}
	return confine.CPUTime(pid) > p.confine.Limits.CPU/2
}

// renew has a warm parent replaced that has used its processor time, in the background.
// The caller must hold p.mu.
func (p *Pool) renew(g *generation) {
	if p.next == nil && !g.dead && p.spent(g.pid()) {
		p.set.c.Log.Info("a warm parent is made anew, as it has used half of its processor time", "script", p.script.Name,
			"lived", time.Since(g.began).Round(time.Second).String(), "limits", p.confine.Limits.String())
		p.loadLocked()
	}
}

// memoryOf is what a process of the script's user uses.
func (p *Pool) memoryOf(pid int) (m int64) {
	p.confine.Look(func() { m = confine.MemoryOf(pid) })
	return m
}

// listen makes the script's socket in a folder. Where the script runs as another user it is
// that user's alone; to find it others may go through the folders, whose names they can't
// list.
func (p *Pool) listen(dir string) (*os.File, error) {
	path, u := filepath.Join(dir, "s"), p.confine.RunsAs()
	if u == nil {
		return listen(path, func() error { return nil })
	}
	if err := errors.Join(os.Chmod(p.set.dir.Path, 0o711), os.Chmod(dir, 0o711)); err != nil {
		return nil, err
	}
	if p.confine.Sandboxed() { // there may be no other place where it can write
		own := filepath.Join(dir, "own")
		if err := errors.Join(os.Mkdir(own, 0o700), os.Chown(own, int(u.UID), int(u.GID))); err != nil {
			return nil, err
		}
	}
	return listen(path, func() error {
		return errors.Join(os.Chmod(path, 0o600), os.Chown(path, int(u.UID), -1))
	})
}
