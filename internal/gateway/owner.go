package gateway

import (
	"errors"

	"warmcgi/internal/cgi"
	"warmcgi/internal/confine"
)

// ownRules gives a request of a route whose scripts run as their owners the owner's rules. A script that may not is
// refused, and counted.
func (x *exchange) ownRules(rt *route, req *cgi.Request, php bool) error {
	if rt.owners == nil || rt.FastCGI != nil || php {
		return nil
	}
	var err error
	req.Confine, err = rt.rulesOf(req.Script.File)
	var refusal *confine.Refusal
	if errors.As(err, &refusal) {
		x.s.metrics.ownerRefusals.WithLabelValues(rt.label(), refusal.Why).Inc()
	}
	return err
}

// rulesOf are what a script of the route is held to.
func (rt *route) rulesOf(file string) (*confine.Rules, error) {
	if rt.owners == nil {
		return rt.confine, nil
	}
	root := ""
	switch {
	case rt.CGI != nil:
		root = rt.CGI.Dir
	case rt.Files != nil:
		root = rt.Files.Root
	}
	return rt.owners.Of(file, root)
}
