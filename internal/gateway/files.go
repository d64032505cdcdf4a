package gateway

import (
	"errors"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"warmcgi/internal/urlpath"
)

// serveFiles: the path names a file, or a script among the files.
func (x *exchange) serveFiles(rt *route, rest urlpath.Path) error {
	f, err := urlpath.Walk(rt.Files.Root, rest, rt.rules)
	if err != nil {
		return err
	}
	if f.Info.IsDir() {
		return x.serveFolder(rt, f, rt.Files.Index, rt.Files.Listing, func(f urlpath.Found) error { return x.serveFile(rt, f) })
	}
	return x.serveFile(rt, f)
}

// serveFile runs a script and sends any other file.
func (x *exchange) serveFile(rt *route, f urlpath.Found) error {
	if rt.isScript[filepath.Ext(f.File)] {
		return x.serveFound(rt, f)
	}
	if len(f.Rest) > 0 {
		return fmt.Errorf("%s is a file, not a folder: %w", f.File, errNotFound)
	}
	if rt.isSource(f.File) {
		return fmt.Errorf("%s is a script, and its source is never sent; name its extension in `scripts` to run it: %w", f.File, errForbidden)
	}
	return x.sendStatic(f.Root, f.File, rt.rules)
}

// isSource reports whether a file is a program by its name, wherever it lies: one that
// a route was not told to run must not be read by the world instead. Neither must one
// whose extension is a script's but for its case: there are file systems to which that
// is the same file.
func (rt *route) isSource(file string) bool {
	ext := strings.ToLower(filepath.Ext(file))
	for script := range rt.isScript {
		if strings.EqualFold(script, ext) {
			return true
		}
	}
	switch ext {
	case ".cgi", ".fcgi", ".phtml", ".phar":
		return true
	}
	return strings.Trim(ext, "0123456789") == ".php"
}

// serveFolder answers for a folder: by the first index that is there, by a listing
// where that is wanted.
func (x *exchange) serveFolder(rt *route, f urlpath.Found, index []string, listing bool, serve func(urlpath.Found) error) error {
	if x.path[len(x.path)-1] != "" {
		// Relative links need the slash. Of `/a/.` the client knows that it is one.
		x.redirect(withQuery((&url.URL{Path: x.path.Clean() + "/"}).EscapedPath(), x.r.URL.RawQuery))
		return nil
	}
	for _, name := range index {
		in, err := urlpath.Walk(f.File, urlpath.Path{name}, rt.rules)
		if err != nil || in.Info.IsDir() {
			continue
		}
		in.Root, in.Linked = f.Root, in.Linked || f.Linked
		in.Used = append(f.Used[:len(f.Used):len(f.Used)], name)
		return serve(in)
	}
	if listing {
		return x.list(rt, f)
	}
	return fmt.Errorf("%s %w: %w", f.File, errNoIndex, errForbidden)
}

// errNoIndex is why nothing answers for a folder.
var errNoIndex = errors.New("has no index, and listing is off")

// encodings are the precompressed siblings that may stand in for a file, best first.
var encodings = []struct{ name, ext string }{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// sendStatic sends a file below root: ranges, conditions and sendfile are net/http's.
func (x *exchange) sendStatic(root, file string, rules urlpath.Rules) error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return fmt.Errorf("%s of a file: %w", x.r.Method, errMethod)
	}
	f, info, err := openRegular(root, file, rules)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	h := x.Header()
	ctype := h.Get("Content-Type")
	if ctype == "" {
		if ctype = mime.TypeByExtension(filepath.Ext(file)); ctype == "" {
			ctype = "application/octet-stream" // never guessed from the contents
		}
	}
	x.mode = "files"
	compressed := false
	for _, e := range encodings {
		sib, err := os.Lstat(file + e.ext)
		if err != nil || !sib.Mode().IsRegular() || sib.ModTime().Before(info.ModTime()) {
			continue
		}
		if !compressed {
			h.Add("Vary", "Accept-Encoding")
			compressed = true
		}
		if quality(x.r.Header["Accept-Encoding"], e.name) > 0 {
			other, sib, err := openRegular(root, file+e.ext, rules)
			if err != nil {
				continue
			}
			f.Close()
			f, info = other, sib
			h.Set("Content-Encoding", e.name)
			break
		}
	}
	h.Set("Content-Type", ctype)
	h.Set("ETag", `"`+strconv.FormatInt(info.ModTime().UnixNano(), 36)+"-"+strconv.FormatInt(info.Size(), 36)+`"`)
	x.stallAfter()
	http.ServeContent(x, withoutEmptySuffix(x.r), "", info.ModTime(), f)
	return nil
}

// withoutEmptySuffix takes a Range away that asks for the last 0 octets. net/http would answer
// with a part that ends before it begins; a server may ignore any Range (RFC 9110 section 14.2).
func withoutEmptySuffix(r *http.Request) *http.Request {
	for _, v := range r.Header["Range"] {
		_, specs, _ := strings.Cut(v, "=")
		for spec := range strings.SplitSeq(specs, ",") {
			if n, suffix := strings.CutPrefix(strings.TrimSpace(spec), "-"); suffix && strings.Trim(n, "0 \t") == "" {
				r = r.Clone(r.Context())
				delete(r.Header, "Range")
				return r
			}
		}
	}
	return r
}

// openRegular opens a file as it is now; what was found there may be something else already.
func openRegular(root, file string, rules urlpath.Rules) (*os.File, fs.FileInfo, error) {
	f, err := urlpath.Open(root, file, rules)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file: %w", file, errNotFound)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// list shows a folder. What is never served is not shown either.
func (x *exchange) list(rt *route, f urlpath.Found) error {
	dir, err := f.Open(rt.rules)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		if a.IsDir() != b.IsDir() {
			if a.IsDir() {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name(), b.Name())
	})
	title := html.EscapeString(x.path.Clean())
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>%s</title>\n<h1>%s</h1>\n<ul>\n", title, title)
	if len(f.Used) > 0 {
		b.WriteString("<li><a href=\"../\">../</a>\n")
	}
	for _, e := range entries {
		name := e.Name()
		if _, err := urlpath.Walk(f.File, urlpath.Path{name}, rt.rules); err != nil {
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		fmt.Fprintf(&b, "<li><a href=\"./%s\">%s</a>\n", html.EscapeString(url.PathEscape(e.Name()))+name[len(e.Name()):], html.EscapeString(name))
	}
	b.WriteString("</ul>\n")
	x.mode = "files"
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	x.WriteHeader(http.StatusOK)
	if x.r.Method != http.MethodHead {
		x.Write([]byte(b.String()))
	}
	return nil
}
