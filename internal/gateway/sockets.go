package gateway

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"warmcgi/internal/config"
)

// Sockets are listening sockets, by their address as the configuration has it: unix:/path, systemd:NAME, or
// tcp:HOST:PORT, be it with TLS or without.
type Sockets map[string][]net.Listener

func socketKey(a config.Address) string {
	if a.IsTCP() {
		return "tcp:" + a.Addr()
	}
	return a.Network() + ":" + a.Addr()
}

// take takes the first one at an address; nil is that there is none.
func (s Sockets) take(a config.Address) net.Listener {
	key := socketKey(a)
	ls := s[key]
	if len(ls) == 0 {
		return nil
	}
	s[key] = ls[1:]
	return ls[0]
}

// has reports whether there is one at an address.
func (s Sockets) has(a config.Address) bool { return len(s[socketKey(a)]) > 0 }

// put keeps one for later.
func (s Sockets) put(a config.Address, l net.Listener) {
	s[socketKey(a)] = append(s[socketKey(a)], l)
}

func (s Sockets) add(more Sockets) {
	for key, ls := range more {
		s[key] = append(s[key], ls...)
	}
}

func (s Sockets) close() {
	for key, ls := range s {
		for _, l := range ls {
			l.Close()
		}
		delete(s, key)
	}
}

// inheritedSockets are those that systemd has passed (sd_listen_fds(3)), by name.
// The variables are taken away, so that no child believes they are meant for it.
func inheritedSockets() (Sockets, error) {
	defer func() {
		for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(v)
		}
	}()
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if n <= 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return Sockets{}, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	sockets := Sockets{}
	for i := range n {
		f := os.NewFile(uintptr(3+i), "LISTEN_FD")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("socket %d of systemd: %w", i, err)
		}
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		name = "systemd:" + name
		sockets[name] = append(sockets[name], l)
	}
	return sockets, nil
}

// closeOthers closes those that systemd has not passed. The file of a Unix socket goes with it.
func (s Sockets) closeOthers() {
	for key, ls := range s {
		if strings.HasPrefix(key, "systemd:") {
			continue
		}
		for _, l := range ls {
			if u, ok := l.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(true)
			}
			l.Close()
		}
		delete(s, key)
	}
}

// ListenerOf makes a listener of a descriptor, which is its own then.
func ListenerOf(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileListener(f)
}
