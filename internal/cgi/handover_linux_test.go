package cgi

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheStandardErrorOfAReusedWorkerIsNotDrainedForARequestThatHasEnded(t *testing.T) {
	pair := func() (ours, theirs int) {
		p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		return p[0], p[1]
	}
	conn, worker := pair()
	errors, theirs := pair()
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
