package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"warmcgi/internal/cgi"
)

const gatewayPackage = "warmcgi/cmd/gateway"

// startGateway starts the gateway of this checkout, with the script in one mode.
func startGateway(name string, mode cgi.Mode) starter {
	return func(ctx context.Context, t task) (*server, error) {
		s, err := newServer(name)
		if err != nil {
			return nil, err
		}
		return s, s.startGateway(ctx, t, mode, httpDoor, `{path: /cgi-bin/, cgi: {dir: "@SCRIPTS@"}}`)
	}
}

// startGatewayPHP starts it in front of php-fpm; maxConns tells it how many children that
// has.
func startGatewayPHP(name string, maxConns bool) starter {
	return startPHP(name, func(ctx context.Context, s *server, t task, sock string) error {
		more := ""
		if maxConns {
			more = ", max_conns: " + strconv.Itoa(t.w.children)
		}
		return s.startGateway(ctx, t, cgi.ModeFastCGI, httpDoor, `{path: /cgi-bin/, php: {root: "@SCRIPTS@", fastcgi: {servers: ["unix:@SOCK@"]@MORE@}}}`, "SOCK", sock, "MORE", more)
	})
}

const httpDoor = `{http: "@ADDR@"}`

// startGateway starts it with one door and one route. All else is as it is without a word in the
// configuration, but for the access log, and the time after which a script would go cold
// while the others have their turns.
func (s *server) startGateway(ctx context.Context, t task, mode cgi.Mode, door, route string, pairs ...string) error {
	bin := filepath.Join(t.dir, "gateway")
	if _, err := os.Stat(bin); err != nil {
		if b, err := exec.CommandContext(ctx, "go", "build", "-o", bin, gatewayPackage).CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, b)
		}
	}
	run, err := s.folder(t)
	if err != nil {
		return err
	}
	s.gateway = &admin{mode: mode, script: t.w.path()}
	if s.gateway.addr, err = s.freeAddr(); err != nil {
		return err
	}
	conf, setting := filepath.Join(run, "gateway.yaml"), mode
	if mode == cgi.ModeFastCGI {
		setting = cgi.ModeSpawn // of scripts, of which there are none
	}
	if err := writeFile(conf, `listen: [`+door+`]
admin: "@ADMIN@"
log: {access: {format: "off"}}
defaults: {mode: @MODE@, workers: {idle: 24h}}
routes: [`+route+`]
`, append(pairs, "ADDR", s.addr, "ADMIN", s.gateway.addr, "MODE", string(setting), "SCRIPTS", t.w.dir)...); err != nil {
		return err
	}
	s.version = versionOf(bin, "version")
	return s.start(bin, "serve", "--config", conf)
}
