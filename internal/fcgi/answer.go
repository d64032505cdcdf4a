package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
	"warmcgi/internal/monotonic"
)

// An answer is one request on its connection: it is sent, and read as a [cgi.Body].
//
// One goroutine reads. Whatever else happens, that the client has gone or that its body
// broke, sets a flag and pokes the reader, by a read deadline in the past. The reader sets
// its deadline first and looks at the flags after that, so no poke is lost.
type answer struct {
	t   *Transport
	req *cgi.Request
	res *puddle.Resource[*link]
	l   *link
	log *cgi.Lines // nil before the first FCGI_STDERR

	// Of the reader.
	rec     header // the record that is being read; its length is what is left of it
	buf     *[]byte
	ahead   []byte // of STDOUT, read but not passed on
	missing int64  // of an announced length; -1 is unknown
	over    bool   // END_REQUEST was read
	code    uint32
	err     error // how the answer ended
	closed  bool

	began, asked, last time.Time
	takeBy             time.Time // when the request has to have been read; zero: it need not be looked at

	// Of everybody.
	got     atomic.Bool // something has come back
	gone    atomic.Bool
	bodyErr atomic.Pointer[error]
	moved   atomic.Int64 // when the last octet of the body went out, a [monotonic.Instant]
	sent    atomic.Bool  // all of standard input was
	written atomic.Bool  // the head of the request was
	fresh   atomic.Bool  // the connection is new, and may not have been taken

	// When the next connection is closed for it, and how many were. The lock is the
	// transport's.
	nextClaim time.Time
	claims    int

	write    sync.Mutex  // records must not mix
	unwatch  func() bool // ends the watch on the request's context
	poke     sync.Mutex
	finished bool // the connection is given back, or away; its lock is poke
}

// buffers are for heads, and for what is sent.
var buffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// start sends the request and reads the head of the answer.
func (a *answer) start(ctx context.Context) (*cgi.Response, error) {
	if a.l.used++; a.l.used == 1 {
		a.t.asks(a)
	}
	a.unwatch = context.AfterFunc(ctx, a.ClientGone)
	res, err := a.exchange()
	if err != nil {
		a.err = err
		a.finish()
		return nil, err
	}
	return res, nil
}

func (a *answer) exchange() (*cgi.Response, error) {
	if err := a.send(); err != nil {
		return nil, err
	}
	return a.head()
}

// send writes BEGIN_REQUEST, the variables and a body that is there already in one
// piece. Another body follows as it comes.
func (a *answer) send() error {
	b := appendBegin(a.l.out[:0], requestID, a.t.c.role(), flagKeepConn)
	b = appendVars(b, a.req.Vars, a.req.Env)
	vars := len(b) - headerLen // but for the record that ends them
	var rest io.Reader
	s, spooled := a.req.Body.(*cgi.Spooled)
	switch {
	case spooled && s.File() == nil:
		b = appendStream(b, typeStdin, s.Bytes())
	case spooled:
		rest = io.NewSectionReader(s.File(), 0, a.req.Length)
	case a.req.Body != nil:
		rest = a.req.Body
	}
	if rest == nil {
		b = appendRecord(b, typeStdin, requestID, nil)
	}
	if a.l.out = b; cap(b) > 64<<10 {
		a.l.out = nil // not for ever
	}
	switch {
	case !a.mayBeBusy():
	case a.isOffered():
		if err := a.offer(b[:vars]); err != nil {
			return err
		}
		b = b[vars:]
	case a.req.Body == nil && a.t.safe(a.req):
		a.takeBy = time.Now().Add(takeAllTime)
	}
	a.l.c.SetWriteDeadline(a.limit())
	if _, err := a.l.c.Write(b); err != nil {
		return a.noOutput(a.broken(err))
	}
	a.written.Store(true)
	if rest == nil {
		a.sent.Store(true)
		return nil
	}
	a.l.c.SetWriteDeadline(time.Time{})
	go a.sendBody(rest) // ends with the body, or with the connection
	return nil
}

// sendBody streams a request's body.
func (a *answer) sendBody(r io.Reader) {
	b := make([]byte, headerLen+32<<10)
	for left := a.req.Length; ; {
		n, err := r.Read(b[headerLen:min(int64(len(b)), headerLen+max(left, 1))])
		if left -= int64(n); left < 0 {
			err = fmt.Errorf("%w: longer than announced", cgi.ErrBody)
		}
		if n > 0 && left >= 0 {
			a.moved.Store(monotonic.Now())
			header{typ: typeStdin, id: requestID, length: n}.put(b)
			if a.put(b[:headerLen+n]) != nil {
				return // the reader learns of it, if the answer has not come already
			}
		}
		if err == io.EOF || left == 0 {
			if left > 0 {
				err = io.ErrUnexpectedEOF
			} else {
				if a.put(appendRecord(b[:0], typeStdin, requestID, nil)) == nil {
					a.sent.Store(true)
				}
				return
			}
		}
		if err != nil {
			a.bodyErr.CompareAndSwap(nil, &err)
			a.wake(false)
			return
		}
	}
}

