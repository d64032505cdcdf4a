package config

import (
	"time"

	"warmcgi/internal/confine"
)

// checkConfined looks up who a route's scripts run as, and checks that their limits can
// be kept: they are for scripts that the gateway itself starts.
func (d *decoder) checkConfined(key string, r *Route) {
	for _, k := range []string{".user", ".limits"} {
		switch {
		case !d.src.has(key + k):
		case !confine.Supported:
			d.refuse(d.src.key(key+k, "needs Linux"))
		case r.CGI == nil && (r.Files == nil || len(r.Files.Scripts) == 0):
			d.refuse(d.src.key(key+k, "goes with cgi, or files with scripts: the route starts no script"))
		}
	}
	if d.src.has(key + ".user") {
		d.checkUser(key+".user", r)
	}
	if r.Limits != nil {
		d.checkLimits(key+".limits", r)
	}
}

func (d *decoder) checkUser(key string, r *Route) {
	if r.User == "" {
		d.refuse(d.src.value(key, "is empty"))
		return
	}
	if d.bad[key] {
		return
	}
	u, err := d.user(r.User)
	if err != nil {
		d.refuse(d.src.value(key, "%v", err))
		return
	}
	r.RunAs = u
}

func (d *decoder) checkLimits(key string, r *Route) {
	if cpu := time.Duration(r.Limits.CPU); cpu%time.Second != 0 {
		d.refuse(d.src.value(key+".cpu", "%q is not a whole number of seconds (write %s)", r.Limits.CPU, Duration(cpu.Truncate(time.Second)+time.Second)))
	}
	for _, name := range r.Limits.Confine().Lower() {
		d.note(d.src.value(key+"."+name, "the gateway's own limit is lower and stays, as the gateway is not root"))
	}
	if r.Limits.Processes > 0 && confine.IsRoot(r.RunAs) {
		d.note(d.src.value(key+".processes", "does not hold for root: give the route a user"))
	}
}

// note is for what may not do what it seems to.
func (d *decoder) note(e *Error) { d.root.Notes = append(d.root.Notes, e) }
