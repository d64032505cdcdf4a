package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"warmcgi/internal/config"
)

// client is who asks, and how: as the connection has it, or as a trusted proxy says.
type client struct {
	addr    string // host:port, or a host alone where the port is not known
	https   bool
	host    string // of X-Forwarded-Host, or ""
	trusted bool   // a trusted proxy has passed the request on
	port    string // of the server as the client sees it, or ""
}

// clientOf believes the fields of proxies in trusted only; unix says that the peer's
// own address is none: it came by a Unix socket, or a proxy says that its client did. The client's address is the first
// from the right that is not a trusted proxy's: what stands left of it is whatever
// the client made up.
func clientOf(r *http.Request, trusted config.Prefixes, unix bool) client {
	c := client{addr: r.RemoteAddr, https: r.TLS != nil}
	if unix {
		c.addr = "127.0.0.1" // REMOTE_ADDR has to be an address, and the peer is on this machine
	}
	if len(trusted) == 0 || !isTrusted(r.RemoteAddr, trusted, unix) {
		return c
	}
	c.trusted = true
	fwd := forwarded(r.Header)
	for i := len(fwd) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(hostOf(fwd[i].addr))
		if err != nil || addr.Zone() != "" {
			break // "unknown", an obfuscated name (RFC 7239 section 6.3), or a zone, which can be any text
		}
		c.addr = fwd[i].addr
		if _, err := netip.ParseAddrPort(c.addr); err != nil {
			c.addr = addr.String() // a port may be an obfuscated name, too
		}
		if fwd[i].proto != "" {
			c.https = strings.EqualFold(fwd[i].proto, "https")
		}
		if fwd[i].host != "" {
			c.host = fwd[i].host
		}
		if !trusted.Contains(addr) {
			break
		}
	}
	if p := lastOf(r.Header, "X-Forwarded-Proto"); p != "" {
		c.https = strings.EqualFold(p, "https")
		c.port = ""
	}
	if h := lastOf(r.Header, "X-Forwarded-Host"); h != "" {
		c.host = h
	}
	if !isHost(c.host) {
		c.host = "" // no more than a client's own Host may be anything
	}
	if c.port = lastOf(r.Header, "X-Forwarded-Port"); strings.Trim(c.port, "0123456789") != "" || len(c.port) > 5 {
		c.port = ""
	}
	if c.port == "" && (c.https || c.host != "") {
		c.port = "80"
		if c.https {
			c.port = "443"
		}
	}
	return c
}

// hasAddr reports whether the peer of a request has an address: on a Unix socket only
// one of whom the PROXY protocol says so.
func hasAddr(r *http.Request) bool {
	_, err := netip.ParseAddr(hostOf(r.RemoteAddr))
	return err == nil
}

func isTrusted(remote string, trusted config.Prefixes, unix bool) bool {
	if unix {
		return trusted.ContainsUnix()
	}
	addr, err := netip.ParseAddr(hostOf(remote))
	return err == nil && trusted.Contains(addr)
}

// hop is what one proxy says of the one before it.
type hop struct{ addr, proto, host string }

// forwarded reads X-Forwarded-For, or the Forwarded field (RFC 7239) where there is
// none: nearly every proxy writes the first, and passes on the second as its client
// wrote it.
func forwarded(h http.Header) []hop {
	var hops []hop
	for _, field := range h["X-Forwarded-For"] {
		for a := range strings.SplitSeq(field, ",") {
			hops = append(hops, hop{addr: strings.TrimSpace(a)})
		}
	}
	if hops != nil || h["Forwarded"] == nil {
		return hops
	}
	for element := range strings.SplitSeq(strings.Join(h["Forwarded"], ","), ",") {
		var e hop
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "for":
				e.addr = value
			case "proto":
				e.proto = value
			case "host":
				e.host = value
			}
		}
		hops = append(hops, e)
	}
	return hops
}

// lastOf is the value that the nearest proxy has set.
func lastOf(h http.Header, name string) string {
	v := h[name]
	if len(v) == 0 {
		return ""
	}
	list := v[len(v)-1]
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// hostOf is an address without its port and its brackets.
func hostOf(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return strings.Trim(addr, "[]")
}
