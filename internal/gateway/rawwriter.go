package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"warmcgi/internal/cgi"
)

// rawWriter is an [http.ResponseWriter] on a connection that was taken out of
// net/http's hands, for the two things that net/http can't do: a script's own reason
// phrase, and an nph- script's answer, octet by octet. The connection is closed
// behind the answer.
type rawWriter struct {
	net.Conn
	under  *conn // the same without TLS
	r      *http.Request
	header http.Header
	reason string
	buf    *bufio.Writer
	body   io.Writer      // nil before the head, and where no body may follow
	chunks io.WriteCloser // body, where it is chunked
	wrote  bool
	eyes   sync.WaitGroup // the goroutine that watches the client
}

// canHijack: only HTTP/1 connections whose request body is not being read.
func (x *exchange) canHijack() bool {
	return x.conn != nil && x.r.ProtoMajor == 1 && !x.hijacked && (x.body == nil || x.body.atEnd())
}

// hijack puts a rawWriter in the place of net/http's writer. What net/http did about
// a client that leaves has to be done anew.
func (x *exchange) hijack(res *cgi.Response) error {
	header := x.ResponseWriter.Header()
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return fmt.Errorf("taking over the connection: %w", err)
	}
	c.SetDeadline(time.Time{})
	w := &rawWriter{Conn: c, under: x.conn, r: x.r, header: header, buf: rw.Writer}
	w.eyes.Go(func() { // ends with the read deadline that close sets
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil && !isTimeout(err) {
			res.Body.ClientGone()
		}
	})
	x.ResponseWriter, x.hijacked = w, true
	return nil
}

func (w *rawWriter) Header() http.Header { return w.header }

func (w *rawWriter) WriteHeader(code int) {
	if w.wrote || code < 200 {
		return
	}
	w.wrote = true
	reason := w.reason
	if reason == "" {
		reason = http.StatusText(code)
	}
	fmt.Fprintf(w.buf, "HTTP/1.1 %03d %s\r\n", code, reason)
	if _, ok := w.header["Date"]; !ok {
		fmt.Fprintf(w.buf, "Date: %s\r\n", time.Now().UTC().Format(http.TimeFormat))
	}
	bare := w.r.Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified
	if !bare {
		w.body = w.buf
		if w.header.Get("Content-Length") == "" && w.r.ProtoAtLeast(1, 1) {
			w.chunks = httputil.NewChunkedWriter(w.buf)
			w.body = w.chunks
			w.header.Set("Transfer-Encoding", "chunked")
		}
	}
	w.header.Set("Connection", "close")
	w.header.Write(w.buf)
	io.WriteString(w.buf, "\r\n")
}

func (w *rawWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.body == nil {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(b)
}

func (w *rawWriter) FlushError() error { return w.buf.Flush() }

// finish ends the answer and closes the connection. An answer that is not complete
// must not look so: its chunks get no end, and without chunks the client gets a
// reset.
func (w *rawWriter) finish(complete bool) {
	if complete && w.chunks != nil {
		w.chunks.Close()
		io.WriteString(w.buf, "\r\n")
	}
	w.buf.Flush()
	w.SetReadDeadline(time.Unix(1, 0))
	w.eyes.Wait()
	if !complete {
		w.under.reset()
		w.Close()
		return
	}
	linger(w.Conn)
	w.Close()
}

// sendRaw sends an nph- script's answer as it is. Where there is no raw connection
// (HTTP/2, FastCGI), its own head is read and sent in their way.
func (x *exchange) sendRaw(res *cgi.Response) error {
	if !x.canHijack() {
		cooked, err := res.Cook()
		if err != nil {
			return err
		}
		return x.send(cooked)
	}
	if err := x.hijack(res); err != nil {
		return err
	}
	w := x.ResponseWriter.(*rawWriter)
	x.status = http.StatusOK // what it says itself is its own affair
	w.wrote, w.body = true, w.buf
	for buf := make([]byte, 32<<10); ; {
		n, err := res.Body.Read(buf)
		x.stallAfter()
		if _, werr := x.Write(buf[:n]); werr != nil {
			return x.writeFailed(werr)
		}
		if ferr := x.flush(); ferr != nil {
			return x.writeFailed(ferr)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
