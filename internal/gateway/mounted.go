package gateway

import (
	"fmt"
	"path/filepath"
	"strings"

	"warmcgi/internal/urlpath"
)

// serveMounted answers at a script host's door, where one script or one folder of programs
// is wherever the front server has it. With a path of its own the route takes the URL as
// the client sent it; otherwise the front server's variables say where the route ends.
// Each front server says it in its own way: see docs/script-host.md.
func (x *exchange) serveMounted(rt *route) error {
	x.route = rt
	if err := x.limitRate(rt); err != nil {
		return err
	}
	if rt.Path == frontPath {
		if rt.CGI.Program != "" {
			return x.serveMountedProgram(rt)
		}
		return x.serveMountedDir(rt)
	}
	p, err := urlpath.Parse(x.r.URL.EscapedPath())
	if err != nil {
		return err
	}
	rest, ok := p.Match(rt.Path)
	if !ok {
		return fmt.Errorf("%s is not below the prefix %s: %w", p.Clean(), rt.Path, errNotFound)
	}
	x.path = p
	if rt.CGI.Program != "" {
		return x.serveProgram(rt, rest)
	}
	return x.serveDir(rt, rest)
}

// serveMountedProgram: the script answers everything, and only SCRIPT_NAME and PATH_INFO
// have to be told apart.
func (x *exchange) serveMountedProgram(rt *route) error {
	sc := rt.programCall()
	sc.label = "/" + filepath.Base(sc.file)
	sc.name, sc.info = x.params.Get("SCRIPT_NAME"), x.params.Get("PATH_INFO")
	if path, ok := x.proxiedPath(); ok && strings.HasSuffix(x.outside(), path) {
		sc.name, sc.info = strings.TrimSuffix(x.outside(), path), path
	} else if sc.info == "" { // all of it may be in SCRIPT_NAME
		if i := strings.Index(sc.name+"/", sc.label+"/"); i >= 0 {
			end := i + len(sc.label)
			sc.name, sc.info = sc.name[:end], sc.name[end:]
		}
	}
	return x.serveScript(rt, sc)
}

// serveMountedDir: the path names a program in the folder; what follows it is PATH_INFO.
func (x *exchange) serveMountedDir(rt *route) error {
	below, how := x.belowMount(rt.CGI.Dir)
	f, err := walkDecoded(rt, below)
	if info := x.params.Get("PATH_INFO"); err == nil && how == "SCRIPT_FILENAME" && info != "" && f.Rest == nil {
		f, err = walkDecoded(rt, below+info)
	}
	if err == nil && f.Info.IsDir() {
		err = fmt.Errorf("%s is a folder: %w", f.File, errForbidden)
	}
	if err != nil {
		return fmt.Errorf("the %s of the front server names %q in %s: %w", how, below, rt.CGI.Dir, err)
	}
	sc, err := rt.foundCall(f)
	if err != nil {
		return err
	}
	sc.label, sc.name, sc.info = f.Used.String(), x.outside(), f.Rest.String()
	if strings.HasSuffix(sc.name, sc.info) {
		sc.name = strings.TrimSuffix(sc.name, sc.info)
	} else { // the front server has made another path of the client's
		sc.name = x.params.Get("SCRIPT_NAME")
	}
	return x.serveScript(rt, sc)
}

// belowMount is the path within the folder that the front server means, and how it says it.
func (x *exchange) belowMount(dir string) (path, how string) {
	name, info := x.params.Get("SCRIPT_NAME"), x.params.Get("PATH_INFO")
	file := x.params.Get("SCRIPT_FILENAME")
	proxied, isURL := x.proxiedPath()
	if isURL {
		file = proxied
	}
	switch below, in := strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/"); {
	case in && below != "":
		return below, "SCRIPT_FILENAME"
	case isURL:
		return proxied, "proxy URL"
	case info != "":
		return info, "PATH_INFO"
	}
	return name, "SCRIPT_NAME"
}

// walkDecoded finds a program in the route's folder.
func walkDecoded(rt *route, path string) (urlpath.Found, error) {
	p, err := decodedPath(strings.TrimPrefix(path, "/"))
	if err != nil {
		return urlpath.Found{}, err
	}
	return urlpath.Walk(rt.CGI.Dir, p, rt.rules)
}

// decodedPath splits a path that a front server has decoded. Dot segments are its own
// to resolve.
func decodedPath(s string) (urlpath.Path, error) {
	p := urlpath.Path(strings.Split(s, "/"))
	for _, seg := range p {
		if seg == ".." || seg == "." || strings.IndexByte(seg, 0) >= 0 {
			return nil, fmt.Errorf("%w: %q", urlpath.ErrBadPath, s)
		}
	}
	return p, nil
}