// put writes records. An application that does not take them is given up by the reader.
func (a *answer) put(b []byte) error {
	a.write.Lock()
	defer a.write.Unlock()
	_, err := a.l.c.Write(b)
	return err
}

// head reads the answer until its head is complete.
func (a *answer) head() (*cgi.Response, error) {
	a.buf = buffers.Get().(*[]byte)
	b := *a.buf
	for n := 0; ; {
		m, err := a.await(b[n:], time.Time{})
		n += m
		res, at, perr := cgi.ParseHead(b[:n])
		switch {
		case perr != nil:
			return nil, perr
		case at > 0:
			a.ahead, a.missing = b[at:n], res.Length
			res.Body = a
			return res, nil
		case err == io.EOF && n == 0:
			return nil, fmt.Errorf("%w: exit status %d", cgi.ErrNoOutput, a.code)
		case err == io.EOF:
			return nil, fmt.Errorf("%w: the output ends within it, after %d octets", cgi.ErrBadHead, n)
		case errors.Is(err, errLost) && n == 0 && !errors.Is(err, ErrProtocol):
			return nil, a.noOutput(err)
		case errors.Is(err, errLost):
			return nil, fmt.Errorf("%w: %w", cgi.ErrBadHead, err)
		case err != nil:
			return nil, err
		}
		if n == len(b) {
			b = append(b, make([]byte, min(3*len(b), cgi.MaxHead-len(b)))...) // the pooled one goes back all the same
		}
	}
}

// noOutput is what the loss of the connection means while there is no output.
func (a *answer) noOutput(err error) error {
	switch {
	case !errors.Is(err, errLost):
		return err
	case a.got.Load(): // FCGI_STDERR
		return fmt.Errorf("%w: %w", cgi.ErrNoOutput, err)
	}
	return fmt.Errorf("%w: %w: %w", cgi.ErrNoOutput, errUnheard, err)
}

// Read implements [cgi.Body].
func (a *answer) Read(b []byte) (int, error) { return a.read(b, time.Time{}) }

// ReadWithin implements [cgi.Body].
func (a *answer) ReadWithin(b []byte, d time.Duration) (int, error) {
	return a.read(b, time.Now().Add(d))
}

func (a *answer) read(b []byte, within time.Time) (int, error) {
	if a.err != nil || len(b) == 0 {
		return 0, a.err
	}
	if a.missing == 0 {
		a.err = io.EOF // as long as announced: complete, whatever comes from here on
		return 0, a.err
	}
	if a.missing > 0 && int64(len(b)) > a.missing {
		b = b[:a.missing]
	}
	var n int
	var err error
	if len(a.ahead) > 0 {
		n = copy(b, a.ahead)
		a.ahead = a.ahead[n:]
	} else {
		n, err = a.await(b, within)
	}
	if a.missing > 0 {
		a.missing -= int64(n)
	}
	switch {
	case err == nil || err == os.ErrDeadlineExceeded:
	case err == io.EOF && a.missing <= 0:
		a.err = io.EOF
	case err == io.EOF:
		err = fmt.Errorf("%w: %d octets of its Content-Length are missing", cgi.ErrTruncated, a.missing)
		fallthrough
	default:
		if errors.Is(err, errLost) || errors.Is(err, cgi.ErrOverloaded) {
			err = fmt.Errorf("%w: %w", cgi.ErrTruncated, err)
		}
		a.err = fmt.Errorf("script %s: %w", a.req.Script.Name, err)
		err = a.err
	}
	return n, err
}

// leastWithin is the least that is waited for output. A read whose deadline passes before it
// begins gets nothing, though something be there.
const leastWithin = time.Millisecond

// await reads output until within (zero: for ever), the time-outs, or the client's end.
// io.EOF is END_REQUEST, os.ErrDeadlineExceeded that nothing came within; any other error
// is the end of the connection.
func (a *answer) await(b []byte, within time.Time) (int, error) {
	if a.over {
		return 0, io.EOF
	}
	a.asked = time.Now()
	if least := a.asked.Add(leastWithin); !within.IsZero() && within.Before(least) {
		within = least
	}
	for {
		wake := a.limit()
		if !within.IsZero() && (wake.IsZero() || within.Before(wake)) {
			wake = within
		}
		if !a.takeBy.IsZero() && (wake.IsZero() || a.takeBy.Before(wake)) {
			wake = a.takeBy
		}
		a.l.c.SetReadDeadline(wake)
		if err := a.bodyErr.Load(); err != nil {
			return 0, *err
		}
		if a.gone.Load() && a.req.Disconnect == cgi.Kill {
			return 0, cgi.ErrGone
		}
		n, err := a.output(b)
		if n > 0 {
			a.last, a.takeBy = time.Now(), time.Time{}
			a.t.heard.Store(monotonic.At(a.last))
			return n, nil
		}
		if err == io.EOF || !errors.Is(err, os.ErrDeadlineExceeded) {
			if err != io.EOF && !errors.Is(err, cgi.ErrOverloaded) {
				err = a.broken(err)
			}
			return 0, err
		}
		now := time.Now()
		limit := a.limit() // the body may have moved since
		switch {
		case !limit.IsZero() && !now.Before(limit):
			return 0, fmt.Errorf("%w (%s)", cgi.ErrTimeout, a.which())
		case !within.IsZero() && !now.Before(within):
			return 0, os.ErrDeadlineExceeded
		case !a.takeBy.IsZero() && !now.Before(a.takeBy):
			if !a.got.Load() && !a.l.taken() {
				return 0, a.notTaken()
			}
			a.takeBy = time.Time{}
		}
	}
}

