package config

import (
	"fmt"
	"slices"
	"strings"
)

func (d *decoder) checkFastCGI(key string, f *FastCGI) {
	switch d.exactlyOne(key, "servers", "dns", "program") {
	case "servers":
		d.checkNotEmpty(key+".servers", len(f.Servers))
		for i, a := range f.Servers {
			item := fmt.Sprintf("%s.servers[%d]", key, i)
			switch {
			case a.Network() == "systemd":
				d.refuse(d.src.value(item, "%q: systemd: is for doors, a server cannot be it", a))
			case a.IsTCP() && strings.HasPrefix(a.Addr(), ":"):
				d.refuse(d.src.value(item, "%q names no host (write 127.0.0.1%s)", a, a.Addr()))
			}
		}
	case "dns":
		if !strings.HasPrefix(f.DNS, "_") { // or it is an SRV name
			d.checkHostPort(key+".dns", f.DNS)
		}
	case "program":
		if d.src.has(key+".processes") && f.Processes == 0 {
			d.refuse(d.src.value(key+".processes", "must be at least 1"))
		}
	default:
		return
	}
	for i := range f.Params {
		d.checkParams(fmt.Sprintf("%s.params[%d]", key, i), &f.Params[i])
	}
	d.onlyWith(key, "program", "args", "processes")
	d.onlyWith(key, "dns", "refresh")
	if f.Program != "" {
		for _, k := range []string{"balance", "max_conns", "connect", "keep", "health", "slow_start", "tls"} {
			if d.src.has(key + "." + k) {
				d.refuse(d.src.key(key+"."+k, "goes with servers or dns: the processes of program are the gateway's own"))
			}
		}
		return
	}
	if d.src.has(key+".connect") && f.Connect == 0 {
		d.refuse(d.src.value(key+".connect", "must be more than 0"))
	}
	if f.Health != nil {
		d.checkHealth(key+".health", f.Health)
	}
	if f.TLS != nil {
		d.checkClientTLS(key+".tls", f)
	}
}

func (d *decoder) checkHealth(key string, h *Health) {
	asks := h.Check == CheckPing || h.Check == CheckStatus
	switch path := key + ".path"; {
	case d.src.has(path) && !asks:
		d.refuse(d.src.key(path, "goes with check: ping or check: status"))
	case d.src.has(path) && !strings.HasPrefix(h.Path, "/"):
		d.refuse(d.src.value(path, "%q must begin with /", h.Path))
	}
	for k, v := range map[string]int64{".every": int64(h.Every), ".timeout": int64(h.Timeout), ".fails": int64(h.Fails)} {
		if d.src.has(key+k) && v == 0 {
			d.refuse(d.src.value(key+k, "must be more than 0"))
		}
	}
}

func (d *decoder) checkClientTLS(key string, f *FastCGI) {
	if f.DNS == "" && !slices.ContainsFunc(f.Servers, func(a Address) bool { return a.Network() == "tls" }) {
		d.refuse(d.src.key(key, "goes with servers at tls: addresses, or with dns"))
	}
	d.onlyWith(key, "cert", "key")
	d.onlyWith(key, "key", "cert")
}
