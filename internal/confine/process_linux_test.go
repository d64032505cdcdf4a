package confine

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sleeper is a process group of its own, of a user.
func sleeper(t *testing.T, u *User) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID}}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// A warm parent runs a user's code. It may name any number as that of its worker.
func TestOnlyProcessesOfTheUserAreSignalled(t *testing.T) {
	needsRoot(t)
	as := &Rules{User: &User{Name: "x", UID: 61234, GID: 61234}}
	other := sleeper(t, &User{UID: 0})
	assert.Equal(t, syscall.ESRCH, as.Kill(other, syscall.SIGKILL))
	assert.NoError(t, syscall.Kill(other, 0), "it lives")

	own := sleeper(t, as.User)
	assert.NoError(t, as.Kill(own, syscall.SIGKILL))
	var ws syscall.WaitStatus
	_, err := syscall.Wait4(own, &ws, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, syscall.SIGKILL, ws.Signal())
	assert.Error(t, as.Kill(own, syscall.SIGKILL), "it has gone")
}

func TestLookingAtAUsersProcessesGivesTheIdentityBack(t *testing.T) {
	needsRoot(t)
	as := &Rules{User: &User{Name: "x", UID: 61234, GID: 61234}}
	secret := t.TempDir() + "/root's"
	require.NoError(t, os.WriteFile(secret, nil, 0o600))
	as.Look(func() {
		_, err := os.ReadFile(secret)
		assert.ErrorIs(t, err, os.ErrPermission)
	})
	for range 20 { // on whatever thread
		_, err := os.ReadFile(secret)
		require.NoError(t, err)
	}
	own := sleeper(t, as.User)
	as.Look(func() {
		_, err := os.Readlink("/proc/" + strconv.Itoa(own) + "/fd/0")
		assert.NoError(t, err)
	})
}

func TestTheProcessorTimeOfAProcessIsKnown(t *testing.T) {
	assert.Zero(t, CPUTime(1<<22+1), "of one that is not there")
	before := CPUTime(os.Getpid())
	for began := time.Now(); CPUTime(os.Getpid()) < before+10*time.Millisecond; {
		require.Less(t, time.Since(began), time.Minute)
	}
}