// broken is what the failure of the connection means: a client that has gone, or whose
// body broke, comes first.
func (a *answer) broken(err error) error {
	switch body := a.bodyErr.Load(); {
	case body != nil:
		return *body
	case a.gone.Load() && a.req.Disconnect == cgi.Kill:
		return cgi.ErrGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: it does not take the request", cgi.ErrTimeout)
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// errLost: the connection has failed, or what it brought was no FastCGI.
var errLost = errors.New("the connection to the application is lost")

// limit is when the answer has to have moved on; zero is never.
func (a *answer) limit() time.Time {
	to, at := a.req.Timeout, time.Time{}
	if a.got.Load() {
		from := a.asked
		if a.last.After(from) {
			from = a.last
		}
		at = after(from, to.Idle)
	} else {
		from := a.began
		if m := a.moved.Load(); m != 0 {
			from = monotonic.Time(m)
		}
		at = after(from, to.FirstByte)
	}
	if total := after(a.began, to.Total); at.IsZero() || !total.IsZero() && total.Before(at) {
		at = total
	}
	return at
}

// which names the limit that was hit.
func (a *answer) which() string {
	switch total := after(a.began, a.req.Timeout.Total); {
	case !total.IsZero() && !time.Now().Before(total):
		return cgi.ReasonTotal
	case a.got.Load():
		return cgi.ReasonIdle
	}
	return cgi.ReasonFirstByte
}

func after(t time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return t.Add(d)
}

// ClientGone implements [cgi.Body].
func (a *answer) ClientGone() {
	a.gone.Store(true)
	a.wake(a.req.Disconnect == cgi.Kill)
}

// wake pokes the reader, and the writer too where nothing is to be sent any more. It does
// nothing once the connection may be another request's.
func (a *answer) wake(writer bool) {
	a.poke.Lock()
	defer a.poke.Unlock()
	if a.finished {
		return
	}
	if writer {
		a.l.c.SetWriteDeadline(longAgo)
	}
	a.l.c.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// Close implements [cgi.Body].
func (a *answer) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	whole := a.err == io.EOF || a.missing == 0
	if whole && !a.over && a.l.r.Buffered() > 0 {
		a.await(make([]byte, 512), time.Now()) // END_REQUEST has come already, as a rule
	}
	if a.over || !whole && (a.err != nil || a.req.Disconnect == cgi.Kill) {
		a.finish()
		a.end()
	} else {
		go a.drain() // ends with the request, or by the time-outs
	}
	return nil
}

// drain reads what is left: the end of the request as a rule, or an answer that nobody
// wants but that the application is to give.
func (a *answer) drain() {
	a.ahead = nil
	b := make([]byte, 4<<10)
	for err := error(nil); err == nil; {
		_, err = a.await(b, time.Time{})
	}
	a.finish()
	a.end()
}

func (a *answer) end() { a.req.End(cgi.Exit{Started: a.over, Code: int(int32(a.code))}) }

// finish gives the connection back, or away.
func (a *answer) finish() {
	a.unwatch()
	a.poke.Lock()
	a.finished = true
	a.poke.Unlock()
	a.t.app.taken(a)
	if a.log != nil {
		a.log.End()
	}
	if a.buf != nil {
		buffers.Put(a.buf)
		a.buf, a.ahead = nil, nil
	}
	switch {
	case a.over:
		a.t.release(a, a.sent.Load() && a.l.r.Buffered() == 0)
	case errors.Is(a.err, errNotTaken):
		a.t.release(a, false) // it reads nothing
	case a.abort():
		go a.leave() // ends after leaveTime
	default:
		a.t.release(a, false)
	}
}

// abort tells the application that nobody waits any more (spec 5.4), and reports whether
// that could be said. It does not wait.
func (a *answer) abort() bool {
	if !a.write.TryLock() {
		return false // in the midst of a record; the end of the connection says the same
	}
	defer a.write.Unlock()
	a.l.c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := a.l.c.Write(appendRecord(nil, typeAbortRequest, requestID, nil))
	return err == nil
}

// leaveTime is how long an application may take to read that a request is aborted: a
// connection that is closed with something unread may be reset, and the record lost.
const leaveTime = 100 * time.Millisecond

func (a *answer) leave() {
	a.l.c.SetReadDeadline(time.Now().Add(leaveTime))
	io.Copy(io.Discard, a.l.c)
	a.t.release(a, false)
}
