package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"warmcgi/internal/config"
)

// accessLog writes one line per request. Lines are gathered for a moment, so that
// the log costs no system call per request; flush runs once a second and at the end.
type accessLog struct {
	format config.AccessFormat
	path   string // of a file, for reopen

	mu   sync.Mutex
	file io.Writer
	buf  *bufio.Writer
	stop chan struct{}
	done chan struct{}
}

const logFlush = time.Second

func newAccessLog(c config.AccessLog) (*accessLog, error) {
	l := &accessLog{format: c.Format, stop: make(chan struct{}), done: make(chan struct{})}
	switch {
	case c.Format == config.AccessOff:
		close(l.done)
		return l, nil
	case c.To == "stdout":
		l.file = os.Stdout
	case c.To == "stderr":
		l.file = os.Stderr
	default:
		l.path = c.To
		f, err := openLog(l.path)
		if err != nil {
			return nil, fmt.Errorf("access log: %w", err)
		}
		l.file = f
	}
	l.begin()
	return l, nil
}

// newAccessLogTo logs to a writer.
func newAccessLogTo(w io.Writer, format config.AccessFormat) *accessLog {
	l := &accessLog{format: format, file: w, stop: make(chan struct{}), done: make(chan struct{})}
	if format == config.AccessOff {
		close(l.done)
		return l
	}
	l.begin()
	return l
}

func (l *accessLog) begin() {
	l.buf = bufio.NewWriterSize(l.file, 32<<10)
	go l.flusher()
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}

// flusher ends with close.
func (l *accessLog) flusher() {
	defer close(l.done)
	t := time.NewTicker(logFlush)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.flush()
		case <-l.stop:
			return
		}
	}
}

func (l *accessLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Flush()
}

// reopen is for log rotation (SIGUSR1): the file that has the name now.
func (l *accessLog) reopen() error {
	if l.path == "" || l.isClosed() {
		return nil
	}
	f, err := openLog(l.path)
	if err != nil {
		return err // the old file stays in use
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Flush()
	old := l.file.(*os.File)
	l.file = f
	l.buf.Reset(f)
	return old.Close()
}

func (l *accessLog) isClosed() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *accessLog) close() {
	if l.format == config.AccessOff {
		return
	}
	close(l.stop)
	<-l.done
	l.flush()
	if f, ok := l.file.(*os.File); ok && l.path != "" {
		f.Close()
	}
}

// write logs one exchange.
func (l *accessLog) write(x *exchange, complete bool) {
	var line []byte
	switch l.format {
	case config.AccessOff:
		return
	case config.AccessJSON:
		line = jsonLine(x, complete)
	default:
		line = combinedLine(x)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(line)
}

// combinedLine is Apache's and nginx's "combined" format.
func combinedLine(x *exchange) []byte {
	b := make([]byte, 0, 256)
	b = append(b, hostOf(x.client.addr)...)
	b = append(b, " - "...)
	b = appendWord(b, x.user)
	b = append(b, " ["...)
	b = x.began.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, x.asked().Method+" "+x.asked().RequestURI+" "+x.r.Proto)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(x.status), 10)
	b = append(b, ' ')
	if x.bytes == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, x.bytes, 10)
	}
	for _, f := range []string{x.r.Header.Get("Referer"), x.r.Header.Get("User-Agent")} {
		b = append(b, ` "`...)
		if f == "" {
			f = "-"
		}
		b = appendEscaped(b, f)
		b = append(b, '"')
	}
	return append(b, '\n')
}

func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendEscaped(b, strings.ReplaceAll(s, " ", "_"))
}

// appendEscaped keeps a client from writing log lines of its own.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = fmt.Appendf(b, "\\x%02x", c)
		default:
			b = append(b, c)
		}
	}
	return b
}

// jsonLine is one object per request.
func jsonLine(x *exchange, complete bool) []byte {
	r := x.asked()
	line := struct {
		Time      string  `json:"time"`
		ID        string  `json:"id"`
		Trace     string  `json:"trace_id,omitempty"`
		Client    string  `json:"client"`
		User      string  `json:"user,omitempty"`
		Method    string  `json:"method"`
		URI       string  `json:"uri"`
		Proto     string  `json:"proto"`
		Host      string  `json:"host"`
		Status    int     `json:"status"`
		Bytes     int64   `json:"bytes"`
		Seconds   float64 `json:"seconds"`
		Route     string  `json:"route,omitempty"`
		Script    string  `json:"script,omitempty"`
		Mode      string  `json:"mode,omitempty"`
		Complete  bool    `json:"complete"`
		Error     string  `json:"error,omitempty"`
		Referer   string  `json:"referer,omitempty"`
		UserAgent string  `json:"user_agent,omitempty"`
	}{
		Time: x.began.Format(time.RFC3339Nano), ID: x.id, Trace: x.traceID(), Client: hostOf(x.client.addr), User: x.user,
		Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Status: x.status, Bytes: x.bytes, Seconds: time.Since(x.began).Seconds(),
		Route: x.route.label(), Script: x.script, Mode: x.mode, Complete: complete,
		Referer: r.Header.Get("Referer"), UserAgent: r.Header.Get("User-Agent"),
	}
	if x.err != nil {
		line.Error = x.err.Error()
	}
	b, err := json.Marshal(line)
	if err != nil {
		b = []byte(`{"error":"this request can't be logged"}`)
	}
	return append(b, '\n')
}
