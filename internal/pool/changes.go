package pool

import (
	"os"
	"syscall"
	"time"
)

// checkEvery is how often the files that a script has loaded are looked at, while it is
// asked for. The script itself is looked at for every request.
const checkEvery = 400 * time.Millisecond

// clockStep is how far the time of a file may lie behind the clock: the kernel's coarse
// clock ticks that often.
const clockStep = 20 * time.Millisecond

// stamp tells one state of a file from another. A symbolic link that leads elsewhere
// makes another stamp.
type stamp struct {
	dev, ino uint64
	size     int64
	mtime    time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{} // one that is not there; that can change, too
	}
	s := stamp{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = uint64(st.Dev), st.Ino
	}
	return s
}

// files are those that a warm parent has loaded, as they were then.
type files struct {
	script  string
	stamps  map[string]stamp
	checked time.Time
}

// newFiles takes the stamp of the script before it is loaded.
func newFiles(script string) *files {
	return &files{script: script, stamps: map[string]stamp{script: stampOf(script)}, checked: time.Now()}
}

// add takes the stamps of what was loaded since began. It reports whether a file was
// written meanwhile: then nobody knows which state of it was loaded.
func (f *files) add(paths []string, began time.Time) (torn bool) {
	now := time.Now()
	for _, p := range paths {
		if _, known := f.stamps[p]; known {
			continue
		}
		s := stampOf(p)
		f.stamps[p] = s
		torn = torn || (s.mtime.After(began.Add(-clockStep)) && !s.mtime.After(now))
	}
	return torn || stampOf(f.script) != f.stamps[f.script]
}

// changed reports which file is not what it was, or "".
func (f *files) changed(now time.Time) string {
	if stampOf(f.script) != f.stamps[f.script] {
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
