package pool

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// checkEvery is how often the files that a script has loaded are looked at, while it is
// asked for. The script itself is looked at for every request.
const checkEvery = 400 * time.Millisecond

// maxFiles bounds how many files a script may name.
const maxFiles = 1 << 16

// clockStep is how far the time of a file may lie behind the clock: the kernel's coarse
// clock ticks that often.
const clockStep = 20 * time.Millisecond

// stamp tells one state of a file from another. A symbolic link that leads elsewhere
// makes another stamp.
type stamp struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
	ctime    syscall.Timespec // nobody can set it back: what was unpacked may have the old time and size
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{} // one that is not there; that can change, too
	}
	s := stamp{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino, s.ctime = uint64(st.Dev), st.Ino, changeTime(st)
	}
	return s
}

// files are those that a warm parent has loaded, as they were then. They have a lock of
// their own, as a disk can be slow: who asks for them waits, and the pool goes on.
type files struct {
	script string
	began  time.Time // of loading

	mu      sync.Mutex
	stamps  map[string]stamp
	torn    bool // a file was written meanwhile: nobody knows which state of it was loaded
	checked time.Time
}

// newFiles takes the stamp of the script before it is loaded.
func newFiles(script string) *files {
	now := time.Now()
	return &files{script: script, began: now, stamps: map[string]stamp{script: stampOf(script)}, checked: now}
}

// add takes the stamp of a file that was loaded.
func (f *files) add(path string) {
	s, now := stampOf(path), time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.stamps[path]; known {
		return
	}
	f.stamps[path] = s
	f.torn = f.torn || s.mtime.After(f.began.Add(-clockStep)) && !s.mtime.After(now)
}

// settled reports whether what was loaded is what the files hold.
func (f *files) settled() bool {
	is := stampOf(f.script)
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.torn && is == f.stamps[f.script]
}

// changed reports which file is not what it was, or "". The script is looked at every
// time, the others where that was longer ago.
func (f *files) changed(now time.Time) string {
	is := stampOf(f.script)
	f.mu.Lock()
	defer f.mu.Unlock()
	if is != f.stamps[f.script] {
		return f.script
	}
	if now.Sub(f.checked) < checkEvery {
		return ""
	}
	f.checked = now
	for p, s := range f.stamps {
		if stampOf(p) != s {
			return p
		}
	}
	return ""
}

// count is how many they are.
func (f *files) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stamps)
}
