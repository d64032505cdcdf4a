package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"warmcgi/internal/confine"
)

// checkConfined looks up who a route's scripts run as, and checks that their limits can
// be kept: they are for scripts that the gateway itself starts.
func (d *decoder) checkConfined(key string, r *Route) {
	for _, k := range []string{".user", ".group", ".owner", ".limits", ".sandbox"} {
		switch {
		case !d.src.has(key + k):
		case !confine.Supported:
			d.refuse(d.src.key(key+k, "needs Linux"))
		case r.CGI == nil && (r.Files == nil || len(r.Files.Scripts) == 0):
			d.refuse(d.src.key(key+k, "goes with cgi, or files with scripts: the route starts no script"))
		}
	}
	if d.src.has(key + ".user") {
		d.checkUser(key, r)
	}
	d.onlyWith(key, "user", "group")
	if r.Owner != nil && r.User != UserOwner {
		d.refuse(d.src.key(key+".owner", "goes with user: owner"))
	}
	if r.Limits != nil {
		d.checkLimits(key+".limits", r)
	}
	if r.Sandbox != nil {
		d.checkSandbox(key, r)
	}
}

func (d *decoder) checkUser(route string, r *Route) {
	key, name := route+".user", r.User
	switch {
	case r.User == "":
		d.refuse(d.src.value(key, "is empty"))
		return
	case d.bad[key] || d.bad[route+".group"] || !confine.Supported:
		return
	case d.src.has(route+".group") && r.Group == "":
		d.refuse(d.src.value(route+".group", "is empty"))
		return
	case r.User == UserOwner:
		if _, err := r.Owners(); errors.Is(err, confine.ErrNotRoot) {
			d.refuse(d.src.value(key, "%v", err))
		} else if err != nil {
			d.refuse(d.src.value(route+".group", "%v", err))
		}
		return
	case r.Group != "" && strings.Contains(r.User, ":"):
		d.refuse(d.src.value(route+".group", "is in user already: %s", r.User))
		return
	case r.Group != "":
		name += ":" + r.Group
	}
	u, err := d.user(name)
	if err != nil {
		d.refuse(d.src.value(key, "%v", err))
		return
	}
	r.RunAs = u
}

func (d *decoder) checkLimits(key string, r *Route) {
	if err := r.Limits.wholeSeconds(); err != nil {
		d.refuse(d.src.value(key+".cpu", "%v", err))
	}
	for _, name := range r.Limits.Confine().Lower() {
		d.note(d.src.value(key+"."+name, "the gateway's own limit is lower and stays, as the gateway is not root"))
	}
	if r.Limits.Script != nil {
		d.checkScriptLimits(key+".script", r.Limits)
	}
	if r.Limits.Processes > 0 && r.User != UserOwner && confine.IsRoot(r.RunAs) {
		d.note(d.src.value(key+".processes", "does not hold for root: give the route a user"))
	}
}

// note is for what may not do what it seems to.
func (d *decoder) note(e *Error) { d.root.Notes = append(d.root.Notes, e) }

// ParseLimits reads limits that stand elsewhere than in the file, by their keys.
func ParseLimits(words map[string]string) (*Limits, error) {
	l := &Limits{}
	for name, text := range words {
		var err error
		switch name {
		case "memory":
			err = l.Memory.UnmarshalText([]byte(text))
		case "cpu":
			err = l.CPU.UnmarshalText([]byte(text))
		case "processes":
			l.Processes, err = parseCount(text)
		case "files":
			l.Files, err = parseCount(text)
		case "file_size":
			err = l.FileSize.UnmarshalText([]byte(text))
		case "core":
			l.Core = new(Size)
			err = l.Core.UnmarshalText([]byte(text))
		default:
			err = errors.New("there is no such limit")
		}
		if err == nil {
			err = l.wholeSeconds()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if !confine.Supported && len(words) > 0 {
		return nil, errors.New("limits need Linux")
	}
	return l, nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return int(n), nil
}

// wholeSeconds: the kernel knows no others.
func (l *Limits) wholeSeconds() error {
	if cpu := time.Duration(l.CPU); cpu%time.Second != 0 {
		return fmt.Errorf("%q is not a whole number of seconds (write %s)", l.CPU, Duration(cpu.Truncate(time.Second)+time.Second))
	}
	return nil
}
