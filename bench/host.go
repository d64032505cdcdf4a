package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"warmcgi/internal/cgi"
)

const shimPackage = "warmcgi/cmd/shim"

// startHost is the gateway before a script host (`shim serve`), by TCP: what it costs to split them, when both are on one machine.
// "The gateway's of it" is that of the gateway alone, without the host's part.
func startHost(name string, mode cgi.Mode) starter {
	return func(ctx context.Context, t task) (*server, error) {
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		bin := filepath.Join(t.dir, "shim")
		if _, err := os.Stat(bin); err != nil {
			if b, err := exec.CommandContext(ctx, "go", "build", "-o", bin, shimPackage).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("go build: %w: %s", err, b)
			}
		}
		host := &admin{mode: mode, script: "/" + t.w.file}
		inner, err := s.freeAddr()
		if err != nil {
			return nil, err
		}
		if host.addr, err = s.freeAddr(); err != nil {
			return nil, err
		}
		if err := s.start(bin, "serve", t.w.dir, "--listen", "tcp:"+inner, "--admin", host.addr, "--mode", string(mode)); err != nil {
			return s, err
		}
		if err := s.startGateway(ctx, t, cgi.ModeFastCGI, httpDoor, `{path: /cgi-bin, fastcgi: {servers: ["@INNER@"]}}`, "INNER", inner); err != nil {
			return s, err
		}
		s.gateway.behind, s.gateway.script = host, "/cgi-bin" // what the gateway knows of it
		return s, nil
	}
}
