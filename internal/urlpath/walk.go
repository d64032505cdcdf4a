package urlpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Rules say which files a walk may reach.
type Rules struct {
	// Follow lets symbolic links leave the root.
	Follow bool
	// Hidden lets dotfiles and backup files be named.
	Hidden bool
}

// Found is where a walk ended.
type Found struct {
	// Root is where the walk began.
	Root string
	// File is the file's path: root and the used segments, links not resolved.
	File string
	// Linked: a symbolic link was followed, below the root.
	Linked bool
	// Info describes the file behind any links: a regular file or a folder.
	Info fs.FileInfo
	// Used are the segments that led to the file, without empty ones.
	Used Path
	// Rest is what is left of the path after a regular file: PATH_INFO. It is
	// never empty-but-not-nil; `/a.cgi/` leaves one empty segment.
	Rest Path
}

// Walk follows the path from root, segment by segment, and stops at the first
// regular file: the RFC 3875 split of a path into SCRIPT_NAME and PATH_INFO is
// what the file system says, never a pattern. A path that ends in a folder finds
// the folder.
//
// Errors are [fs.ErrNotExist], [fs.ErrPermission], [ErrOutside] and [ErrHidden].
func Walk(root string, p Path, rules Rules) (Found, error) {
	f := Found{Root: root, File: root}
	for i, seg := range p {
		if seg == "" {
			continue
		}
		if !rules.Hidden && Hidden(seg) {
			return f, fmt.Errorf("%w: %s", ErrHidden, seg)
		}
		// A decoded slash can't be part of a file's name.
		if strings.IndexByte(seg, '/') >= 0 {
			return f, fmt.Errorf("%q: %w", seg, fs.ErrNotExist)
		}
		f.File = f.File + string(filepath.Separator) + seg
		info, linked, err := stat(root, f.File, rules)
		if err != nil {
			return f, err
		}
		f.Linked = f.Linked || linked
		f.Info, f.Used = info, append(f.Used, seg)
		if info.Mode().IsRegular() {
			if i+1 < len(p) {
				f.Rest = p[i+1:]
			}
			return f, nil
		}
		if !info.IsDir() {
			return f, fmt.Errorf("%s is neither a file nor a folder: %w", f.File, fs.ErrPermission)
		}
	}
	if f.Info == nil {
		info, err := os.Stat(root)
		if err != nil {
			return f, notExist(err)
		}
		f.Info = info
	}
	return f, nil
}

// stat looks at one file; a symbolic link must end inside of root.
func stat(root, file string, rules Rules) (info fs.FileInfo, linked bool, err error) {
	info, err = os.Lstat(file)
	if err != nil {
		return nil, false, notExist(err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return info, false, nil
	}
	if !rules.Follow {
		if err := inside(root, file); err != nil {
			return nil, true, err
		}
	}
	info, err = os.Stat(file)
	return info, true, notExist(err)
}

// inside resolves both paths anew each time: a root that is itself a link is how
// sites are deployed, and it may have been switched since the last request.
func inside(root, file string) error {
	r, err := filepath.EvalSymlinks(root)
	if err != nil {
		return notExist(err)
	}
	f, err := filepath.EvalSymlinks(file)
	if err != nil {
		return notExist(err)
	}
	if f != r && !strings.HasPrefix(f, strings.TrimSuffix(r, "/")+"/") {
		return fmt.Errorf("%w: %s", ErrOutside, file)
	}
	return nil
}

// Inside says whether the file, with all links resolved, lies in the folder.
func Inside(folder, file string) bool { return inside(folder, file) == nil }

// notExist makes every way in which a path can fail to be there the same error.
func notExist(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL:
			return fmt.Errorf("%v: %w", err, fs.ErrNotExist)
		}
	}
	if err != nil && strings.Contains(err.Error(), "too many links") { // filepath.EvalSymlinks
		return fmt.Errorf("%v: %w", err, fs.ErrNotExist)
	}
	return err
}

// backupSuffixes are what editors and people leave behind beside a script; served
// as plain files they would disclose its source.
var backupSuffixes = [...]string{"~", ".bak", ".orig", ".swp", ".swo", ".old", ".save", ".rej", ".dpkg-old", ".dpkg-dist", ".dpkg-new"}

// Hidden says whether a file name is one that is never served: dotfiles (but for
// .well-known, RFC 8615), backup and editor files.
func Hidden(name string) bool {
	if name[0] == '.' && name != ".well-known" {
		return true
	}
	if name[0] == '#' && name[len(name)-1] == '#' {
		return true
	}
	for _, s := range backupSuffixes {
		if len(name) > len(s) && strings.EqualFold(name[len(name)-len(s):], s) {
			return true
		}
	}
	return false
}
