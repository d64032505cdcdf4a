package cgi

import (
	"errors"
	"syscall"
)

// The kinds of failure. Every error of this package wraps one of them; package
// gateway maps them to HTTP in one place.
var (
	// ErrStart: the program could not be started.
	ErrStart = errors.New("can't be started")
	// ErrExhausted: the machine, or the gateway's share of it, has no process, memory or descriptor left for the program now.
	// It comes with ErrStart where the program is to be started, and alone where there is no connection to it for that reason.
	ErrExhausted = errors.New("nothing is left for it")
	// ErrVarsTooLarge: no process can have such variables. It comes with ErrStart.
	ErrVarsTooLarge = errors.New("the request's variables are too large for a process")
	// ErrUnreachable: there is no connection to the application.
	ErrUnreachable = errors.New("can't be reached")
	// ErrOverloaded: the application says that it has too much to do.
	ErrOverloaded = errors.New("is overloaded")
	// ErrLimit: a limit of the route ended the script. It comes with one of the next three.
	ErrLimit = errors.New("over a limit")
	// ErrNoOutput: the script ended without an answer.
	ErrNoOutput = errors.New("no output")
	// ErrBadHead: the head of the answer is not one of RFC 3875 section 6.
	ErrBadHead = errors.New("bad response head")
	// ErrTimeout: the script took longer than it may.
	ErrTimeout = errors.New("timed out")
	// ErrTruncated: the answer broke off after its head.
	ErrTruncated = errors.New("answer cut short")
	// ErrGone: the client went away first.
	ErrGone = errors.New("client has gone")
	// ErrQueueFull: too many requests wait already.
	ErrQueueFull = errors.New("queue is full")
	// ErrQueueWait: the request waited as long as it may, or would have to wait longer.
	ErrQueueWait = errors.New("too long a wait in the queue")
	// ErrBodyTooLarge: the request's body is over the limit.
	ErrBodyTooLarge = errors.New("request body too large")
	// ErrBody: the request's body could not be read; the client's fault.
	ErrBody = errors.New("request body broken")
	// ErrBodyTimeout: the client sent nothing of its body for too long.
	ErrBodyTimeout = errors.New("request body timed out")
	// ErrSpool: the gateway could not store the body.
	ErrSpool = errors.New("can't spool the request body")
)

// IsExhausted reports whether a call to the system failed as there are no descriptors or no memory. It says nothing of
// EAGAIN, which is want of processes from fork, but a full queue from connect.
func IsExhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
