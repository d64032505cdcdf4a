package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"warmcgi/internal/urlpath"
)

// serveNamed runs the program that the front server of a FastCGI door names: nginx,
// Apache or lighttpd has done the routing, and the gateway takes the place of
// fcgiwrap. SCRIPT_FILENAME may carry the extra path behind the program's name; the
// file system says where it ends. Only programs in the door's folders are run.
func (x *exchange) serveNamed(d *doorRules) error {
	name := x.namedFile()
	if !filepath.IsAbs(name) {
		return fmt.Errorf("SCRIPT_FILENAME %q of the front server is not an absolute path: %w", name, errNotFound)
	}
	for _, dir := range d.scripts {
		below, ok := strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/")
		if !ok {
			continue
		}
		p, err := decodedPath(below)
		if err != nil {
			return fmt.Errorf("SCRIPT_FILENAME: %w", err)
		}
		f, err := urlpath.Walk(dir, p, d.named.rules)
		if errors.Is(err, urlpath.ErrOutside) {
			// Debian's cgi-bin has links to gitweb and others: one that leads into
			// another folder of the door may be followed.
			outside := err
			if f, err = urlpath.Walk(dir, p, urlpath.Rules{Follow: true}); err == nil && !insideAny(d.scripts, f.File) {
				err = outside
			}
		}
		if err != nil {
			return err
		}
		if f.Info.IsDir() {
			return fmt.Errorf("SCRIPT_FILENAME %s is a folder: %w", name, errForbidden)
		}
		return x.serveFront(d.named, f)
	}
	return fmt.Errorf("SCRIPT_FILENAME %s is in none of the door's `scripts` folders: %w", name, errForbidden)
}

// isNamed reports whether it is the front server that has the routes.
func (x *exchange) isNamed() bool {
	return x.params != nil && (len(x.rules.scripts) > 0 || x.rules.front != nil)
}

// namedFile is the file that the front server names.
func (x *exchange) namedFile() string {
	name := x.params.Get("SCRIPT_FILENAME")
	if name == "" {
		return x.params.Get("DOCUMENT_ROOT") + x.params.Get("SCRIPT_NAME")
	}
	if path, ok := x.proxiedPath(); ok {
		return path
	}
	return name
}

// proxiedPath is the path of the URL that Apache writes in SCRIPT_FILENAME, for the sake of
// php-fpm: proxy:fcgi://localhost/path. By ProxyPass it is the end of the request's, still
// encoded; by SetHandler the name of a file.
func (x *exchange) proxiedPath() (path string, ok bool) {
	to, ok := strings.CutPrefix(x.params.Get("SCRIPT_FILENAME"), "proxy:")
	if !ok {
		return "", false
	}
	_, hostAndPath, _ := strings.Cut(to, "://")
	_, path, _ = strings.Cut(hostAndPath, "/")
	path = "/" + path
	if decoded, err := url.PathUnescape(path); err == nil && strings.HasSuffix(x.outside(), decoded[strings.LastIndexByte(decoded, '/'):]) {
		path = decoded
	}
	return path, true
}

// outside is the path of the request as the front server has it: what SCRIPT_NAME and
// PATH_INFO together have to be (RFC 3875 section 3.3).
func (x *exchange) outside() string { return x.params.Get("SCRIPT_NAME") + x.params.Get("PATH_INFO") }

func insideAny(folders []string, file string) bool {
	for _, dir := range folders {
		if urlpath.Inside(dir, file) {
			return true
		}
	}
	return false
}

// serveFront runs what serveNamed has found.
func (x *exchange) serveFront(rt *route, f urlpath.Found) error {
	x.route = rt
	if err := x.limitRate(rt); err != nil {
		return err
	}
	if f.Info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("script %s is not executable: %w", f.File, errForbidden)
	}
	sc := scriptCall{file: f.File, name: x.params.Get("SCRIPT_NAME"), info: x.params.Get("PATH_INFO"), label: f.File}
	if rest := f.Rest.String(); rest != "" {
		sc.name, sc.info = strings.TrimSuffix(sc.name, rest), rest
	} else if sc.info != "" {
		// Some configurations send both the whole path as SCRIPT_NAME and PATH_INFO.
		if name, ok := strings.CutSuffix(sc.name, sc.info); ok && strings.HasSuffix(name, "/"+filepath.Base(f.File)) {
			sc.name = name
		}
	}
	return x.serveScript(rt, sc)
}

// ours are the variables of which the front server's word does not count: they
// follow from the request itself and from the split of the path.
var ours = map[string]bool{
	"GATEWAY_INTERFACE": true, "REQUEST_METHOD": true, "QUERY_STRING": true,
	"CONTENT_LENGTH": true, "CONTENT_TYPE": true, "FCGI_ROLE": true,
	"SCRIPT_NAME": true, "SCRIPT_FILENAME": true, "PATH_INFO": true, "PATH_TRANSLATED": true,
	"UNIQUE_ID": true, "REQUEST_ID": true, // of the front server, if they are fit for logs
}

// emptyIsUnset are those that front servers send empty where RFC 3875 has them unset.
var emptyIsUnset = map[string]bool{"REMOTE_USER": true, "AUTH_TYPE": true, "HTTPS": true, "REMOTE_IDENT": true, "REMOTE_HOST": true}

// frontVars are the variables that the front server sets over or beside ours:
// SERVER_NAME and REMOTE_USER as it knows them, and whatever its configuration adds
// (fastcgi_param GIT_PROJECT_ROOT …).
func (x *exchange) frontVars(rt *route) []string {
	var v []string
	for name, value := range x.params.All() {
		switch {
		case ours[name], strings.HasPrefix(name, "HTTP_"), value == "" && emptyIsUnset[name]:
		case rt.auth != nil && (name == "REMOTE_USER" || name == "AUTH_TYPE"):
		case name == "DOCUMENT_ROOT" && (value == "" || rt.docRoot != ""):
		case name == "REMOTE_ADDR" || name == "REMOTE_PORT": // in client, by way of trusted_proxies
		default:
			v = append(v, name+"="+value)
		}
	}
	return v
}

// override puts the variables of over in the place of those with the same name.
func override(vars, over []string) []string {
	if len(over) == 0 {
		return vars
	}
	set := make(map[string]bool, len(over))
	for _, v := range over {
		set[v[:strings.IndexByte(v, '=')]] = true
	}
	kept := vars[:0]
	for _, v := range vars {
		if !set[v[:strings.IndexByte(v, '=')]] {
			kept = append(kept, v)
		}
	}
	return append(kept, over...)
}
