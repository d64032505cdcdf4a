package doctor

import (
	"context"

	"warmcgi/internal/cgroup"
	"warmcgi/internal/confine"
)

// examineMachine says what a sandbox, and limits of scripts' processes together, could have here.
func examineMachine(context.Context, Options) Patient {
	p := Patient{Kind: KindMachine, Name: "sandbox"}
	for _, f := range confine.Features() {
		switch {
		case f.Why != nil:
			p.add(note("", "%s: %v", f.Name, f.Why))
		case f.Detail != "":
			p.add(note("", "%s: can be had (%s)", f.Name, f.Detail))
		default:
			p.add(note("", "%s: can be had", f.Name))
		}
	}
	possible := cgroup.Possible()
	for _, limit := range cgroup.Limits {
		if why := possible[limit]; why != nil {
			p.add(note("", "limits.%s: %v", limit, why))
		} else {
			p.add(note("", "limits.%s: can be had", limit))
		}
	}
	return p
}
