package cgi

import (
	"context"
	"io"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func descriptorPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	return p[0], p[1]
}

func TestTheStandardErrorOfAReusedWorkerIsNotDrainedForARequestThatHasEnded(t *testing.T) {
	conn, worker := descriptorPair(t)
	errors, theirs := descriptorPair(t)
	defer syscall.Close(theirs)
	stderr := NewStderr(errors)
	defer stderr.Close()
	req := &Request{Vars: []string{"REQUEST_METHOD=GET"}}
	free := false
	h := Hand(req, Worker{Conn: conn, Stderr: stderr, Reused: true, Line: func(*Request, string) {}, Free: func() { free = true }})
	require.NoError(t, h.Send())
	_, err := syscall.Write(worker, []byte("Content-Type: text/plain\n\nx"))
	require.NoError(t, err)
	h.Done(0)
	syscall.Close(worker)
	res, err := h.RoundTrip(t.Context())
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
	res.Body.Close()
	eventually(t, func() bool { return free }, "the request ends")
	h.p.look()               // its time came as the request ended
	h.Kill(ReasonDisconnect) // and so did the client's
	stderr.mu.Lock()
	defer stderr.mu.Unlock()
	assert.Nil(t, stderr.done)
}

// The client leaves while the worker's word that it has finished is on its way. The worker is sent SIGTERM then, and
// gets it while it waits for the next request, or has it.
func TestAReusedWorkerThatWasSentASignalIsNotFreeBeforeItHasEnded(t *testing.T) {
	conn, worker := descriptorPair(t)
	errors, theirs := descriptorPair(t)
	defer syscall.Close(theirs)
	defer syscall.Close(worker)
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	exits := make(chan Exit, 1)
	req := &Request{Vars: []string{"REQUEST_METHOD=GET"}, Disconnect: Kill, Timeout: Timeouts{Grace: time.Minute}}
	req.AtEnd(func(e Exit) { exits <- e })
	var free atomic.Bool
	h := Hand(req, Worker{Pid: cmd.Process.Pid, Conn: conn, Stderr: NewStderr(errors), Reused: true, Line: func(*Request, string) {}, Free: func() { free.Store(true) }})
	require.NoError(t, h.Send())
	ctx, leave := context.WithCancel(t.Context())
	leave()
	_, err := h.RoundTrip(ctx)
	require.ErrorIs(t, err, ErrGone)
	h.Done(0)
	assert.Never(t, free.Load, 100*time.Millisecond, 10*time.Millisecond, "it has been sent a signal")
	state, err := cmd.Process.Wait()
	require.NoError(t, err)
	h.Exited(Exit{Signal: SignalName(state.Sys().(syscall.WaitStatus).Signal()), Code: -1})
	e := <-exits
	assert.Equal(t, Exit{Started: true, Code: -1, Signal: "SIGTERM", Killed: ReasonDisconnect}, Exit{Started: e.Started, Code: e.Code, Signal: e.Signal, Killed: e.Killed})
	assert.True(t, free.Load())
}
