package gateway

import (
	"warmcgi/internal/cgroup"
	"warmcgi/internal/config"
	"warmcgi/internal/confine"
)

// openGroups makes the gateway's control groups ready where a route has limits for a script's processes together. What
// can't be kept is no failure: the configuration has a note of it, and the status.
func (s *Server) openGroups(c *config.Config) {
	var foreseen map[string]error // of which the configuration has a note; nil: nobody has looked
	for i := range c.Routes {
		limits := c.Routes[i].Limits.Together()
		if limits == (confine.ScriptLimits{}) {
			continue
		}
		if foreseen == nil {
			foreseen = cgroup.Possible()
			s.groups.Open()
		}
		for limit, why := range s.groups.Lacks(limits) {
			if foreseen[limit] == nil {
				s.log.Warn("a limit is not kept", "route", c.Routes[i].Name(), "limit", limit, "why", why)
			}
		}
	}
}
