package config

import (
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strings"
)

// validate finds what single values cannot show: combinations, and text with a form of its own. It asks what the file
// has at a key rather than what came of it, so that a bad value is reported once.
func (d *decoder) validate() {
	c := d.root
	d.checkDoors(c.Listen)
	d.checkAdmin(&c.Admin)
	d.checkLine("server_admin", c.ServerAdmin)
	if name := filepath.Base(c.Log.Access.To); name == "off" || name == "none" { // as nginx has it
		d.refuse(d.src.value("log.access.to", "would be a file called %s; no access log is `format: off`", name))
	}
	d.checkHeaders("headers", c.Headers)
	d.checkTracing(c.Tracing)
	d.checkNotEmpty("listen", len(c.Listen))
	d.checkSpare("defaults", &c.Defaults)
	d.checkCompress("defaults.compress", &c.Defaults.Compress)
	d.checkRateLimit("defaults.rate_limit", &c.Defaults.RateLimit)

	first := map[site]int{}
	for i := range c.Routes {
		r := &c.Routes[i]
		key := fmt.Sprintf("routes[%d]", i)
		d.checkRoute(key, r)
		if r.Path != "" {
			d.checkTwice(key, r, i, first)
		}
	}
	if len(c.Routes) == 0 && !d.servesScripts() {
		d.refuse(d.src.key("routes", "there is nothing to serve: add a route"))
	}
}

// site is where a route stands: nothing else may stand there.
type site struct {
	host Host
	path string
}

func (d *decoder) checkTwice(key string, r *Route, i int, first map[site]int) {
	hosts := r.Host
	if len(hosts) == 0 {
		hosts = Hosts{""}
	}
	for _, h := range hosts {
		j, twice := first[site{h, r.Path}]
		switch {
		case twice && j == i:
			d.refuse(d.src.key(key+".host", "names %s twice", h))
		case twice && h != "":
			d.refuse(d.src.value(key+".path", "%q at host %s is the path of routes[%d] too", r.Path, h, j))
		case twice:
			d.refuse(d.src.value(key+".path", "%q is the path of routes[%d] too", r.Path, j))
		default:
			first[site{h, r.Path}] = i
		}
	}
}

func (d *decoder) servesScripts() bool {
	for i := range d.root.Listen {
		if d.src.has(fmt.Sprintf("listen[%d].scripts", i)) {
			return true
		}
	}
	return false
}

func (d *decoder) checkDoors(doors []Listener) {
	taken := map[Address]string{}
	if !d.root.Admin.IsZero() {
		taken[d.root.Admin.Listen] = "admin"
	}
	for i := range doors {
		key := fmt.Sprintf("listen[%d]", i)
		kind := d.exactlyOne(key, "http", "https", "fastcgi")
		if kind == "" {
			continue
		}
		_, addr := doors[i].Door()
		d.checkListenAddress(key+"."+kind, kind, addr)
		if addr.IsZero() {
			continue
		}
		if other, twice := taken[addr]; twice && !strings.HasSuffix(addr.Addr(), ":0") {
			d.refuse(d.src.value(key+"."+kind, "%s is the address of %s too", addr, other))
		} else {
			taken[addr] = key
		}
		switch {
		case kind == "https" && !d.src.has(key+".tls"):
			d.refuse(d.src.key(key+".tls", "is missing; https needs a certificate and a key, or acme"))
		case kind == "fastcgi" && addr.Network() == "tls" && !d.src.has(key+".tls"):
			d.refuse(d.src.key(key+".tls", "is missing; a tls: address needs a certificate and a key"))
		case kind == "fastcgi" && addr.Network() == "tcp" && d.src.has(key+".tls"):
			d.refuse(d.src.key(key+".tls", "goes with a tls: address only (write fastcgi: tls:%s)", addr))
		case kind == "fastcgi" && addr.Network() != "tls" && d.src.has(key+".tls"):
			d.refuse(d.src.key(key+".tls", "goes with https, or with fastcgi at a tls: address"))
		case kind == "http" && d.src.has(key+".tls"):
			d.refuse(d.src.key(key+".tls", "goes with https only, not with http"))
		}
		if kind != "fastcgi" {
			for _, k := range []string{"scripts", "allow"} {
				if d.src.has(key + "." + k) {
					d.refuse(d.src.key(key+"."+k, "goes with fastcgi only, not with %s", kind))
				}
			}
		}
		d.checkDoorTLS(key+".tls", kind, doors[i].TLS)
		d.checkDoorRedirect(key, kind, &doors[i], doors)
		d.checkAllow(key+".allow", &doors[i], addr)
		if d.src.has(key+".socket_mode") && addr.Network() != "unix" {
			d.refuse(d.src.key(key+".socket_mode", "goes with unix: addresses only"))
		}
		d.checkNotEmpty(key+".scripts", len(doors[i].Scripts))
	}
}

