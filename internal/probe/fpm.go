package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"warmcgi/internal/cgi"
	"warmcgi/internal/fcgi"
)

// ErrAnswer is an answer that a probe did not expect.
var ErrAnswer = errors.New("unexpected answer")

// Status is php-fpm's own account of a pool (pm.status_path).
type Status struct {
	// Pool is its name, Manager its pm: static, dynamic or ondemand. Only of a static pool
	// Total is the most processes that there can be.
	Pool    string `json:"pool"`
	Manager string `json:"process manager"`
	// StartSince is its age in seconds, Accepted the requests since then.
	StartSince int64 `json:"start since"`
	Accepted   int64 `json:"accepted conn"`
	// Queue are the connections that wait for a process, MaxQueue the most there were, and
	// QueueLen how many there can be (0 on Unix sockets: not known).
	Queue    int `json:"listen queue"`
	MaxQueue int `json:"max listen queue"`
	QueueLen int `json:"listen queue len"`
	// Idle, Active and Total are processes now, MaxActive the most that were active.
	Idle      int `json:"idle processes"`
	Active    int `json:"active processes"`
	Total     int `json:"total processes"`
	MaxActive int `json:"max active processes"`
	// MaxChildrenReached is how often more processes were wanted than there may be.
	MaxChildrenReached int64 `json:"max children reached"`
	// SlowRequests took longer than request_slowlog_timeout.
	SlowRequests int64 `json:"slow requests"`
	// MemoryPeak is the most that one process used, in octets; 0 before PHP 8.4.
	MemoryPeak int64 `json:"memory peak"`
}

// Ping asks for php-fpm's ping.path. nil is an answer of status 200.
func (t Target) Ping(ctx context.Context, path string) error {
	_, err := t.page(ctx, path, "")
	return err
}

// FPMStatus asks for php-fpm's pm.status_path. The request needs one of its processes.
func (t Target) FPMStatus(ctx context.Context, path string) (Status, error) {
	var s Status
	page, err := t.page(ctx, path, "json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(page, &s); err != nil || s.Pool == "" {
		return s, fmt.Errorf("%w: %s is not php-fpm's status: %.60q", ErrAnswer, path, page)
	}
	return s, nil
}

// Values asks the application about its limits: FCGI_MAX_CONNS, FCGI_MAX_REQS and
// FCGI_MPXS_CONNS (spec 4.1). Those that it does not know are missing.
func (t Target) Values(ctx context.Context) (map[string]string, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	v, err := fcgi.Values(c, "FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ended(ctx)
	case err != nil && !errors.Is(err, fcgi.ErrProtocol):
		return nil, fmt.Errorf("%w: %w", cgi.ErrNoOutput, err)
	}
	return v, err
}

// maxPage is the most that a page may hold.
const maxPage = 64 << 10

// page gets one of php-fpm's own pages.
func (t Target) page(ctx context.Context, path, query string) ([]byte, error) {
	var head *cgi.Response
	var page limited
	_, err := t.Call(ctx, Request{
		// php-fpm compares SCRIPT_NAME, but only if there is a SCRIPT_FILENAME.
		Params: map[string]string{
			"REQUEST_METHOD": http.MethodGet, "SCRIPT_NAME": path, "SCRIPT_FILENAME": path, "QUERY_STRING": query,
			"REQUEST_URI": path, "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": cgi.Software,
		},
		Head: func(res *cgi.Response) { head = res },
		Out:  &page,
	})
	switch {
	case err != nil:
		return nil, err
	case head.Status != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d for %s", ErrAnswer, head.Status, path)
	}
	return page.Bytes(), nil
}

// limited is a buffer for a page.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxPage {
		return 0, fmt.Errorf("%w: longer than %d octets", ErrAnswer, maxPage)
	}
	return l.Buffer.Write(b)
}
