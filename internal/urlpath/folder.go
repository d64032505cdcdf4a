package urlpath

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// A Folder is one whose links are resolved over and over, since they may be switched at any
// time: that is how sites are deployed. The zero value with a Path is ready.
type Folder struct {
	// Path is absolute.
	Path string
	// plain is what was found at Path when no link led there.
	plain atomic.Pointer[fs.FileInfo]
}

// Real is the folder's path with all links resolved, as [filepath.EvalSymlinks] has it. As
// long as the same folder is found at a path without links, one look is enough.
func (f *Folder) Real() (string, error) {
	info, err := os.Lstat(f.Path)
	if err != nil {
		return "", err
	}
	// The number of a file that was removed may be another one's, which is younger.
	if was := f.plain.Load(); was != nil && info.IsDir() && os.SameFile(*was, info) && info.ModTime().Equal((*was).ModTime()) {
		return f.Path, nil
	}
	real, err := filepath.EvalSymlinks(f.Path)
	if err != nil {
		return "", err
	}
	if real == f.Path {
		f.plain.Store(&info)
	}
	return real, nil
}
