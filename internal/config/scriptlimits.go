package config

import (
	"fmt"
	"strconv"
	"strings"

	"warmcgi/internal/confine"
)

// ScriptLimits are for all processes of one script together, with what they start: its warm parent and workers, or those of all
// its requests in mode spawn. They are kept by control groups of version 2 (cgroups(7)), in the group that the gateway itself is in, which must have
// been handed over to it: systemd does so with Delegate=yes. A limit that can't be kept is not, and
// gateway check, the log and gateway status say so. With any of them, a request that is ended by the gateway takes with it all that its
// process of mode spawn has started, daemons too, and what is left of daemons ends with the gateway. A script that runs as the
// gateway's own user can lift them, so give the route a user, or a sandbox. 0 or left out is no limit.
type ScriptLimits struct {
	// Memory that they use. Beyond it the kernel ends one of them, which is answered with 502; the others go on. Of swap they get nothing. Default: 0.
	Memory Size `yaml:"memory"`

	// Processes, threads counted. Beyond it nothing can be started: a request that needs a process is
	// answered with 502. Default: 0.
	Processes int `yaml:"processes"`

	// Processor time: 1.5 is one and a half processors. Beyond it they wait. At the least 0.01. Default: 0.
	Processors Processors `yaml:"processors"`
}

// Together is what package confine holds the processes of a script to together.
func (l *Limits) Together() confine.ScriptLimits {
	if l == nil || l.Script == nil {
		return confine.ScriptLimits{}
	}
	return confine.ScriptLimits{Memory: int64(l.Script.Memory), Processes: l.Script.Processes, Processors: float64(l.Script.Processors)}
}

// Processors is how much processor time there is: 1.5 is one and a half processors.
type Processors float64

// UnmarshalText reads a number from 0.01 up, or 0.
func (p *Processors) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f != 0 && !(f >= 0.01 && f <= 1e6) {
		return fmt.Errorf("%q is not a number of processors (write it like 2 or 0.5)", text)
	}
	*p = Processors(f)
	return nil
}

// checkScriptLimits says what of them can't be kept: that is no error.
func (d *decoder) checkScriptLimits(key string, l *Limits) {
	set := l.Together()
	for limit, why := range d.groups() {
		if name := strings.TrimPrefix(limit, "script."); why != nil && set.Has(limit) {
			d.note(d.src.value(key+"."+name, "is not kept: %v", why))
		}
	}
}
