package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/tg123/go-htpasswd"
)

// basicAuth asks for a name and a password and looks them up in an htpasswd file
// (bcrypt, SHA, apr1, crypt). The file is read again when it has changed.
type basicAuth struct {
	realm, path string

	mu      sync.Mutex
	file    *htpasswd.File
	stamp   fileStamp
	checked time.Time
}

// authRecheck is how often a change of the file is looked for.
const authRecheck = time.Second

// fileStamp tells one state of a file from another.
type fileStamp struct {
	mtime time.Time
	size  int64
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

func newBasicAuth(realm, path string) (*basicAuth, error) {
	stamp, err := stampOf(path)
	if err != nil {
		return nil, fmt.Errorf("htpasswd file: %w", err)
	}
	var costly error
	f, err := htpasswd.New(path, hashes, func(err error) {
		if errors.Is(err, errCostly) { // whatever else is wrong with a line may be a comment
			costly = err
		}
	})
	if err = cmp.Or(err, costly); err != nil {
		return nil, fmt.Errorf("htpasswd file %s: %w", path, err)
	}
	return &basicAuth{realm: realm, path: path, file: f, stamp: stamp, checked: time.Now()}, nil
}

// allow reports whether the request may pass, and as whom. The error is that it can't be
// told now.
func (a *basicAuth) allow(r *http.Request, h *hashers) (user string, ok bool, err error) {
	user, password, ok := r.BasicAuth()
	if !ok || user == "" || len(password) > maxPassword {
		return "", false, nil
	}
	f := a.current(h.log)
	if !f.Exists(user) {
		return user, false, nil
	}
	ok = false
	err = h.do(r.Context(), func() { ok = f.Match(user, password) })
	return user, ok, err
}

// current is the file as it is now. One that can't be read leaves the last state in
// force: a half-written file must not open or shut the door.
func (a *basicAuth) current(log *slog.Logger) *htpasswd.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.checked) > authRecheck {
		a.checked = time.Now()
		if s, err := stampOf(a.path); err == nil && s != a.stamp {
			if f, err := newBasicAuth(a.realm, a.path); err == nil {
				a.file, a.stamp = f.file, f.stamp
			} else if errors.Is(err, errCostly) {
				a.stamp = s // once is enough
				log.Warn("a changed file of passwords is not read, and the last state of it stays in force", "err", err)
			}
		}
	}
	return a.file
}

// refuse answers a request whose body nobody is going to read. Many clients read the answer
// only when they have sent everything, so the body is taken behind it, see drainBody.
func (x *exchange) refuse(rt *route, answer func() error) error {
	if x.r.ContentLength == 0 || x.r.ProtoMajor != 1 || x.conn == nil || x.body != nil {
		return answer()
	}
	x.duplex = http.NewResponseController(x.ResponseWriter).EnableFullDuplex() == nil
	err := answer()
	x.body = newClientBody(x.ResponseWriter, x.r, time.Duration(rt.Timeout.Idle))
	return err
}

// challenge asks the client for a password.
func (x *exchange) challenge(a *basicAuth) {
	x.Header().Set("WWW-Authenticate", "Basic realm="+strconv.Quote(a.realm)+`, charset="UTF-8"`)
	x.errorPage(http.StatusUnauthorized)
}
