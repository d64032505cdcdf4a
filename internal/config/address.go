package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is what fits into a Unix socket's address, on Linux and with its closing null byte.
const maxSocketPath = 107

// Address is where to listen or connect: HOST:PORT (or tcp:HOST:PORT), unix:/path; for a door also :PORT (all
// interfaces) and systemd:NAME (a socket that systemd opened and named so); for FastCGI also tls:HOST:PORT.
type Address struct {
	network, addr string
}

// ParseAddress reads an address in any of its forms.
func ParseAddress(s string) (Address, error) {
	kind, rest, found := strings.Cut(s, ":")
	if !found {
		return Address{}, notAddress(s)
	}
	switch kind {
	case "unix", "systemd":
		if rest == "" || strings.ContainsRune(rest, 0) {
			return Address{}, notAddress(s)
		}
		return Address{kind, rest}, nil
	case "tls":
		if !isHostPort(rest) {
			return Address{}, fmt.Errorf("%q is not an address (write it like tls:app-1:9000)", s)
		}
		return Address{kind, rest}, nil
	case "tcp":
		if isHostPort(rest) {
			return Address{kind, rest}, nil
		}
	}
	if !isHostPort(s) {
		return Address{}, notAddress(s)
	}
	return Address{"tcp", s}, nil
}

// isHostPort also takes :PORT.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && isPort(port) && !strings.ContainsAny(host, "/ *")
}

func notAddress(s string) error {
	port := strings.TrimPrefix(s, "*:")
	switch {
	case isPort(port):
		return fmt.Errorf("%q is not an address (write :%s for all interfaces, or 127.0.0.1:%s)", s, port, port)
	case strings.HasPrefix(s, "/"):
		return fmt.Errorf("%q is not an address (write unix:%s)", s, s)
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		return fmt.Errorf("%q is not an address (write HOST:PORT alone)", s)
	}
	return fmt.Errorf("%q is not an address (write HOST:PORT, :PORT, unix:/path or systemd:NAME)", s)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// UnmarshalText reads an address.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAddress(string(text))
	return err
}

// Network is "tcp", "unix", "systemd" or "tls".
func (a Address) Network() string { return a.network }

// IsTCP tells whether it is HOST:PORT, with or without TLS.
func (a Address) IsTCP() bool { return a.network == "tcp" || a.network == "tls" }

// IsLoopback tells whether no other machine can reach it.
func (a Address) IsLoopback() bool {
	if !a.IsTCP() {
		return a.network == "unix"
	}
	host, _, err := net.SplitHostPort(a.addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Addr is HOST:PORT, the path of a Unix socket, or the name of a systemd socket.
func (a Address) Addr() string { return a.addr }

// IsZero tells whether no address was given.
func (a Address) IsZero() bool { return a == Address{} }

// String writes the address as it stands in the file.
func (a Address) String() string {
	if a.network == "tcp" || a.network == "" {
		return a.addr
	}
	return a.network + ":" + a.addr
}

// resolve makes a Unix socket's path absolute and refuses one that the system would.
func (a *Address) resolve(dir string) error {
	if a.network != "unix" {
		return nil
	}
	if !filepath.IsAbs(a.addr) {
		a.addr = filepath.Join(dir, a.addr)
	}
	if len(a.addr) > maxSocketPath {
		return fmt.Errorf("%q is too long for a unix socket: %d bytes, at most %d fit", a.addr, len(a.addr), maxSocketPath)
	}
	return nil
}
