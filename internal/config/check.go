package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckFiles looks whether the files and folders that the configuration names are there and of the right kind. Load
// does not: a folder may come later, and a server should not refuse to start over one route.
func (c *Config) CheckFiles() []*Error {
	k := &fileCheck{src: c.src}
	if c.src == nil {
		k.src = newSource("", "", nil) // made without a file
	}
	k.folder("document_root", c.DocumentRoot)
	if c.Admin.Network() == "unix" {
		k.parent("admin", c.Admin.Addr())
	}
	if to := c.Log.Access.To; to != "stdout" && to != "stderr" && c.Log.Access.Format != AccessOff {
		k.parent("log.access.to", to)
	}
	for i := range c.Listen {
		l, key := &c.Listen[i], fmt.Sprintf("listen[%d]", i)
		if kind, addr := l.Door(); addr.Network() == "unix" {
			k.parent(key+"."+kind, addr.Addr())
		}
		if l.TLS != nil {
			k.file(key+".tls.cert", l.TLS.Cert)
			k.file(key+".tls.key", l.TLS.Key)
		}
		k.folders(key+".scripts", l.Scripts)
	}
	for i := range c.Routes {
		k.route(fmt.Sprintf("routes[%d]", i), &c.Routes[i])
	}
	sortErrors(k.errs)
	return k.errs
}

type fileCheck struct {
	src  *source
	errs []*Error
}

func (k *fileCheck) route(key string, r *Route) {
	if r.CGI != nil {
		k.folder(key+".cgi.dir", r.CGI.Dir)
		if _, interpreted := r.Interpreters[filepath.Ext(r.CGI.Program)]; interpreted {
			k.file(key+".cgi.program", r.CGI.Program)
		} else {
			k.program(key+".cgi.program", r.CGI.Program)
		}
	}
	if r.Files != nil {
		k.folder(key+".files.root", r.Files.Root)
	}
	if r.FastCGI != nil {
		k.program(key+".fastcgi.program", r.FastCGI.Program)
	}
	if r.PHP != nil {
		k.folder(key+".php.root", r.PHP.Root)
		if r.PHP.FastCGI != nil {
			k.program(key+".php.fastcgi.program", r.PHP.FastCGI.Program)
		}
	}
	if r.Auth != nil && r.Auth.Basic != nil {
		k.file(key+".auth.basic.htpasswd", r.Auth.Basic.Htpasswd)
	}
	for ext, program := range r.Interpreters {
		k.program(childKey(key+".interpreters", ext), program)
	}
	k.file(key+".runner", r.Runner)
	k.folders(key+".x_sendfile", r.XSendfile)
	if k.src.has(key + ".document_root") { // and not taken from elsewhere
		k.folder(key+".document_root", r.DocumentRoot)
	}
}

func (k *fileCheck) fail(key, format string, args ...any) {
	k.errs = append(k.errs, k.src.value(key, format, args...))
}

// stat looks a path up; one that the configuration does not give is no error.
func (k *fileCheck) stat(key, path string) fs.FileInfo {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		k.fail(key, "%s: %s", path, reason(err))
		return nil
	}
	return info
}

func (k *fileCheck) folder(key, path string) {
	if info := k.stat(key, path); info != nil && !info.IsDir() {
		k.fail(key, "%s is not a folder", path)
	}
}

func (k *fileCheck) folders(key string, paths []string) {
	for i, path := range paths {
		k.folder(fmt.Sprintf("%s[%d]", key, i), path)
	}
}

// parent checks the folder in which a file or socket is to be made.
func (k *fileCheck) parent(key, path string) {
	k.folder(key, filepath.Dir(path))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		k.fail(key, "%s is a folder", path)
	}
}

// file checks that the gateway itself can read the file.
func (k *fileCheck) file(key, path string) {
	info := k.stat(key, path)
	switch {
	case info == nil:
	case info.IsDir():
		k.fail(key, "%s is a folder, not a file", path)
	case info.Mode().IsRegular(): // opening a pipe could wait for ever
		f, err := os.Open(path)
		if err != nil {
			k.fail(key, "%s: %s", path, reason(err))
			return
		}
		_ = f.Close() // only read
	}
}

func (k *fileCheck) program(key, path string) {
	info := k.stat(key, path)
	switch {
	case info == nil:
	case !info.Mode().IsRegular():
		k.fail(key, "%s is not a program", path)
	case info.Mode().Perm()&0o111 == 0:
		k.fail(key, "%s is not executable (chmod +x)", path)
	}
}

// reason is a file error without the path, which the message names already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
