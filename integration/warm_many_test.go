//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyFor is how long fifty scripts are asked; WARMCGI_MANY makes it longer ("60s").
func manyFor(t *testing.T) time.Duration {
	if s := os.Getenv("WARMCGI_MANY"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	return 6 * time.Second
}

func TestFiftyScriptsAreWarmAtOnceWithinTheirMemoryAndDieWithTheGateway(t *testing.T) {
	needs(t, "perl", "python3", "ruby")
	const (
		scripts = 50
		every   = 100 * time.Millisecond // each
		budget  = 600 << 20
	)
	dir := tempDir(t)
	var names []string
	for i := range scripts {
		ext, text := "pl", "#!/usr/bin/perl\nuse strict; use POSIX;\nprint \"Content-Type: text/plain\\n\\n$ENV{QUERY_STRING}\";\n"
		switch i % 3 {
		case 1:
			ext, text = "py", "#!/usr/bin/python3\nimport os, json\nprint('Content-Type: text/plain\\n\\n' + os.environ['QUERY_STRING'], end='')\n"
		case 2:
			ext, text = "rb", "#!/usr/bin/ruby\nrequire 'cgi'\nprint \"Content-Type: text/plain\\n\\n\", ENV['QUERY_STRING']\n"
		}
		names = append(names, fmt.Sprintf("s%d.%s", i, ext))
		writeFile(t, filepath.Join(dir, "cgi", names[i]), text, 0o755)
	}
	g := startGatewayAs(t, dir, "listen: [{http: 127.0.0.1:0}]\nlog: {access: {format: \"off\"}}\nwarm_memory: 600MiB\nroutes:\n  - {path: /, cgi: {dir: cgi}, mode: warm}\n", how{plain: true})
	c := newClient(t, g.url())
	for deadline := time.Now().Add(3 * patience); ; time.Sleep(50 * time.Millisecond) {
		warm := 0
		for _, n := range names {
			require.Equal(t, 200, c.get(t, "/"+n+"?x").status)
		}
		for _, st := range g.status(t) {
			if st.Mode == "warm" {
				warm++
			}
		}
		if warm == scripts {
			break
		}
		require.True(t, time.Now().Before(deadline), "only %d are warm: %+v", warm, g.status(t))
	}

	var wrong, asked atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(manyFor(t))
	for i, name := range names {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * every / scripts)
			for tick := time.NewTicker(every); time.Now().Before(end); <-tick.C {
				token := fmt.Sprint(name, asked.Add(1))
				if a, err := c.try(request{path: "/" + name + "?" + token}); err != nil || a.status != 200 || a.body != token {
					wrong.Add(1)
				}
			}
		})
	}
	var most int64
	for time.Now().Before(end) {
		most = max(most, treeMemory(g.pid))
		time.Sleep(500 * time.Millisecond)
	}
	wg.Wait()
	assert.Zero(t, wrong.Load(), "of %d answers", asked.Load())
	assert.Less(t, most, int64(budget))
	t.Logf("%d answers, at most %d MB in %d processes", asked.Load(), most>>20, len(descendants(g.pid)))

	g.owed = true
	below := descendants(g.pid)
	require.Greater(t, len(below), scripts)
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGKILL))
	var left []int
	assert.Eventually(t, func() bool {
		left = nil
		for _, pid := range below {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
				left = append(left, pid)
			}
		}
		return len(left) == 0
	}, 2*time.Second, 20*time.Millisecond, "processes are left of a gateway that was killed: %v", left)
}

// treeMemory is the proportional set size of all processes below a process, in octets.
func treeMemory(pid int) (sum int64) {
	for _, p := range descendants(pid) {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			continue
		}
		for b := bufio.NewScanner(f); b.Scan(); {
			if rest, ok := strings.CutPrefix(b.Text(), "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				sum += n << 10
			}
		}
		f.Close()
	}
	return sum
}
