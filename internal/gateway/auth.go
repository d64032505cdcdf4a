package gateway

import (
	"fmt"
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

// hashes are the kinds of passwords that count. A plain one does not: every hash of a
// kind that is not known would be one, and whoever has read the file would be in.
var hashes = []htpasswd.PasswdParser{
	htpasswd.AcceptMd5, htpasswd.AcceptSha, htpasswd.AcceptBcrypt, htpasswd.AcceptSsha, htpasswd.AcceptCryptSha,
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
	f, err := htpasswd.New(path, hashes, nil)
	if err != nil {
		return nil, fmt.Errorf("htpasswd file %s: %w", path, err)
	}
	return &basicAuth{realm: realm, path: path, file: f, stamp: stamp, checked: time.Now()}, nil
}

// allow reports whether the request may pass, and as whom.
func (a *basicAuth) allow(r *http.Request) (user string, ok bool) {
	user, password, ok := r.BasicAuth()
	if !ok || user == "" {
		return "", false
	}
	return user, a.current().Match(user, password)
}

// current is the file as it is now. One that can't be read leaves the last state in
// force: a half-written file must not open or shut the door.
func (a *basicAuth) current() *htpasswd.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.checked) > authRecheck {
		a.checked = time.Now()
		if s, err := stampOf(a.path); err == nil && s != a.stamp {
			if a.file.Reload(nil) == nil {
				a.stamp = s
			}
		}
	}
	return a.file
}

// challenge asks the client for a password.
func (x *exchange) challenge(a *basicAuth) {
	x.Header().Set("WWW-Authenticate", "Basic realm="+strconv.Quote(a.realm)+`, charset="UTF-8"`)
	x.errorPage(http.StatusUnauthorized)
}