func (d *decoder) checkListenAddress(key, kind string, a Address) {
	if a.Network() == "tls" && kind != "fastcgi" {
		d.refuse(d.src.value(key, "%q: tls: is FastCGI over TLS, which only a fastcgi door can be", a))
	}
}

// checkAllow: only peers of a network have an address.
func (d *decoder) checkAllow(key string, l *Listener, addr Address) {
	if !d.src.has(key) {
		return
	}
	d.checkNotEmpty(key, len(l.Allow))
	switch {
	case addr.Network() == "unix":
		d.refuse(d.src.key(key, "goes with HOST:PORT only: who may open a unix socket is what socket_mode says"))
	case l.Allow.ContainsUnix():
		d.refuse(d.src.value(key, "unix is no network here: write addresses like 10.0.0.0/8"))
	}
}

// exactlyOne finds the one key of a block that the file has.
func (d *decoder) exactlyOne(block string, keys ...string) string {
	var found []string
	for _, k := range keys {
		if d.src.has(block + "." + k) {
			found = append(found, k)
		}
	}
	switch {
	case !d.isBlock(block):
		return "" // already reported
	case len(found) == 0:
		d.refuse(d.src.key(block, "needs one of %s", list(keys, "and")))
	case len(found) > 1:
		d.refuse(d.src.key(block+"."+found[1], "cannot stand beside %s: there must be exactly one of %s",
			found[0], list(keys, "and")))
	default:
		return found[0]
	}
	return ""
}

// isBlock tells whether a key holds a block. What should be one and is not has been reported.
func (d *decoder) isBlock(key string) bool {
	return d.src.has(key) && !d.bad[key]
}

// refuse reports an error unless the key has one already: the value may then not be what it seems.
func (d *decoder) refuse(e *Error) {
	if !d.bad[e.Key] {
		d.fail(e)
	}
}

// onlyWith refuses keys that mean nothing without another one.
func (d *decoder) onlyWith(block, with string, keys ...string) {
	for _, k := range keys {
		if d.src.has(block+"."+k) && !d.src.has(block+"."+with) {
			d.refuse(d.src.key(block+"."+k, "goes with %s only", with))
		}
	}
}

func (d *decoder) checkNotEmpty(key string, n int) {
	if d.src.has(key) && n == 0 {
		d.refuse(d.src.value(key, "is an empty list"))
	}
}

// checkLine refuses line breaks and other control characters in what goes into a header or a log line.
func (d *decoder) checkLine(key, text string) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		d.refuse(d.src.value(key, "must be one line without control characters"))
	}
}

// checkNames is for index: names of files within one folder.
func (d *decoder) checkNames(key string, names []string) {
	for i, n := range names {
		if n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/\x00") {
			d.refuse(d.src.value(fmt.Sprintf("%s[%d]", key, i), "%q is not the name of a file", n))
		}
	}
}

func (d *decoder) checkPatterns(key string, patterns []string) {
	for i, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			d.refuse(d.src.value(fmt.Sprintf("%s[%d]", key, i), "%q is not a pattern of names (write it like *.cgi)", p))
		}
	}
}

func (d *decoder) checkExtension(key, ext string, p func(key, format string, args ...any) *Error) {
	if len(ext) < 2 || ext[0] != '.' || strings.ContainsAny(ext, "/\x00*") {
		d.refuse(p(key, "%q is not an extension (write it like .cgi)", ext))
	}
}

func (d *decoder) checkHostPort(key, text string) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || !isPort(port) {
		d.refuse(d.src.value(key, "%q is not a name with a port (write it like app:9000)", text))
	}
}

func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
