package cgi

import (
	"slices"

	"warmcgi/internal/cgroup"
)

// join finds the group of the process's script, and makes a place in it for the process, where the rules say so.
func (p *process) join(t *cgroup.Tree) (err error) {
	if p.group, err = t.Use(p.req.Confine, p.req.Script.File); err == nil {
		p.killed = p.group.Killed()
		p.leaf, err = p.group.Leaf()
	}
	return err
}

// leave ends what a process that the gateway has ended has started, also outside of its process group; and tells what
// limits of the group were met.
func (p *process) leave(e *Exit) {
	if p.group == nil {
		return
	}
	if e.Killed != "" && e.Killed != ReasonLeftBehind {
		p.leaf.Kill()
	}
	e.Met = slices.DeleteFunc(p.group.News(), func(limit string) bool { return limit == e.Limit })
	p.quit()
}

// quit gives its place up.
func (p *process) quit() {
	p.leaf.Close()
	if !p.worker { // which is its warm parent's
		p.group.Release()
	}
}
