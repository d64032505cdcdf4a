package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CheckFiles looks whether the files and folders that the configuration names are there and of the right kind. Load
// does not: a folder may come later, and a server should not refuse to start over one route.
func (c *Config) CheckFiles() []*Error {
	k := &fileCheck{src: c.src}
	if c.src == nil {
		k.src = newSource("", "", nil) // made without a file
	}
	k.folder("document_root", c.DocumentRoot)
	k.admin(&c.Admin)
	if to := c.Log.Access.To; to != "stdout" && to != "stderr" && c.Log.Access.Format != AccessOff {
		k.parent("log.access.to", to)
	}
	if c.Tracing != nil && c.Tracing.Export != nil {
		k.file("tracing.export.ca", c.Tracing.Export.CA)
	}
	for i := range c.Listen {
		l, key := &c.Listen[i], fmt.Sprintf("listen[%d]", i)
		if kind, addr := l.Door(); addr.Network() == "unix" {
			k.parent(key+"."+kind, addr.Addr())
		}
		if l.TLS != nil {
			k.doorTLS(key+".tls", l.TLS)
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

func (k *fileCheck) admin(a *Admin) {
	if a.Listen.Network() == "unix" {
		at := "admin"
		if k.src.has("admin.listen") {
			at = "admin.listen"
		}
		k.parent(at, a.Listen.Addr())
	}
	if a.TokenFile != "" {
		k.file("admin.token_file", a.TokenFile)
	}
	if a.TLS != nil {
		k.tls("admin.tls", a.TLS)
	}
}

func (k *fileCheck) tls(key string, t *TLS) {
	k.file(key+".cert", t.Cert)
	k.file(key+".key", t.Key)
	k.file(key+".client_ca", t.ClientCA)
}

func (k *fileCheck) doorTLS(key string, t *DoorTLS) {
	k.tls(key, &TLS{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA})
	if a := t.ACME; a != nil {
		k.file(key+".acme.ca", a.CA)
		k.storage(key+".acme.storage", a.Storage)
	}
}

// storage checks a folder that is made if it is not there, and is nobody else's.
func (k *fileCheck) storage(key, path string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		missing := path
		for path != filepath.Dir(path) && errors.Is(err, fs.ErrNotExist) {
			path = filepath.Dir(path)
			info, err = os.Stat(path)
		}
		switch {
		case err != nil:
			k.fail(key, "%s: %s", path, reason(err))
		case !info.IsDir():
			k.fail(key, "%s is not a folder", path)
		case unix.Access(path, unix.W_OK) != nil:
			k.fail(key, "%s is not there, and can't be made by this user: %s can't be written to", missing, path)
		}
	case err != nil:
		k.fail(key, "%s: %s", path, reason(err))
	case !info.IsDir():
		k.fail(key, "%s is not a folder", path)
	case info.Mode().Perm()&0o077 != 0:
		k.fail(key, "%s is open to others (%s), and private keys lie there: chmod 700", path, FileMode(info.Mode().Perm()))
	case unix.Access(path, unix.W_OK) != nil:
		k.fail(key, "%s can't be written to by this user", path)
	}
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
		k.fastCGI(key+".fastcgi", r.FastCGI)
	}
	if r.PHP != nil {
		root := r.PHP.Root
		if r.Files != nil {
			root = r.Files.Root // php.root is how php-fpm sees it, in its container
		} else {
			k.folder(key+".php.root", root)
		}
		if info, err := os.Stat(root); err == nil && info.IsDir() && r.PHP.Front != "" {
			k.stat(key+".php.front", filepath.Join(root, r.PHP.Front))
		}
		if r.PHP.FastCGI != nil {
			k.fastCGI(key+".php.fastcgi", r.PHP.FastCGI)
		}
	}
	if r.Authorize != nil && r.Authorize.FastCGI != nil {
		k.fastCGI(key+".authorize.fastcgi", r.Authorize.FastCGI)
	}
	if r.Auth != nil && r.Auth.Basic != nil {
		k.file(key+".auth.basic.htpasswd", r.Auth.Basic.Htpasswd)
	}
	for ext, program := range r.Interpreters {
		k.program(childKey(key+".interpreters", ext), program)
	}
	k.file(key+".runner", r.Runner)
	k.folders(key+".x_sendfile", r.XSendfile)
	if r.Sandbox != nil {
		if r.Sandbox.Chroot != "" {
			k.folder(key+".sandbox.chroot", r.Sandbox.Chroot)
		}
		k.there(key+".sandbox.read", r.Sandbox.Read)
		k.there(key+".sandbox.write", r.Sandbox.Write)
	}
	if k.src.has(key + ".document_root") { // and not taken from elsewhere
		k.folder(key+".document_root", r.DocumentRoot)
	}
}

func (k *fileCheck) fastCGI(key string, f *FastCGI) {
	k.program(key+".program", f.Program)
	if f.TLS != nil {
		k.file(key+".tls.ca", f.TLS.CA)
		k.file(key+".tls.cert", f.TLS.Cert)
		k.file(key+".tls.key", f.TLS.Key)
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

// there checks files and folders.
func (k *fileCheck) there(key string, paths []string) {
	for i, path := range paths {
		k.stat(fmt.Sprintf("%s[%d]", key, i), path)
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
