package config

import "time"

// Settings stand in defaults and in a route; the route wins, value by value.
type Settings struct {
	// How a script is run. spawn: a new process per request. warm: forked per request from a parent that has
	// already loaded the script. reuse: one process serves many requests, one after another. auto: begins with
	// spawn and goes to warm for scripts that are asked for often. Default: auto.
	Mode Mode `yaml:"mode"`

	// How long a request may take.
	Timeout Timeout `yaml:"timeout"`

	// What happens to requests while all workers of a script are busy.
	Queue Queue `yaml:"queue"`

	// How many processes a script may have.
	Workers Workers `yaml:"workers"`

	// When a process of mode reuse is replaced, and what it refuses to run.
	Reuse Reuse `yaml:"reuse"`

	// What a request may send.
	Body Body `yaml:"body"`

	// Which answers are compressed.
	Compress Compress `yaml:"compress"`

	// How often one client may ask.
	RateLimit RateLimit `yaml:"rate_limit"`

	// What happens to a script whose client has gone away: kill ends it, finish lets it run to its end and throws
	// the answer away. Default: kill.
	OnDisconnect OnDisconnect `yaml:"on_disconnect"`
}

// Timeout limits the time of one request.
type Timeout struct {
	// From the request's start at the script to the first byte of its answer; 0 is no limit. Beyond it: 504.
	// Default: 60s.
	FirstByte Duration `yaml:"first_byte"`

	// The longest pause between two pieces of the answer or of the request body; 0 is no limit. Default: 60s.
	Idle Duration `yaml:"idle"`

	// For the whole request at the script; 0 is no limit. Default: 5m.
	Total Duration `yaml:"total"`

	// From SIGTERM to SIGKILL when a script is ended; 0 is SIGKILL at once. Default: 2s.
	Grace Duration `yaml:"grace"`
}

// Queue holds requests that wait for a worker. Beyond either limit the answer is 503 with Retry-After.
type Queue struct {
	// The most requests that wait for one script; 0 lets none wait. Default: 512.
	Length int `yaml:"length"`

	// The longest that one request waits; 0 lets none wait. One that would wait longer, at the pace at which turns come, is
	// refused when it comes. Default: 10s.
	Wait Duration `yaml:"wait"`
}

// Workers are the processes of one script.
type Workers struct {
	// The most processes of one script at once; 0 is chosen from the machine. Default: 0.
	Max int `yaml:"max"`

	// Workers forked ahead of demand and kept waiting, in modes warm and reuse. Default: 2.
	Spare int `yaml:"spare"`

	// After this time without a request a script's waiting workers and its warm parent are ended; 0 keeps them.
	// Default: 5m.
	Idle Duration `yaml:"idle"`
}

// Reuse limits how long one process of mode reuse lives. Each limit is varied a little per process, so that not all
// are replaced at once.
type Reuse struct {
	// Requests after which a process is replaced; 0 is no limit. Default: 500.
	Requests int `yaml:"requests"`

	// Age at which a process is replaced; 0 is no limit. Default: 1h.
	Age Duration `yaml:"age"`

	// Memory in use beyond which a process is replaced, once its request is done; 0 is no limit. Default: 256MiB.
	Memory Size `yaml:"memory"`

	// Perl scripts in which a named sub captures a file-scoped my variable would show one request's value to the
	// next. refuse runs them in mode warm instead; accept says that this script may be reused all the same.
	// Default: refuse.
	Captured Captured `yaml:"captured"`
}

// Body limits and buffers the request body.
type Body struct {
	// The largest request body; 0 is no limit. Beyond it: 413. Default: 1GiB.
	Max Size `yaml:"max"`

	// How much of a spooled body is held in memory; the rest goes to a temporary file. Default: 256KiB.
	Memory Size `yaml:"memory"`

	// stream hands the body to the script as it comes. spool takes it in whole first, so that the script gets its
	// length and a slow client holds no process. auto: stream when the length is known, spool when it is not.
	// Default: auto.
	Buffer Buffering `yaml:"buffer"`
}

// builtin is what holds where neither the route nor defaults says anything.
func builtin() Settings {
	return Settings{
		Mode: ModeAuto,
		Timeout: Timeout{
			FirstByte: Duration(60 * time.Second),
			Idle:      Duration(60 * time.Second),
			Total:     Duration(5 * time.Minute),
			Grace:     Duration(2 * time.Second),
		},
		Queue:        Queue{Length: 512, Wait: Duration(10 * time.Second)},
		Workers:      Workers{Max: 0, Spare: 2, Idle: Duration(5 * time.Minute)},
		Reuse:        Reuse{Requests: 500, Age: Duration(time.Hour), Memory: 256 * MiB, Captured: CapturedRefuse},
		Body:         Body{Max: GiB, Memory: 256 * KiB, Buffer: BufferAuto},
		Compress:     Compress{Types: compressible(), Min: KiB},
		RateLimit:    RateLimit{Clients: 65536},
		OnDisconnect: DisconnectKill,
	}
}
