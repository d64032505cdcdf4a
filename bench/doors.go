package main

import (
	"context"
	"strconv"

	"warmcgi/internal/cgi"
)

// The servers of this file are the gateway, with the same route behind its HTTP door and
// behind its FastCGI door. What asks a door is the load generator itself, over kept
// connections and with one write for a request; or nginx, over kept connections, too.

// doorProcesses are those of the FastCGI application behind the doors.
const doorProcesses = 4

// startDoor has the load generator ask the gateway itself.
func startDoor(name string, fastcgi bool) starter {
	return func(ctx context.Context, t task) (*server, error) {
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		door := httpDoor
		if fastcgi {
			door, s.speaks = `{fastcgi: "@ADDR@"}`, language{fastcgiRequest, readFastCGI}
		}
		return s, s.startGatewayDoor(ctx, t, door)
	}
}

// startDoorBehindNginx has nginx ask it.
func startDoorBehindNginx(name string, fastcgi bool) starter {
	return func(ctx context.Context, t task) (*server, error) {
		bin, err := find("nginx", "nginx-light")
		if err != nil {
			return nil, err
		}
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		inner, err := s.freeAddr()
		if err != nil {
			return nil, err
		}
		door, pass := `{http: "@INNER@"}`, "      proxy_pass http://gateway;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n"
		if fastcgi {
			door, pass = `{fastcgi: "@INNER@"}`, "      fastcgi_pass gateway;\n      fastcgi_keep_conn on;\n"+fastcgiParams
		}
		if err := s.startNginx(t, bin, "  upstream gateway { server @INNER@; keepalive 16; }\n", "    location / {\n"+pass+"    }\n", "INNER", inner); err != nil {
			return s, err
		}
		return s, s.startGatewayDoor(ctx, t, door, "INNER", inner)
	}
}

// startGatewayDoor starts the gateway with one door, and the workload's program behind it.
func (s *server) startGatewayDoor(ctx context.Context, t task, door string, pairs ...string) error {
	mode, route := cgi.ModeSpawn, `{path: /cgi-bin/, cgi: {dir: "@SCRIPTS@"}}`
	if t.w.fastcgi {
		mode, route = cgi.ModeFastCGI, `{path: @PATH@, fastcgi: {program: "@PROGRAM@", processes: @PROCESSES@}}`
	}
	return s.startGateway(ctx, t, mode, door, route, append(pairs, "PATH", t.w.path(), "PROGRAM", t.w.script(), "PROCESSES", strconv.Itoa(doorProcesses))...)
}
