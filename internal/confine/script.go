package confine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ScriptLimits are what all processes of one script may use together, with whatever they start: its warm parents and workers, or
// the processes of all its requests. 0 is no limit. See package cgroup.
type ScriptLimits struct {
	// Memory is what they use, not what they ask for, in octets.
	Memory int64
	// Processes is how many there may be, threads counted.
	Processes int
	// Processors is how much processor time they get: 1.5 is one and a half processors.
	Processors float64
}

// Names of limits of a script, as [Limits]'s are.
const (
	ScriptMemory     = "script.memory"
	ScriptProcesses  = "script.processes"
	ScriptProcessors = "script.processors"
)

// Has reports whether a limit is set, by its name.
func (s ScriptLimits) Has(limit string) bool {
	return slices.ContainsFunc(s.words(), func(w string) bool { return strings.HasPrefix(w, limit+" ") })
}

// String lists the limits as the configuration has them.
func (s ScriptLimits) String() string { return strings.Join(s.words(), ", ") }

func (s ScriptLimits) words() []string {
	var w []string
	if s.Memory > 0 {
		w = append(w, ScriptMemory+" "+octets(s.Memory))
	}
	if s.Processes > 0 {
		w = append(w, fmt.Sprintf("%s %d", ScriptProcesses, s.Processes))
	}
	if s.Processors > 0 {
		w = append(w, ScriptProcessors+" "+strconv.FormatFloat(s.Processors, 'f', -1, 64))
	}
	return w
}

// Together returns the rules with limits for a script's processes together.
func (r *Rules) Together(s ScriptLimits) *Rules {
	if s == (ScriptLimits{}) {
		return r
	}
	with := Rules{}
	if r != nil {
		with = *r
	}
	with.Script = s
	return &with
}

// Grouped reports whether a script's processes have limits together.
func (r *Rules) Grouped() bool { return r != nil && r.Script != ScriptLimits{} }
