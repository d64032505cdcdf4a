package cgi

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A namespace of processes whose first one has ended lets none in any more, and fork says ENOMEM. It is that of the children of one
// thread, which ends with the goroutine.
func TestAForkThatFindsNoMemoryIsExhaustion(t *testing.T) {
	needsRoot(t)
	s := newSpawn(t)
	done := make(chan error)
	go func() { // ends with the request
		runtime.LockOSThread() // and never unlocked
		if err := unix.Unshare(unix.CLONE_NEWPID); err != nil {
			done <- err
			return
		}
		first, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err == nil { // else package os has started one before, to see what the system can do
			first.Wait()
		}
		_, err = s.call(helloWorld).try()
		done <- err
	}()
	err := <-done
	require.ErrorIs(t, err, syscall.ENOMEM)
	assert.ErrorIs(t, err, ErrStart)
	assert.ErrorIs(t, err, ErrExhausted)
	assert.Equal(t, "hello, world\n", s.call(helloWorld).mustAnswer())
}

func TestWantOfDescriptorsOrMemoryIsTheMachines(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN} {
		err := explain(&Request{}, &os.SyscallError{Syscall: "fork", Err: e})
		assert.ErrorIs(t, err, ErrExhausted, "%v", e)
		assert.ErrorIs(t, err, e)
	}
	for _, e := range []syscall.Errno{syscall.ENOEXEC, syscall.EACCES, syscall.ENOENT} {
		assert.NotErrorIs(t, explain(&Request{}, e), ErrExhausted, "%v", e)
	}
	assert.False(t, IsExhausted(syscall.EAGAIN), "connect says so when a server's queue is full")
}
