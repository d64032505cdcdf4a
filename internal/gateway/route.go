package gateway

import (
	"fmt"
	"path"
	"sort"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/confine"
	"warmcgi/internal/mapping"
	"warmcgi/internal/urlpath"
)

// route is one of the configuration's, made ready for requests.
type route struct {
	config.Route
	name     string   // its host, if it has one, and its path
	env      []string // base environment, NAME=value, sorted
	ownEnv   []string // the route's own part of it: what a FastCGI application gets
	docRoot  string
	admin    string     // SERVER_ADMIN
	folders  []string   // of a door's own route: those whose programs a front server may name
	ownRoot  string     // where docRoot is a front server's, in case it has none
	auth     *basicAuth // nil: anybody
	timeouts cgi.Timeouts
	queue    cgi.QueueLimits
	workers  *cgi.Workers // nil: mode spawn
	confine  *confine.Rules
	owners   *confine.Owners // nil: confine is for all of its scripts
	maxBody  int64
	rules    urlpath.Rules
	isScript map[string]bool // extensions within files
	app      *application    // nil: no FastCGI
	root     urlpath.Folder  // of PHP and files, as the gateway sees it

	rivals        bool            // there are routes with a host: the longest path is not all that counts
	redirection   *redirection    // nil: it answers itself
	headers       *fieldRules     // of its answers; nil: they stay
	requestFields *mapping.Params // changes of what scripts see of the request's; nil: none
	compression   *compression    // nil: off
	limiter       *rateLimiter    // nil: clients may ask as often as they like
	authorizer    *authorizer     // nil: nobody is asked
	params        *mapping.Params // nil: the application gets the request's parameters as they are
}

// newRoute resolves what a request should not have to.
func newRoute(c *config.Config, r config.Route) (*route, error) {
	rt := &route{
		Route:   r,
		name:    r.Name(),
		env:     environ(c.Env, r.Env),
		ownEnv:  environ(nil, r.Env),
		docRoot: r.DocumentRoot,
		admin:   c.ServerAdmin,
		timeouts: cgi.Timeouts{
			FirstByte: time.Duration(r.Timeout.FirstByte),
			Idle:      time.Duration(r.Timeout.Idle),
			Total:     time.Duration(r.Timeout.Total),
			Grace:     time.Duration(r.Timeout.Grace),
		},
		queue: cgi.QueueLimits{
			Running: int64(r.Workers.Max),
			Length:  r.Queue.Length,
			Wait:    time.Duration(r.Queue.Wait),
		},
		maxBody:  int64(r.Body.Max),
		rules:    urlpath.Rules{Follow: r.Symlinks == config.SymlinksFollow},
		isScript: map[string]bool{},
	}
	if rt.queue.Running == 0 {
		rt.queue.Running = defaultPerScript()
	}
	if r.Mode != config.ModeSpawn {
		rt.workers = &cgi.Workers{
			Mode: cgi.Mode(r.Mode), Max: int(rt.queue.Running), Spare: r.Workers.Spare, Idle: time.Duration(r.Workers.Idle),
			Requests: r.Reuse.Requests, Age: time.Duration(r.Reuse.Age), Memory: int64(r.Reuse.Memory),
			AcceptCaptured: r.Reuse.Captured == config.CapturedAccept, Preload: r.Preload, Runner: r.Runner,
		}
	}
	as := r.RunAs
	if r.User == config.UserOwner {
		var err error
		if rt.owners, err = r.Owners(); err != nil {
			return nil, fmt.Errorf("user of route %s: %w", rt.name, err)
		}
	} else if as == nil && r.User != "" { // not from a file
		var err error
		if as, err = confine.Lookup(r.User); err != nil {
			return nil, fmt.Errorf("user of route %s: %w", rt.name, err)
		}
	}
	if rt.owners == nil {
		rt.confine = confine.New(as, r.Limits.Confine()).Together(r.Limits.Together()).In(r.Sandbox.Confine())
	}
	if rt.maxBody == 0 {
		rt.maxBody = 1<<63 - 2
	}
	switch {
	case rt.docRoot != "":
	case c.DocumentRoot != "":
		rt.docRoot = c.DocumentRoot
	case r.Files != nil:
		rt.docRoot = r.Files.Root
	case r.CGI != nil && r.CGI.Dir != "":
		rt.docRoot = r.CGI.Dir
	case r.CGI != nil:
		rt.docRoot = path.Dir(r.CGI.Program)
	}
	if r.PHP != nil {
		rt.root.Path = r.PHP.Root
	}
	if r.Files != nil {
		rt.root.Path = r.Files.Root
		for _, ext := range r.Files.Scripts {
			rt.isScript[ext] = true
		}
	}
	rt.headers, rt.compression = newFieldRules(r.Headers), newCompression(r.Compress)
	var err error
	if rt.limiter, err = newRateLimiter(r.RateLimit); err != nil {
		return nil, fmt.Errorf("route %s: %w", rt.name, err)
	}
	if rt.redirection, err = newRedirection(r.Redirect); err != nil {
		return nil, fmt.Errorf("route %s: %w", rt.name, err)
	}
	if rt.requestFields, err = newRequestFields(r.RequestHeaders); err != nil {
		return nil, fmt.Errorf("route %s: %w", rt.name, err)
	}
	if rt.params, err = newParams(ofRoute(&r)); err != nil {
		return nil, fmt.Errorf("params of route %s: %w", rt.name, err)
	}
	if r.Auth != nil && r.Auth.Basic != nil {
		a, err := newBasicAuth(r.Auth.Basic.Realm, r.Auth.Basic.Htpasswd)
		if err != nil {
			return nil, err
		}
		rt.auth = a
	}
	return rt, nil
}

