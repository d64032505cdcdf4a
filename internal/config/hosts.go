package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Host is the name of a site, such as www.example.org, an address, or *.example.org for every name below example.org.
// Case does not count, and other letters than those of ASCII are taken as browsers send them (münchen.example is
// xn--mnchen-3ya.example). Ports don't belong to it.
type Host string

// UnmarshalText reads a name, and makes it what [HostName] makes of a request's.
func (h *Host) UnmarshalText(text []byte) error {
	s := string(text)
	rest, wild := strings.CutPrefix(s, "*.")
	if strings.Contains(rest, "*") {
		return fmt.Errorf("%q: a * stands for whole labels at the beginning only (write *.example.org)", s)
	}
	name, err := hostName(rest)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no host (write it like www.example.org or *.example.org): %w", s, err)
	case wild && isAddress(name):
		return fmt.Errorf("%q: an address has no names below it", s)
	case wild:
		name = "*." + name
	}
	*h = Host(name)
	return nil
}

// Hosts are the names of a site: one, or a list of them.
type Hosts []Host

func (Hosts) oneOrMore() {}

// HostName is the name in a request's Host field as a [Host] has it, without the port; "" if it is none.
func HostName(field string) string {
	host := field
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") && (host[0] == '[' || strings.IndexByte(host, ':') == i) {
		host = host[:i]
	}
	name, err := hostName(host)
	if err != nil {
		return ""
	}
	return name
}

// hostName is a name in the one spelling in which names are compared.
func hostName(s string) (string, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	if isAddress(s) {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return "", errors.New("it is no address")
		}
		return a.String(), nil
	}
	s = strings.TrimSuffix(s, ".") // the root's, which means the same
	if s == "" || len(s) > 253 {
		return "", errors.New("it has no name, or one of more than 253 characters")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			return idna.Lookup.ToASCII(s)
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_':
		case c == '.' && i > 0 && s[i-1] != '.':
		case c == ':' && !strings.Contains(s, "/"):
			return "", errors.New("a port belongs to the door, not here")
		default:
			return "", fmt.Errorf("it has a %q where none may be", c)
		}
	}
	return strings.ToLower(s), nil
}

// isAddress tells whether a host is an address rather than a name, which never ends in a number.
func isAddress(s string) bool {
	if strings.Count(s, ":") > 1 {
		return true
	}
	if s == "" || s[len(s)-1] < '0' || s[len(s)-1] > '9' {
		return false
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// Name is what logs and metrics call a route: its path, behind the first of its hosts.
func (r *Route) Name() string {
	if len(r.Host) > 0 {
		return string(r.Host[0]) + r.Path
	}
	return r.Path
}
