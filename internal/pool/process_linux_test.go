package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// children are the processes below this one.
func children(t testing.TB) []string {
	t.Helper()
	var all []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, pid := range strings.Fields(string(b)) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			_, rest, _ := strings.Cut(string(stat), ") ")
			if strings.HasPrefix(rest, "Z") { // nobody else waits for orphans here
				n, _ := strconv.Atoi(pid)
				unix.Wait4(n, nil, unix.WNOHANG, nil)
				continue
			}
			all = append(all, fmt.Sprintf("%s %s", pid, stat))
		}
	}
	return all
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	runtime.GC() // files that nobody has closed
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(fds)
}
