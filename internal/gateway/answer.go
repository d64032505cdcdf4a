package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"warmcgi/internal/cgi"
)

const (
	// flushAfter is how long a piece of an answer of unknown length may wait for
	// more to go with it. It is the most that streaming adds, and it lets a short
	// answer leave in one piece, with its length.
	flushAfter = 2 * time.Millisecond
	// flushAtLast is how long it may wait for one piece after the other.
	flushAtLast = 10 * time.Millisecond
	// holdPoll is how often an answer that is held back looks whether it may go.
	holdPoll = 10 * time.Millisecond
	// whole is the most that leaves in one piece, with its length, when the script did not say it.
	whole = 64 << 10
	// piece is how much of a longer answer is copied at once: half of a pipe, so that the script
	// fills the other half meanwhile. By 64 KiB it takes half as much time again, and by
	// splice(2), too (docs/design.md, Streaming).
	piece = 32 << 10
	// writeStall is the usual [Server].stall.
	writeStall = 60 * time.Second
)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, whole); return &b }}

// send turns a script's answer into HTTP: this is the one place. It returns an error
// before anything was sent; afterwards, a failure breaks the connection.
func (x *exchange) send(res *cgi.Response) error {
	defer res.Body.Close()
	if res.Raw {
		return x.sendRaw(res)
	}
	h := x.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one, which can be an attack
	}
	bare := x.r.Method == http.MethodHead || res.Status == http.StatusNoContent || res.Status == http.StatusNotModified
	if res.Length >= 0 && res.Status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(res.Length, 10)}
	}
	if res.Reason != "" && x.canHijack() {
		if err := x.hijack(res); err != nil {
			return err
		}
		x.ResponseWriter.(*rawWriter).reason = res.Reason
	}
	if bare {
		return x.sendBare(res)
	}
	return x.sendBody(res)
}

// sendBare sends a head alone. What the script writes behind it is taken from it,
// so that it can come to its end.
func (x *exchange) sendBare(res *cgi.Response) error {
	x.head(res)
	x.flush()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		x.s.log.Debug("the end of an answer without a body", "id", x.id, "err", err)
	}
	return nil
}

// sendBody copies the body: each piece goes out at most flushAfter after it came, and
// pieces that come faster go together, for flushAtLast.
func (x *exchange) sendBody(res *cgi.Response) error {
	pooled := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(pooled)
	buf := *pooled
	have := 0           // octets in buf
	held := true        // something was not flushed yet; at first the head
	since := time.Now() // it came
	for {
		var n int
		var err error
		if x.holdsBack() {
			n, err = res.Body.ReadWithin(buf[have:], holdPoll)
		} else if held {
			n, err = res.Body.ReadWithin(buf[have:], min(flushAfter, flushAtLast-time.Since(since)))
		} else {
			n, err = res.Body.Read(buf[have:])
		}
		if n > 0 && !held {
			held, since = true, time.Now()
		}
		have += n
		if err == nil && have < len(buf) {
			continue
		}
		dry := errors.Is(err, os.ErrDeadlineExceeded)
		if dry && have < len(buf) && x.holdsBack() {
			continue
		}
		broken := err != nil && err != io.EOF && !dry
		if broken && have == 0 && x.status == 0 {
			return err // nothing was sent: there can still be an error page
		}
		if err == io.EOF && x.status == 0 && res.Length < 0 {
			x.Header()["Content-Length"] = []string{strconv.Itoa(have)}
		}
		if werr := x.write(res, buf[:have], dry || broken); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if broken {
			return err
		}
		have, held, since = 0, !dry, time.Now()
		buf = buf[:piece]
	}
}

// holdsBack reports whether the answer must not begin yet, because the request has
// not come in whole: nginx, by either protocol, sends nothing more of a body when
// the answer has begun, and git http-backend begins its answer before it reads. A
// client with HTTP/2 of its own does both at once.
func (x *exchange) holdsBack() bool {
	return x.status == 0 && x.body != nil && (x.params != nil || x.r.ProtoMajor == 1) && x.body.coming()
}

// write sends a piece, behind the head if that is still to go.
func (x *exchange) write(res *cgi.Response, b []byte, flush bool) error {
	x.head(res)
	if len(b) > 0 {
		if _, err := x.Write(b); err != nil {
			return x.writeFailed(err)
		}
	}
	if flush {
		if err := x.flush(); err != nil {
			return x.writeFailed(err)
		}
	}
	return nil
}

// head sends the head, once.
func (x *exchange) head(res *cgi.Response) {
	x.stallAfter()
	if x.status != 0 {
		return
	}
	if w, ok := x.ResponseWriter.(interface{ WriteStatus(int, string) }); ok && res.Reason != "" {
		x.status = res.Status
		x.beforeHead(res.Status)
		w.WriteStatus(res.Status, res.Reason)
		return
	}
	x.WriteHeader(res.Status)
}

// stallGuard renews the write deadline with every read.
type stallGuard struct {
	x *exchange
	r io.Reader
}

func (g stallGuard) Read(b []byte) (int, error) {
	n, err := g.r.Read(b)
	g.x.stallAfter()
	return n, err
}

func (x *exchange) flush() error {
	if x.comp != nil {
		if err := x.comp.flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// stallAfter bounds the next write, where [conn] does not do that by itself.
func (x *exchange) stallAfter() {
	if !x.boundByConn() {
		x.writeBy(time.Now().Add(x.s.stall))
	}
}

// boundByConn reports whether [conn], or a FastCGI door, sees a client that takes nothing.
// Over HTTP/2 neither does: there each answer has a window of its own.
func (x *exchange) boundByConn() bool {
	return x.params != nil || x.conn != nil && x.conn.out != nil && x.r.ProtoMajor == 1
}

// writeBy sets the deadline of writing; finish takes it back, as net/http would keep it
// for the connection's next request.
func (x *exchange) writeBy(t time.Time) {
	x.bounded = !t.IsZero()
	http.NewResponseController(x.ResponseWriter).SetWriteDeadline(t)
}

// writeFailed is a write error: whatever its cause, the client will not get the
// rest.
func (x *exchange) writeFailed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: it took nothing for %v", cgi.ErrGone, x.s.stall)
	}
	return fmt.Errorf("%w: %w", cgi.ErrGone, err)
}
