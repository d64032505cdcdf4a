package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"warmcgi/internal/cgi"
	"warmcgi/internal/urlpath"
)

// sendFile answers with the file that a script names in X-Sendfile (lighttpd,
// Apache's mod_xsendfile) or X-Accel-Redirect (nginx), where the route allows it.
// Both take a path of the file system here; the script's other fields go with it.
// Without `x_sendfile` in the route the fields are nothing special.
func (x *exchange) sendFile(rt *route, res *cgi.Response) (done bool, err error) {
	if len(rt.XSendfile) == 0 || res.Raw {
		return false, nil
	}
	name := ""
	for _, field := range []string{"X-Sendfile", "X-Accel-Redirect"} {
		if v := res.Header.Get(field); v != "" {
			name = v
		}
		res.Header.Del(field)
	}
	if name == "" {
		return false, nil
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	file := filepath.Clean(name)
	if !filepath.IsAbs(file) {
		return false, fmt.Errorf("script %s: X-Sendfile %q is not an absolute path: %w", x.script, name, errForbidden)
	}
	info, err := os.Stat(file)
	if err != nil {
		return false, fmt.Errorf("script %s: X-Sendfile: %w", x.script, err)
	}
	for _, dir := range rt.XSendfile {
		if urlpath.Inside(dir, file) {
			if !info.Mode().IsRegular() {
				break
			}
			h := x.Header()
			for k, v := range res.Header {
				if k != "Last-Modified" && k != "Etag" {
					h[k] = v
				}
			}
			if x.r.Method != http.MethodHead {
				x.r = x.r.WithContext(x.r.Context()) // the log has the request as it came
				x.r.Method = http.MethodGet          // a POST may be answered with a file
			}
			mode := x.mode
			err := x.sendStatic(dir, file, urlpath.Rules{})
			x.mode = mode
			return err == nil, err
		}
	}
	return false, fmt.Errorf("script %s: X-Sendfile %s is in none of the folders of `x_sendfile`: %w", x.script, file, errForbidden)
}
