package main

import (
	"fmt"

	"warmcgi/internal/config"
	"warmcgi/internal/confine"
)

// confineFlags are user and limits of a route, for the commands that try one script.
type confineFlags struct {
	User  string            `placeholder:"USER" help:"Run the script as this user, as user of a route does."`
	Limit map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"A limit of the script's processes, as in limits of a route: memory=512MiB, cpu=30s; may be given again."`
}

// confine gives a route the flags.
func (f *confineFlags) confine(r *config.Route) (err error) {
	r.User = f.User
	if r.Limits, err = config.ParseLimits(f.Limit); err != nil {
		return fmt.Errorf("--limit: %w", err)
	}
	return nil
}

func (f *confineFlags) rules() (*confine.Rules, error) {
	var r config.Route
	if err := f.confine(&r); err != nil || r.User == "" {
		return confine.New(nil, r.Limits.Confine()), err
	}
	u, err := confine.Lookup(r.User)
	if err != nil {
		return nil, fmt.Errorf("--user: %w", err)
	}
	return confine.New(u, r.Limits.Confine()), nil
}
