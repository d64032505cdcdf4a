package pool

import (
	"slices"
	"strings"

	"warmcgi/internal/cgi"
)

// constants are the variables that are the same in all requests of a pool: a script may
// read them while it is loaded. Most come from the configuration; a front server can have
// several sites, each with a pool of its own.
type constants struct{ gateway, software, admin, root string }

// constantsOf takes them from a request, each as NAME=value.
func constantsOf(req *cgi.Request) (c constants) {
	for _, v := range req.Vars {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "GATEWAY_INTERFACE":
			c.gateway = v
		case "SERVER_SOFTWARE":
			c.software = v
		case "SERVER_ADMIN":
			c.admin = v
		case "DOCUMENT_ROOT":
			c.root = v
		}
	}
	return c
}

// over adds them, and the script's own file, to a base environment, which wins.
func (c constants) over(env []string, file string) []string {
	all := slices.Clone(env)
	for _, v := range []string{c.gateway, c.software, c.admin, c.root, "SCRIPT_FILENAME=" + file} {
		if name, _, ok := strings.Cut(v, "="); ok && !has(env, name) {
			all = append(all, v)
		}
	}
	return all
}

// requestVariables are the names of those that each request may have another value of. A
// script that reads one while it is loaded is not safe to be warm.
func requestVariables(vars, env []string) (names []string) {
	for _, v := range vars {
		if name, _, _ := strings.Cut(v, "="); !has(env, name) {
			names = append(names, name)
		}
	}
	return names
}

// has reports whether a variable is in an environment.
func has(env []string, name string) bool {
	return slices.ContainsFunc(env, func(e string) bool {
		return len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name
	})
}
