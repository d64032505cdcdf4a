package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"warmcgi/internal/confine"
)

// A Group is that of a script. Those that are nil are none.
type Group struct {
	place
	tree   *Tree
	script string
	limits confine.ScriptLimits
	fd     *os.File // the folder

	users  int       // who may start a process in it; of tree.mu
	since  time.Time // that there is none
	leaves int       // numbers the groups below; of tree.mu
	left   []place   // those of them that a daemon was left in; of tree.mu
	seen   events    // what was told of; of tree.mu
}

// events are what has happened in a group.
type events struct {
	killed  int64 // processes, for want of memory
	refused int64 // processes that could not be started
}

// Use returns the group of a script under the rules, or nil where it has none. Release it. An error means that there
// should be one, and is not.
func (t *Tree) Use(r *confine.Rules, script string) (*Group, error) {
	if t == nil || !r.Grouped() {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir == "" {
		return nil, nil // which Status says
	}
	k := key{r, script}
	if g := t.groups[k]; g != nil {
		g.users++
		return g, nil
	}
	t.forgetLocked()
	g, err := t.make(r.Script, script)
	if err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	t.groups[k] = g
	return g, nil
}

func (t *Tree) make(limits confine.ScriptLimits, script string) (*Group, error) {
	g := &Group{place: place{t.dir}.below(t.name(script)), tree: t, script: script, limits: limits, users: 1}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	for limit, text := range settings(limits) {
		if text == "" || t.lacks[limit] != nil {
			continue
		}
		err = errors.Join(err, g.write(files[limit], text))
		if limit == confine.ScriptMemory {
			g.write("memory.swap.max", "0") // or it would be the machine that gets slow; not there without swap
		}
	}
	if err == nil {
		g.fd, err = os.Open(g.dir)
	}
	if err != nil {
		os.Remove(g.dir)
		return nil, err
	}
	return g, nil
}

// files are where limits are written to.
var files = map[string]string{
	confine.ScriptMemory:     "memory.max",
	confine.ScriptProcesses:  "pids.max",
	confine.ScriptProcessors: "cpu.max",
}

// period is what a share of the processors is counted in, in microseconds, as the kernel has it by default.
const period = 100_000

// settings are what is written for limits; "" is nothing.
func settings(g confine.ScriptLimits) map[string]string {
	s := map[string]string{}
	if g.Memory > 0 {
		s[confine.ScriptMemory] = strconv.FormatInt(g.Memory, 10)
	}
	if g.Processes > 0 {
		s[confine.ScriptProcesses] = strconv.Itoa(g.Processes)
	}
	if g.Processors > 0 {
		s[confine.ScriptProcessors] = fmt.Sprintf("%d %d", max(1000, int64(g.Processors*period)), period)
	}
	return s
}

// forgetLocked removes groups that nobody has used for some time; one that a daemon is in stays. The caller must hold t.mu.
func (t *Tree) forgetLocked() {
	for k, g := range t.groups {
		if g.users == 0 && time.Since(g.since) > idleTime && g.remove() == nil {
			g.fd.Close()
			delete(t.groups, k)
		}
	}
}

// Release is for who has no process to start in it any more.
func (g *Group) Release() {
	if g == nil {
		return
	}
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	if g.users--; g.users == 0 {
		g.since = time.Now()
	}
}

// Begin has a process begin in the group (clone3, CLONE_INTO_CGROUP).
func (g *Group) Begin(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.fd.Fd())
	}
}

// Killed is how many processes were ended so far for want of memory.
func (g *Group) Killed() int64 {
	if g == nil {
		return 0
	}
	return g.event("memory.events", "oom_kill")
}

func (g *Group) refused() int64 { return g.event("pids.events", "max") }

// event is a number of a file of names and numbers; 0 where there is none.
func (g *Group) event(file, name string) int64 {
	words, _ := g.read(file)
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == name {
			n, _ := strconv.ParseInt(words[i+1], 10, 64)
			return n
		}
	}
	return 0
}

// News are the limits that processes of the group have come up against since somebody has asked.
func (g *Group) News() (limits []string) {
	if g == nil {
		return nil
	}
	now := events{killed: g.Killed(), refused: g.refused()}
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	if now.killed > g.seen.killed {
		limits, g.seen.killed = append(limits, confine.ScriptMemory), now.killed
	}
	if now.refused > g.seen.refused {
		limits, g.seen.refused = append(limits, confine.ScriptProcesses), now.refused
	}
	return limits
}

// A Leaf is one process's part of a group, and of what it starts. The nil pointer is none.
type Leaf struct {
	place
	group *Group
	fd    *os.File
}

// Leaf makes one; that of no group is none. Close it.
func (g *Group) Leaf() (*Leaf, error) {
	if g == nil {
		return nil, nil
	}
	g.tree.mu.Lock()
	g.leaves++
	l := &Leaf{place: g.below(strconv.Itoa(g.leaves)), group: g}
	if len(g.left) > 0 { // in turn; the daemon may have ended
		oldest := g.left[0]
		if g.left = g.left[1:]; oldest.remove() != nil {
			g.left = append(g.left, oldest)
		}
	}
	g.tree.mu.Unlock()
	err := os.Mkdir(l.dir, 0o755)
	if err == nil {
		if l.fd, err = os.Open(l.dir); err != nil {
			os.Remove(l.dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return l, nil
}

// Begin is as [Group.Begin].
func (l *Leaf) Begin(attr *syscall.SysProcAttr) {
	if l != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(l.fd.Fd())
	}
}

// Kill ends all that is in it, and waits for that (Linux 5.14; before that it ends nothing).
func (l *Leaf) Kill() {
	if l != nil {
		Destroy(l.dir)
	}
}

// Close removes it, where nothing is in it any more; a daemon stays there, at the longest until the tree is closed.
func (l *Leaf) Close() {
	if l == nil {
		return
	}
	l.fd.Close()
	if l.remove() != nil {
		l.group.tree.mu.Lock()
		defer l.group.tree.mu.Unlock()
		l.group.left = append(l.group.left, l.place)
	}
}

// Status tells of the tree and its groups.
func (t *Tree) Status() Status {
	t.mu.Lock()
	s := Status{Folder: t.dir}
	for limit, why := range t.lacks {
		if s.NotKept == nil {
			s.NotKept = map[string]string{}
		}
		s.NotKept[limit] = why.Error()
	}
	var all []*Group
	for _, g := range t.groups {
		all = append(all, g)
	}
	t.mu.Unlock()
	for _, g := range all {
		s.Groups = append(s.Groups, GroupStatus{
			Script: g.script, Limits: g.limits.String(),
			Memory: g.number("memory.current"), Processes: g.number("pids.current"), Killed: g.Killed(), Refused: g.refused(),
		})
	}
	return s
}

// number is what a file with one has; -1 where it is not there.
func (g *Group) number(file string) int64 {
	words, err := g.read(file)
	if err == nil && len(words) == 1 {
		if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			return n
		}
	}
	return -1
}
