package proctree

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"warmcgi/internal/cgroup"
)

// Cgroup counts the CPU time of a server and of everything that it starts, also of
// children that nobody waits for: fcgiwrap and Apache's mod_cgid ignore SIGCHLD, and
// /proc does not count such children for their parent.
type Cgroup struct{ dir string }

// NewCgroup makes a version 2 group, which takes root. Nil is none.
func NewCgroup(name string) *Cgroup {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(root, fmt.Sprintf("warmcgi-bench-%d-%s", os.Getpid(), name))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		c := &Cgroup{dir}
		if _, err := c.CPU(); err == nil {
			return c
		}
		c.Remove()
	}
	return nil
}

// Dir is its folder.
func (c *Cgroup) Dir() string { return c.dir }

// CPU is in seconds.
func (c *Cgroup) CPU() (float64, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return float64(n) / 1e6, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat has no usage_usec", c.dir)
}

// Enter is a shell's way to begin in the group.
func (c *Cgroup) Enter() string { return "echo $$ >" + filepath.Join(c.dir, "cgroup.procs") + " && " }

// Remove ends what is left in the group: scripts of a server that has gone.
func (c *Cgroup) Remove() {
	cgroup.Destroy(c.dir)
}
