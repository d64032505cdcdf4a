package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"warmcgi/internal/cgroup"
)

// printGroups says which limits of scripts' processes together are not kept, and which were met.
func printGroups(out io.Writer, s *cgroup.Status) error {
	if s == nil {
		return nil
	}
	for _, limit := range slices.Sorted(maps.Keys(s.NotKept)) {
		if _, err := fmt.Fprintf(out, "the limit %s is not kept: %s\n", limit, visible(s.NotKept[limit])); err != nil {
			return err
		}
	}
	for _, g := range s.Groups {
		if g.Killed == 0 && g.Refused == 0 {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s has met its limits (%s): %d ended for want of memory, %d not started\n", visible(g.Script), g.Limits, g.Killed, g.Refused); err != nil {
			return err
		}
	}
	if len(s.NotKept)+len(s.Groups) > 0 {
		_, err := fmt.Fprintln(out)
		return err
	}
	return nil
}
