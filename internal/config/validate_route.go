package config

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

func (d *decoder) checkRoute(key string, r *Route) {
	if !d.isBlock(key) {
		return
	}
	d.checkPath(key+".path", r.Path)
	d.checkNotEmpty(key+".host", len(r.Host))
	d.checkKinds(key)
	if r.CGI != nil {
		d.checkCGI(key+".cgi", r)
	}
	if r.Files != nil {
		d.checkNames(key+".files.index", r.Files.Index)
		for i, ext := range r.Files.Scripts {
			d.checkExtension(fmt.Sprintf("%s.files.scripts[%d]", key, i), ext, d.src.value)
		}
	}
	if r.FastCGI != nil {
		d.checkFastCGI(key+".fastcgi", r.FastCGI)
	}
	if r.PHP != nil {
		d.checkNames(key+".php.index", r.PHP.Index)
		if front := key + ".php.front"; d.src.has(front) && !strings.HasPrefix(r.PHP.Front, "/") {
			d.refuse(d.src.value(front, "%q must begin with /", r.PHP.Front))
		}
		if r.PHP.FastCGI != nil {
			d.checkFastCGI(key+".php.fastcgi", r.PHP.FastCGI)
		}
	}
	if r.Redirect != nil {
		d.checkRedirect(key, r)
		d.onlyAnswers(key)
	}
	d.checkCompress(key+".compress", &r.Compress)
	d.checkRateLimit(key+".rate_limit", &r.RateLimit)
	d.checkHeaders(key+".headers", r.Headers)
	d.checkRequestHeaders(key+".request_headers", r.RequestHeaders)
	if r.Authorize != nil && r.Authorize.FastCGI != nil {
		d.checkFastCGI(key+".authorize.fastcgi", r.Authorize.FastCGI)
		if timeout := key + ".authorize.timeout"; d.src.has(timeout) && r.Authorize.Timeout == 0 {
			d.refuse(d.src.value(timeout, "must be more than 0"))
		}
	}
	if r.Auth != nil && r.Auth.Basic != nil {
		d.checkLine(key+".auth.basic.realm", r.Auth.Basic.Realm)
	}
	for ext, program := range r.Interpreters {
		item := childKey(key+".interpreters", ext)
		d.checkExtension(item, ext, d.src.key)
		if !filepath.IsAbs(program) {
			d.refuse(d.src.value(item, "%q is not an absolute path", program))
		}
	}
	for i, module := range r.Preload {
		if strings.TrimSpace(module) == "" {
			d.refuse(d.src.value(fmt.Sprintf("%s.preload[%d]", key, i), "is empty"))
		}
	}
	d.checkWorkers(key, r)
	d.checkConfined(key, r)
	if r.CGI == nil && r.Files == nil {
		for _, k := range []string{".mode", ".workers", ".reuse", ".preload", ".runner", ".interpreters"} {
			if d.src.has(key+k) && !(k == ".reuse" && r.starts()) {
				d.refuse(d.src.key(key+k, "goes with cgi or files: the processes of a FastCGI application are its own"))
			}
		}
	}
}

// starts reports whether the route's FastCGI processes are the gateway's own.
func (r *Route) starts() bool {
	own := func(f *FastCGI) bool { return f != nil && f.Program != "" }
	return own(r.FastCGI) || r.PHP != nil && own(r.PHP.FastCGI) || r.Authorize != nil && own(r.Authorize.FastCGI)
}

// checkPath refuses a path that no request can match, since a request's path is cleaned before it is compared.
func (d *decoder) checkPath(key, p string) {
	if !d.src.has(key) {
		return
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	switch {
	case !strings.HasPrefix(p, "/"):
		d.refuse(d.src.value(key, "%q must begin with /", p))
	case strings.ContainsAny(p, "?#"):
		d.refuse(d.src.value(key, "%q is more than a path", p))
	case p != clean:
		d.refuse(d.src.value(key, "%q matches no request (write %s)", p, clean))
	}
}

// checkKinds: one thing answers a route, except that php joins in with files.
func (d *decoder) checkKinds(key string) {
	var found []string
	for _, k := range []string{"cgi", "fastcgi", "files", "php", "redirect"} {
		if d.src.has(key + "." + k) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 0:
		d.refuse(d.src.key(key, "needs one of cgi, fastcgi, files, php and redirect"))
	case len(found) > 1 && list(found, "and") != "files and php":
		d.refuse(d.src.key(key+"."+found[1], "cannot stand beside %s: only files and php go together", found[0]))
	}
}

func (d *decoder) checkCGI(key string, r *Route) {
	switch d.exactlyOne(key, "program", "dir") {
	case "dir":
		if strings.HasPrefix(r.Path, "/") && !strings.HasSuffix(r.Path, "/") {
			d.refuse(d.src.value(parentKey(key)+".path", "%q must end with / for a folder of programs (write %s/)",
				r.Path, r.Path))
		}
		d.onlyWith(key, "program", "args")
	case "program":
		d.onlyWith(key, "dir", "only", "index", "listing")
	}
	d.checkPatterns(key+".only", r.CGI.Only)
	d.checkNotEmpty(key+".only", len(r.CGI.Only))
	d.checkNames(key+".index", r.CGI.Index)
}

// resolve fills in what one part of the file says for another.
func (c *Config) resolve() {
	for i := range c.Routes {
		r := &c.Routes[i]
		switch {
		case r.DocumentRoot != "":
		case c.DocumentRoot != "":
			r.DocumentRoot = c.DocumentRoot
		case r.Files != nil:
			r.DocumentRoot = r.Files.Root
		case r.PHP != nil:
			r.DocumentRoot = r.PHP.Root
		}
	}
}
