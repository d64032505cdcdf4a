package doctor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
	"warmcgi/internal/urlpath"
)

// maxScripts is how many scripts of one folder are looked at. More of them are, most likely,
// something else.
const maxScripts = 2000

// A script is one that a URL leads to.
type script struct {
	route   *config.Route
	name    string       // the path of its URL
	file    string       // as the folder has it
	req     *cgi.Request // what it would get; nil: none
	answer  string       // what is answered in its place
	other   string       // the route that answers in the place of its own
	skipped int          // of its folder were not looked at
}

// scriptsOf finds the scripts of all routes. What a route answers for each is asked of the
// routing itself.
func scriptsOf(c *config.Config) (all []script, err error) {
	for i := range c.Routes {
		r := &c.Routes[i]
		switch {
		case r.CGI != nil && r.CGI.Program != "":
			all = append(all, script{route: r, name: r.Path, file: r.CGI.Program})
		case r.CGI != nil:
			all = append(all, inFolder(r, r.CGI.Dir)...)
		case r.Files != nil && len(r.Files.Scripts) > 0:
			all = append(all, inFolder(r, r.Files.Root)...)
		}
	}
	routing, err := gateway.NewRouting(c)
	if err != nil {
		return nil, err
	}
	found := all[:0]
	for _, s := range all {
		r, err := http.NewRequest(http.MethodGet, s.url(), nil)
		if err != nil {
			return nil, err
		}
		r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:1"
		switch e := routing.Explain(r); {
		case e.Route == s.route.Name():
			s.req, s.answer = e.Script, e.Answer
		case e.Script != nil && e.Script.Script.File == s.file:
			continue // that one's
		default:
			s.other = e.Route
		}
		found = append(found, s)
	}
	return found, nil
}

// url is one that leads to the script, at one of the names that its route is for.
func (s *script) url() string {
	host := "localhost"
	if len(s.route.Host) > 0 {
		host = strings.Replace(string(s.route.Host[0]), "*", "any", 1)
	}
	return (&url.URL{Scheme: "http", Host: host, Path: s.name}).String()
}

// inFolder finds the files of a folder that look like scripts. In a folder of programs
// others are answered with 403, which is what they are there for: a text that they read.
func inFolder(r *config.Route, root string) (all []script) {
	skipped := 0
	_ = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error { // what can't be read is shown by check
		rel, rerr := filepath.Rel(root, file)
		if err != nil || rerr != nil || rel == "." {
			return nil
		}
		hidden := urlpath.Hidden(d.Name())
		if d.IsDir() {
			if hidden {
				return fs.SkipDir
			}
			return nil
		}
		if hidden || !isCandidate(file, r) {
			return nil
		}
		if len(all) >= maxScripts {
			skipped++
			return nil
		}
		all = append(all, script{route: r, name: path.Join(r.Path, filepath.ToSlash(rel)), file: file})
		return nil
	})
	if len(all) > 0 {
		all[len(all)-1].skipped = skipped
	}
	return all
}

// scriptExt are what scripts are called, if they are called anything.
var scriptExt = []string{".cgi", ".pl", ".py", ".rb", ".sh", ".php", ".fcgi"}

func isCandidate(file string, r *config.Route) bool {
	ext := filepath.Ext(file)
	switch {
	case r.CGI == nil:
		return slices.Contains(r.Files.Scripts, ext)
	case len(r.CGI.Only) > 0:
		return r.CGI.Runs(filepath.Base(file))
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if _, interpreted := r.Interpreters[ext]; interpreted || isProgram(info) || slices.Contains(scriptExt, ext) {
		return true
	}
	begin, _ := head(file)
	return strings.HasPrefix(begin, "#!")
}

// head is the first octets of a file.
func head(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, headSize)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(b[:n]), nil
}

// examine looks at the file, and then has it loaded, if that makes sense.
func (s script) examine(ctx context.Context, o Options) Patient {
	p := Patient{Kind: KindScript, Route: s.route.Name(), Name: s.name, File: s.file, Mode: cgi.ModeSpawn, Wanted: cgi.ModeSpawn}
	if s.skipped > 0 {
		p.add(warning("", "%d more files of this folder were not looked at", s.skipped))
	}
	if s.req == nil {
		p.add(s.unanswered())
		return p
	}
	p.File = s.req.Script.File
	if s.req.Workers != nil {
		p.Wanted = s.req.Workers.Mode
	}
	p.add(examineFile(s.req)...)
	if p.Fails() || o.Pools == nil {
		return p
	}
	if p.add(examineModules(ctx, s.req)...); !p.Fails() && s.req.Workers != nil {
		s.load(ctx, o, &p)
	}
	return p
}

// unanswered says why the URL of a script does not run it.
func (s *script) unanswered() Finding {
	info, err := os.Stat(s.file)
	switch {
	case err != nil:
		return fault("", "%v", err)
	case s.other != "":
		return note("", "its URL does not run it: the route %s answers", s.other)
	case strings.HasPrefix(s.answer, "403") && info.Mode().Perm()&0o111 == 0:
		return fault("chmod +x "+s.file, "it is not executable, and no interpreter is set for %q: its URL is answered with 403", filepath.Ext(s.file))
	}
	return fault("", "its URL does not run it: %s", s.answer)
}
