// Package doctor looks at a configuration and at the scripts that it names, and says what
// would go wrong: before somebody's request finds out. It runs no script.
//
// A script is loaded as the gateway's warm parents would load it: for Perl that compiles it
// with its modules, for Python and Ruby it imports what the script imports. Nothing is asked
// of it.
package doctor

import (
	"context"
	"fmt"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/confine"
	"warmcgi/internal/pool"
)

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	Fault   Level = "fault"   // requests fail
	Warning Level = "warning" // they may, or somebody may do harm
	Note    Level = "note"    // nothing fails; it could be better
)

// A Finding is one thing that is to be known.
type Finding struct {
	Level Level `json:"level"`
	// Text says what is the matter, in one line; Advice what to do about it, or "".
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

func fault(advice, format string, args ...any) Finding {
	return Finding{Fault, fmt.Sprintf(format, args...), advice}
}

func warning(advice, format string, args ...any) Finding {
	return Finding{Warning, fmt.Sprintf(format, args...), advice}
}

func note(advice, format string, args ...any) Finding {
	return Finding{Note, fmt.Sprintf(format, args...), advice}
}

// A Kind is what is looked at.
type Kind string

// The kinds.
const (
	KindRoute  Kind = "route"
	KindScript Kind = "script"
	KindServer Kind = "server" // of a FastCGI application

	KindAuthority Kind = "authority" // that certificates come from, by ACME
	KindMachine   Kind = "machine"   // that the gateway runs on
)

// A Patient is what was looked at.
type Patient struct {
	Kind Kind `json:"kind"`
	// Route is the name of its route, Name the path of its URL, or the server's address, or the authority's directory.
	Route string `json:"route"`
	Name  string `json:"name"`
	// File is a script's.
	File string `json:"file,omitempty"`
	// Mode is the best mode in which a script can be: spawn, warm or reuse.
	Mode cgi.Mode `json:"mode,omitempty"`
	// Wanted is the mode that its route says.
	Wanted   cgi.Mode  `json:"wanted,omitempty"`
	Loaded   string    `json:"loaded,omitempty"` // how: language, files, time
	Findings []Finding `json:"findings"`
}

// Worst is the level of the worst finding, or "".
func (p *Patient) Worst() Level {
	worst := Level("")
	for _, f := range p.Findings {
		if worst == "" || f.Level == Fault || f.Level == Warning && worst == Note {
			worst = f.Level
		}
	}
	return worst
}

// Fails reports whether requests fail.
func (p *Patient) Fails() bool { return p.Worst() == Fault }

func (p *Patient) add(f ...Finding) { p.Findings = append(p.Findings, f...) }

// Options say how to look.
type Options struct {
	// Pools, when not nil, makes a set that loads one script, and what ends it. Otherwise
	// only files are looked at, and servers and authorities.
	Pools func() (set *pool.Set, end func(), err error)
	// Timeout bounds how long one script may take to load, or one server to answer.
	// Default: 30 s, and 3 s for servers.
	Timeout time.Duration
	// Done is told of each patient when it was looked at; nil is nobody.
	Done func(Patient)
}

// Examine looks at all scripts, servers and authorities of a configuration, one after another. The error
// is that ctx has ended, or that the routes are unusable.
func Examine(ctx context.Context, c *config.Config, o Options) ([]Patient, error) {
	scripts, err := scriptsOf(c)
	if err != nil {
		return nil, err
	}
	looks := routesAsRoot(scripts)
	for _, s := range scripts {
		looks = append(looks, s.examine)
	}
	for _, s := range serversOf(c) {
		looks = append(looks, s.examine)
	}
	for _, a := range authoritiesOf(c) {
		looks = append(looks, a.examine)
	}
	if len(scripts) > 0 {
		looks = append(looks, examineMachine)
	}
	var all []Patient
	for _, look := range looks {
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		p := look(ctx, o)
		all = append(all, p)
		if o.Done != nil {
			o.Done(p)
		}
	}
	return all, nil
}

// routesAsRoot are the routes whose scripts run as root, with what is to be said of that.
func routesAsRoot(scripts []script) (looks []func(context.Context, Options) Patient) {
	var last *config.Route
	for _, s := range scripts {
		if s.req == nil || s.route == last || !confine.IsRoot(s.req.Confine.RunsAs()) {
			continue
		}
		last = s.route
		p := Patient{Kind: KindRoute, Route: s.route.Name(), Name: s.route.Name()}
		p.add(warning("set user: of the route, as in `user: www-data`", "its scripts run as root"))
		looks = append(looks, func(context.Context, Options) Patient { return p })
	}
	return looks
}
