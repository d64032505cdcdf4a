package urlpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// errEscapes: on the way to a file is a link that leaves the folder, or that does not say
// that it stays: its target is absolute.
var errEscapes = errors.New("a link leads out of the folder")

// Open opens a file or folder that a walk has found, for reading. Between the two whoever may
// write there can put a link in its place, or in that of a folder on the way: it is the kernel
// that keeps what is opened within the root then. Unless the rules say that links may leave it.
func (f Found) Open(rules Rules) (*os.File, error) { return Open(f.Root, f.File, rules) }

// Open opens a file that lies below root, as [Found.Open] does.
func Open(root, file string, rules Rules) (*os.File, error) {
	if rules.Follow {
		o, err := os.OpenFile(file, openFlags, 0)
		return o, notExist(err)
	}
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return nil, err
	}
	o, err := openIn(root, rel)
	if errors.Is(err, errEscapes) { // by an absolute link, it may still end inside
		o, err = openResolved(root, file)
	}
	if errors.Is(err, errEscapes) {
		return nil, fmt.Errorf("%w: %s", ErrOutside, file)
	}
	return o, notExist(err)
}

// openResolved opens what the links lead to.
func openResolved(root, file string) (*os.File, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, file)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, errEscapes
	}
	return openIn(root, rel)
}

// openByRoot is openIn where the kernel has no call for it.
func openByRoot(root, rel string) (*os.File, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.OpenFile(rel, openFlags, 0)
	if err != nil && strings.Contains(err.Error(), "escapes from parent") { // its error has no name
		err = errEscapes
	}
	return f, err
}
