package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// leaf is the group that the gateway moves to.
	leaf = "warmcgi"
	// trees begins the names of what the processes of the gateway have made, beside leaf.
	trees = leaf + "-"
)

// Open makes the tree ready for groups, once; this moves the gateway to another group. What can't be had of it is told by
// Status, and by Lacks.
func (t *Tree) Open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened || t.closed {
		return
	}
	t.opened = true
	p, lacks := look()
	t.lacks = lacks
	if len(lacks) == len(controllers) {
		return
	}
	if err := p.moveOut(); err != nil {
		t.lackAll(err)
		return
	}
	for limit, controller := range controllers {
		if lacks[limit] == nil {
			if err := p.write("cgroup.subtree_control", "+"+controller); err != nil {
				lacks[limit] = p.unavailable(err)
			}
		}
	}
	if len(lacks) == len(controllers) {
		return
	}
	p.sweep()
	mine := p.below(trees + strconv.Itoa(os.Getpid()))
	err := os.Mkdir(mine.dir, 0o755)
	for limit, controller := range controllers {
		if err == nil && lacks[limit] == nil {
			err = mine.write("cgroup.subtree_control", "+"+controller)
		}
	}
	if err != nil {
		t.lackAll(mine.unavailable(err))
		return
	}
	t.dir = mine.dir
}

// lackAll: no limit can be kept. The caller must hold t.mu.
func (t *Tree) lackAll(why error) {
	for limit := range controllers {
		t.lacks[limit] = why
	}
}

// moveOut has the gateway leave the group, as one with limits below may have no processes. (The kernel lets some controllers be
// handed on all the same, but then no process can be in the groups below.) The root of all groups is no such group.
func (p place) moveOut() error {
	if _, err := os.Stat(filepath.Join(p.dir, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	room := p.below(leaf)
	if err := os.Mkdir(room.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return p.unavailable(err)
	}
	if err := room.write("cgroup.procs", "0"); err != nil {
		return p.unavailable(err)
	}
	others, err := p.read("cgroup.procs")
	if err == nil && len(others) > 0 {
		err = fmt.Errorf("other processes are in the gateway's group, as %s (start it in one of its own, as a service is)", strings.Join(others[:min(len(others), 3)], ", "))
	}
	if err != nil {
		p.write("cgroup.procs", "0")
		os.Remove(room.dir)
	}
	return p.unavailable(err)
}

func (p place) unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w in %s: %w", ErrUnavailable, p.dir, err)
}

// sweep ends what gateways have left that are not there any more.
func (p place) sweep() {
	entries, _ := os.ReadDir(p.dir)
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), trees)
		pid, err := strconv.Atoi(text)
		if !ok || err != nil || pid != os.Getpid() && syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		Destroy(p.below(e.Name()).dir)
	}
}

// Destroy ends all that is in a group and below, and removes it.
func Destroy(dir string) error {
	p := place{dir}
	if err := p.write("cgroup.kill", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var err error
	for range 100 { // the kernel takes its time
		if err = p.remove(); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// remove removes groups that are empty, those below first.
func (p place) remove() error {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, p.below(e.Name()).remove())
		}
	}
	return errors.Join(err, os.Remove(p.dir))
}

// Close ends all that is left in the groups, and removes them. No group is made behind it.
func (t *Tree) Close() error {
	t.mu.Lock()
	dir := t.dir
	t.closed, t.dir = true, ""
	all := t.groups
	t.groups = map[key]*Group{}
	t.mu.Unlock()
	for _, g := range all {
		g.fd.Close()
	}
	if dir == "" {
		return nil
	}
	return Destroy(dir)
}

// name is for people who look at the tree.
func (t *Tree) name(script string) string {
	t.number++
	base := []rune(strings.ToValidUTF8(filepath.Base(script), "?"))
	return fmt.Sprintf("%d-%s", t.number, string(base[:min(len(base), 60)]))
}
