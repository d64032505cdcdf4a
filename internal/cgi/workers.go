package cgi

import (
	"math/rand/v2"
	"time"
)

// Mode is how a script is run.
type Mode string

// The modes; the configuration has the same words.
const (
	ModeFastCGI Mode = "fastcgi" // an application that is there answers
	ModeSpawn   Mode = "spawn"   // a new process per request
	ModeWarm    Mode = "warm"    // a process per request, forked from one that has loaded the script
	ModeReuse   Mode = "reuse"   // a process for many requests
	ModeAuto    Mode = "auto"    // spawn, and warm for scripts that are asked for often
)

// Workers says how the scripts of a route are kept warm. Scripts of different Workers
// never share one.
type Workers struct {
	// Mode is what the route wants; what a script gets also depends on the script.
	Mode Mode
	// Max is the most workers of a script that have a request at once.
	Max int
	// Spare is how many idle workers are kept at least.
	Spare int
	// Idle is the time without a request after which a script goes cold; 0 is never.
	Idle time.Duration
	// Requests, Age and Memory (octets) bound the life of a reused worker; 0 is no limit.
	Requests int
	Age      time.Duration
	Memory   int64
	// AcceptCaptured: reuse Perl scripts that capture lexicals all the same.
	AcceptCaptured bool
	// Preload are modules for the warm parent.
	Preload []string
	// Runner is a file that takes the place of ours; "" is ours.
	Runner string
}

// Jitter takes up to a tenth off, so that processes of the same age are not all replaced at
// once.
func Jitter(n int) int { return n - rand.IntN(n/10+1) }
