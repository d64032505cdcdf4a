package pool

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"warmcgi/internal/monotonic"
)

// What a warm script takes of the gateway's open files: the control socket, the listener and
// what descriptors 0 to 2 of its warm parent are; two connections of each worker that waits.
const (
	parentDescriptors = 6
	workerDescriptors = 2
)

// descriptors keeps half of the files that the gateway may have open free for requests: a
// script can do without workers, but no request can do without descriptors.
type descriptors struct {
	most    int64
	taken   atomic.Int64
	refused atomic.Bool  // a script, since fit has looked
	told    atomic.Int64 // when that was logged, a [monotonic.Instant]; 0: never
}

// halfOfTheLimit is what warm scripts may take.
func halfOfTheLimit() int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > math.MaxInt32 {
		return math.MaxInt32
	}
	return int64(l.Cur / 2)
}

// descriptors is what a generation of the script takes. The caller must hold p.mu.
func (p *Pool) descriptors() int64 {
	return parentDescriptors + workerDescriptors*int64(p.spare()+1)
}

// takeDescriptors reserves them for a generation. One that takes the place of another always
// gets them, as the other gives them back.
func (p *Pool) takeDescriptors(n int64) bool {
	d := &p.set.descriptors
	if d.taken.Add(n) <= d.most || p.gen != nil {
		return true
	}
	d.taken.Add(-n)
	d.refused.Store(true)
	p.state, p.why = Cold, fmt.Sprintf("other warm scripts have the %d open files that are for them, half of the gateway's limit (ulimit -n, LimitNOFILE= in systemd)", d.most)
	if now, told := monotonic.Now(), d.told.Load(); told == 0 || now-told >= int64(time.Minute) {
		d.told.Store(now)
		p.set.c.Log.Warn("script stays in mode spawn", "script", p.script.Name, "why", p.why)
	}
	return false
}

func (p *Pool) giveDescriptors(n int64) { p.set.descriptors.taken.Add(-n) }

// restTime is how long a script may go unasked before another gets its descriptors.
const restTime = time.Minute

// makeRoom lets the script go cold that was not asked for the longest, where another was refused.
func (s *Set) makeRoom(now time.Time) {
	if !s.descriptors.refused.Swap(false) {
		return
	}
	oldest := leastRecent(s.all())
	if oldest == nil {
		return
	}
	oldest.mu.Lock()
	defer oldest.mu.Unlock()
	if oldest.gen != nil && now.Sub(oldest.lastUse) > restTime {
		oldest.coolLocked("another script needs its open files")
	}
}
