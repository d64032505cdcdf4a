// Package cgi is the Common Gateway Interface, RFC 3875: the meta-variables of a
// request, the split of a path into script and extra path, the head of a script's
// answer, and the backend that starts a process per request (mode spawn).
//
// Its [Backend] is the seam of the gateway: everything that can answer a request
// implements it, and limits, queues and retries wrap it.
package cgi

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"warmcgi/internal/confine"
)

// A Backend answers requests, as an [http.RoundTripper] does.
//
// RoundTrip returns when the head of the answer is known; the body follows as it
// comes. An error is one of the kinds of this package. When ctx ends, the request's
// [Disconnect] policy decides what becomes of the script. The backend calls
// [Request.End] exactly once, when nothing works on the request any more: this can
// be long after the answer's body has ended.
type Backend interface {
	RoundTrip(ctx context.Context, req *Request) (*Response, error)
}

// A Request is one request for a script.
type Request struct {
	// ID tags every log line of this request.
	ID string
	// Route is what the metrics call the part of the site that the script is in.
	Route string
	// Script is what answers.
	Script Script
	// Vars are the meta-variables (RFC 3875 section 4.1), each NAME=value.
	Vars []string
	// Env is the base environment of the script, each NAME=value.
	Env []string
	// Body is the request's body; nil is none. It holds Length octets: a body of
	// unknown length was spooled first, see [Spool].
	Body   io.Reader
	Length int64
	// Timeout are the limits on the script's time.
	Timeout Timeouts
	// Queue are the limits on the script's processes, see [Queue]. Every request of
	// a script must bring the same ones.
	Queue QueueLimits
	// Disconnect says what happens to the script when the client has gone.
	Disconnect Disconnect
	// Workers says whether and how the script is kept warm; nil is mode spawn.
	Workers *Workers
	// Confine is the user that the script runs as, and the limits of its processes; nil is
	// as the gateway itself. Scripts of different rules never share a worker.
	Confine *confine.Rules
	// Mode is how the request was answered in the end; "" is spawn. Backends set it
	// before RoundTrip returns.
	Mode Mode

	// Waited, when not nil, is told how long the request has waited for its turn, and how
	// that ended (nil: it runs).
	Waited func(d time.Duration, err error)

	once  sync.Once
	atEnd []func(Exit)
	ends  [4]func(Exit) // room for them, as a rule
}

// A Script is a program that a URL names.
type Script struct {
	// Name is what log lines and metrics call it: SCRIPT_NAME.
	Name string
	// File is the program's path: SCRIPT_FILENAME.
	File string
	// Dir is the working directory: the script's folder.
	Dir string
	// Interpreter runs the file where it is not executable by itself.
	Interpreter string
	// Args are the arguments behind the program's name: those of the configuration,
	// then the words of an indexed query (RFC 3875 section 4.4).
	Args []string
	// NPH: the script writes the whole HTTP answer itself (RFC 3875 section 5).
	NPH bool
}

// Timeouts bound a script's time. Zero is no limit.
type Timeouts struct {
	// FirstByte is how long a script may take to its first output, counted from its
	// start or from the last octet of the body that it was given.
	FirstByte time.Duration
	// Idle is the longest pause within the output.
	Idle time.Duration
	// Total is the longest life of the process.
	Total time.Duration
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
}

// Disconnect is what happens to a script when its client has gone.
type Disconnect int

const (
	// Kill ends the script.
	Kill Disconnect = iota
	// Finish lets it run to its end; its output is thrown away.
	Finish
)

// A Response is a script's answer.
type Response struct {
	// Status is the HTTP status, 200 to 599.
	Status int
	// Reason is the script's own reason phrase; "" is the usual one.
	Reason string
	// Header are the fields that go to the client: no Status, no hop-by-hop field,
	// no Content-Length.
	Header http.Header
	// Length is the length of the body as the script announced it, or -1.
	Length int64
	// Raw: an nph- script's answer. Body is the whole of it, status line included,
	// and the fields above are empty.
	Raw bool
	// Body is the rest of the answer. The caller must close it.
	Body Body

	chosen bool // the script chose the status itself
}

// A Body is an answer's body as it comes from the script.
//
// Read returns [io.EOF] only when the answer is complete. Any other error means
// that it is cut short and must not be passed on as if it were whole.
type Body interface {
	io.ReadCloser
	// ReadWithin is Read, but gives up with [os.ErrDeadlineExceeded] when nothing
	// has come within d. The answer can be read on after that.
	ReadWithin(p []byte, d time.Duration) (int, error)
	// ClientGone does what the end of the request's context does, for a caller that
	// learns of it in another way. It may be called from any goroutine.
	ClientGone()
}

// Exit says how the process behind a request ended.
type Exit struct {
	// Started is false when there was no process.
	Started bool
	// Code is the exit status, or -1 after a signal.
	Code int
	// Signal names the signal that ended it, or is "".
	Signal string
	// Killed says why the gateway ended it, or is "": see the Reason constants.
	Killed string
	// Limit names the limit that ended it, where that is known, or is "": see package confine.
	Limit string
	// Met are the limits of the script's processes together, but for Limit, that one of them has come up against
	// meanwhile, if perhaps for another request.
	Met []string
	// User and System are the CPU time of the process and the children it waited for.
	User, System time.Duration
}

// AtEnd has f called when nothing works on the request any more.
func (r *Request) AtEnd(f func(Exit)) {
	if r.atEnd == nil {
		r.atEnd = r.ends[:0]
	}
	r.atEnd = append(r.atEnd, f)
}

// End calls what AtEnd was given, last first, once. It is for backends.
func (r *Request) End(e Exit) {
	r.once.Do(func() {
		for i := len(r.atEnd) - 1; i >= 0; i-- {
			r.atEnd[i](e)
		}
	})
}

// Why the gateway ended a process: values of [Exit].Killed and of a metric's label.
const (
	ReasonFirstByte  = "first_byte"  // no output in time
	ReasonIdle       = "idle"        // a pause in the output
	ReasonTotal      = "total"       // ran too long
	ReasonDisconnect = "disconnect"  // the client has gone
	ReasonBadHead    = "bad_head"    // its answer could not be used
	ReasonBody       = "body"        // the client's body failed on the way
	ReasonShutdown   = "shutdown"    // the gateway ends
	ReasonLeftBehind = "left_behind" // processes of its group outlived the script
)

// Attempt is the same request for one of several tries at it, with an end of its own.
func (r *Request) Attempt() *Request {
	return &Request{
		ID: r.ID, Route: r.Route, Script: r.Script, Vars: r.Vars, Env: r.Env, Body: r.Body, Length: r.Length,
		Timeout: r.Timeout, Queue: r.Queue, Disconnect: r.Disconnect, Workers: r.Workers, Confine: r.Confine, Mode: r.Mode, Waited: r.Waited,
	}
}
