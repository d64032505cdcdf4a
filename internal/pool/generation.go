package pool

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
	"warmcgi/internal/cgroup"
)

// A generation is one warm parent of a script, and the workers that it has forked. When
// the script changes a new generation follows; workers of the old one end what they do.
//
// All fields below mu belong to the lock of the pool.
type generation struct {
	p       *Pool
	mode    cgi.Mode // warm or reuse
	began   time.Time
	dir     string   // of the script's socket; nobody else may enter it
	ln      *os.File // the script's socket: net's listeners can't be accepted from by hand
	control *os.File
	cookie  string
	proc    atomic.Pointer[os.Process] // the shim, which becomes the warm parent or makes it
	handed  chan struct{}              // closed when proc is the warm parent for good
	log     *cgi.Stderr
	in, out *os.File // our ends of the warm parent's descriptors 0 and 1, while it loads
	files   *files
	group   *cgroup.Group // that its processes are in, or nil

	// mu sync.Mutex is p.mu

	unsafe   string // why it may not be forked from, as far as it has said so
	greeted  bool   // the runner runs; before that it is the shim that does
	isReady  bool
	readyAt  time.Time
	retired  bool // no request is given to it any more
	dead     bool // the warm parent has ended
	lastLine string
	hints    map[string]string // late modules that it was told to load

	neededAt time.Time // when it was retired, or was last seen to have a living worker with a request
	movedAt  time.Time // when a worker last became idle
	killedAt time.Time // when it was told to end at once, with its workers

	workers map[int]*worker
	idlers  *puddle.Pool[*worker]
	idle    int         // workers in idlers that are not acquired
	pending []time.Time // when the workers were ordered that have not come yet
	busy    int         // workers with a request, or on their way back from one
	pss     int64       // of the warm parent, as last measured
	left    chan struct{}
}

func (g *generation) process() *os.Process { return g.proc.Load() }

func (g *generation) pid() int { return g.process().Pid }
