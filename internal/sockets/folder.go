// Package sockets keeps the folders of the sockets by which the gateway and its processes
// meet.
package sockets

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Folder holds sockets. It is locked as long as its gateway lives: so what one
// that was killed has left behind can be told, and systemd-tmpfiles, which clears old things away,
// passes over a folder with a lock.
type Folder struct {
	Path string
	lock *os.File
}

const (
	folderPrefix = "warmcgi-s" // short, as Unix sockets want it
	// abandonedAfter is how old a folder without a lock has to be: one is made, and then locked.
	abandonedAfter = time.Minute
)

// NewFolder makes a folder in parent, "" being TMPDIR, and removes what gateways of the same
// user have left there.
func NewFolder(parent string) (*Folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	removeAbandoned(parent)
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("folder for the scripts' sockets (TMPDIR names where it is made): %w", err)
	}
	f := &Folder{Path: path}
	if f.lock, err = os.Open(path); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("folder for the scripts' sockets: %w", err)
	}
	locked(f.lock) // a file system without locks has none for the others either
	return f, nil
}

// Remove removes the folder and what is in it.
func (f *Folder) Remove() {
	os.RemoveAll(f.Path)
	f.lock.Close()
}

// locked tries to lock a folder.
func locked(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// removeAbandoned removes our folders whose gateway has gone without doing so.
func removeAbandoned(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		if e.IsDir() && strings.HasPrefix(e.Name(), folderPrefix) && abandoned(path) {
			os.RemoveAll(path)
		}
	}
}

func abandoned(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) < abandonedAfter {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && locked(f)
}
