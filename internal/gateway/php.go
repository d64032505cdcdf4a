package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"warmcgi/internal/runner"
	"warmcgi/internal/urlpath"
)

// phpExt is the extension of the files that php-fpm gets. It is compared as it is: where
// the file system knows no case, another spelling is a script's source, and not sent.
const phpExt = ".php"

// servePHP: the path names a .php file, or another file of the same folder; what names
// none is the front script's, where there is one.
//
// The folder's symbolic links are resolved for each request, so that a deploy which
// switches one takes effect at once, and php's own cache of files knows the new ones.
func (x *exchange) servePHP(rt *route, rest urlpath.Path) error {
	root, index, listing := rt.PHP.Root, rt.PHP.Index, false
	if rt.Files != nil {
		root, listing = rt.Files.Root, rt.Files.Listing
		index = append(rt.Files.Index[:len(rt.Files.Index):len(rt.Files.Index)], index...)
	}
	real, err := rt.root.Real()
	if err != nil {
		return err
	}
	p := phpCall{x: x, rt: rt, root: real}
	if root != rt.PHP.Root {
		p.seen = rt.PHP.Root // by php-fpm, in its container
	}
	f, err := urlpath.Walk(real, rest, rt.rules)
	switch {
	case err == nil && f.Info.IsDir():
		err = x.serveFolder(rt, f, index, listing, p.serve)
		if !errors.Is(err, errNoIndex) {
			return err
		}
	case err == nil && (filepath.Ext(f.File) == phpExt || len(f.Rest) == 0):
		return p.serve(f)
	case err == nil:
		err = fmt.Errorf("%s is a file, not a folder: %w", f.File, errNotFound)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if rt.PHP.Front == "" {
		return err
	}
	front, ferr := urlpath.Parse(rt.PHP.Front)
	if ferr != nil {
		return ferr
	}
	if f, ferr = urlpath.Walk(real, front, rt.rules); ferr != nil {
		return fmt.Errorf("%w %s: %w", errFront, rt.PHP.Front, ferr)
	}
	return p.serve(f)
}

// phpCall is a request within a folder with PHP.
type phpCall struct {
	x    *exchange
	rt   *route
	root string // links resolved
	seen string // the same folder as php-fpm sees it; "" is root
}

// serve runs a .php file, and serves any other one as ever.
func (p phpCall) serve(f urlpath.Found) error {
	if filepath.Ext(f.File) != phpExt {
		return p.x.serveFile(p.rt, f)
	}
	root, file := p.root, f.File
	if f.Linked {
		var err error
		if file, err = filepath.EvalSymlinks(file); err != nil {
			return err
		}
	}
	if p.seen != "" {
		root, file = p.seen, p.seen+f.Used.String()
	}
	return p.x.serveScript(p.rt, scriptCall{
		php:  true,
		file: file,
		name: strings.TrimSuffix(p.x.prefix(p.rt), "/") + f.Used.String(),
		info: f.Rest.String(),
		extra: []string{
			"DOCUMENT_ROOT=" + root,
			"REDIRECT_STATUS=200", // or php believes that it was called past the server
		},
	})
}

// runsPHP reports whether a script is PHP's. With cgi.fix_pathinfo=0, which many have set, PHP
// runs the file that PATH_TRANSLATED names in place of the script: a picture that anybody
// may upload, where the path says so. Otherwise it makes that variable itself.
func (rt *route) runsPHP(sc *scriptCall) bool {
	switch {
	case sc.php:
		return true
	case rt.FastCGI != nil:
		return isPHP(rt.FastCGI.Program)
	case sc.interpreter != "":
		return isPHP(sc.interpreter)
	}
	return isPHP(sc.file) || isPHP(runner.Interpreter(sc.file))
}

// phpName is what PHP's own programs are called: php-cgi, php8.2-cgi, php-cgi8.2, php-fpm.
var phpName = regexp.MustCompile(`^php[0-9.]*(-(cgi|fpm)[0-9.]*)?$`)

func isPHP(program string) bool { return phpName.MatchString(filepath.Base(program)) }
