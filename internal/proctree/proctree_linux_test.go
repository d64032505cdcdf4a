package proctree

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCPUOfChildrenThatWereWaitedForCounts(t *testing.T) {
	before, err := TreeCPU(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run())
	after, err := TreeCPU(os.Getpid())
	require.NoError(t, err)
	assert.Greater(t, after, before)
}

func TestATreeHasTheMemoryOfAllItsProcesses(t *testing.T) {
	c := exec.Command("sh", "-c", "sleep 20 & sleep 20 & wait")
	require.NoError(t, c.Start())
	defer func() {
		for _, pid := range List(c.Process.Pid) {
			p, _ := os.FindProcess(pid)
			p.Kill()
		}
		c.Wait()
	}()
	require.Eventually(t, func() bool { return len(List(c.Process.Pid)) == 3 }, 5*time.Second, 10*time.Millisecond)
	assert.Greater(t, TreePSS(c.Process.Pid), PSS(c.Process.Pid))
	assert.Positive(t, Status(c.Process.Pid, "VmRSS"))
	assert.Zero(t, Status(c.Process.Pid, "VmNone"))
}

func TestAProcessThatHasGoneIsAnError(t *testing.T) {
	c := exec.Command("true")
	require.NoError(t, c.Run())
	_, err := TreeCPU(c.Process.Pid)
	assert.Error(t, err)
}
