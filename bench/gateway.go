package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"warmcgi/internal/cgi"
)

// startGateway starts the gateway of this checkout, with the script in one mode. All else
// is as it is without a word in the configuration, but for the time after which it would
// go cold while the others have their turns.
func startGateway(name string, mode cgi.Mode) starter {
	return func(ctx context.Context, t task) (*server, error) {
		bin := filepath.Join(t.dir, "gateway")
		if _, err := os.Stat(bin); err != nil {
			if b, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "warmcgi/cmd/gateway").CombinedOutput(); err != nil {
				return nil, fmt.Errorf("go build: %w: %s", err, b)
			}
		}
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		s.gateway = &admin{mode: mode, script: t.w.path()}
		if s.gateway.addr, err = freeAddr(); err != nil {
			return nil, err
		}
		conf := filepath.Join(t.dir, name+".yaml")
		if err := writeFile(conf, `listen: [{http: "ADDR"}]
admin: "ADMIN"
log: {access: {format: "off"}}
defaults: {mode: MODE, workers: {idle: 24h}}
routes: [{path: /cgi-bin/, cgi: {dir: "DIR"}}]
`, "ADDR", s.addr, "ADMIN", s.gateway.addr, "MODE", string(mode), "DIR", t.w.dir); err != nil {
			return nil, err
		}
		s.version = versionOf(bin, "version")
		return s, s.start(bin, "serve", "--config", conf)
	}
}