// environ is the base environment of a route's scripts, as exec wants it.
func environ(base, own config.Env) []string {
	merged := make(map[string]string, len(base)+len(own))
	for _, env := range []config.Env{base, own} {
		for name, value := range env {
			merged[name] = value
		}
	}
	list := make([]string, 0, len(merged))
	for name, value := range merged {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}

// defaultPerScript is workers.max where the configuration leaves it to us: enough
// for scripts that wait for something, few enough that a machine full of
// interpreters still turns.
func defaultPerScript() int64 { return int64(max(32, 16*processors())) }

// defaultProcesses is max_processes where the configuration leaves it to us.
func defaultProcesses() int64 { return int64(max(256, 64*processors())) }

// routeTable finds the route of a request: by host first, then by the longest path.
type routeTable []*route

func newRouteTable(c *config.Config) (routeTable, error) {
	var t routeTable
	hosted := false
	for _, r := range c.Routes {
		rt, err := newRoute(c, r)
		if err != nil {
			return nil, err
		}
		hosted = hosted || len(r.Host) > 0
		t = append(t, rt)
	}
	for _, rt := range t {
		rt.rivals = hosted
	}
	sort.SliceStable(t, func(i, j int) bool { return len(t[i].Path) > len(t[j].Path) })
	return t, nil
}

// find returns the route of a path at a host, and what is left of the path behind the
// route's. When only a slash at the end is missing, it returns where to redirect to.
func (t routeTable) find(host string, p urlpath.Path) (rt *route, rest urlpath.Path, redirect string) {
	best := noMatch
	for _, r := range t {
		if best > noMatch && !r.rivals {
			break
		}
		rank := r.rank(host)
		if rank <= best {
			continue // of equal ones the longest path came first
		}
		if left, ok := p.Match(r.Path); ok {
			best, rt, rest, redirect = rank, r, left, ""
		} else if strings.HasSuffix(r.Path, "/") && p.Clean()+"/" == r.Path {
			best, rt, rest, redirect = rank, nil, nil, r.Path
		}
	}
	return rt, rest, redirect
}

// label is what the metrics call the route.
func (rt *route) label() string {
	if rt == nil {
		return ""
	}
	return rt.name
}
