// Package serving is what the programs that run a [gateway.Server] have in common: the
// command line's errors, the process that must hand nothing on to its scripts, signals,
// and what scripts leave behind.
package serving

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

// NewLog is a program's own log, on standard error, and its level, which can be changed.
func NewLog(c config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.Level.Slog())
	o := &slog.HandlerOptions{Level: level}
	if c.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), level
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o)), level
}

// PrintDoors says where a server listens.
func PrintDoors(out io.Writer, s *gateway.Server) {
	for _, url := range s.Addrs() {
		fmt.Fprintln(out, "serving", url)
	}
}

// PrintAdmin says where the admin door is, if there is one.
func PrintAdmin(out io.Writer, s *gateway.Server) {
	if a := s.AdminURL(); a != "" {
		fmt.Fprintf(out, "admin   %s (dashboard, metrics, status, healthz, readyz)\n", a)
	}
}

// Friendly adds what to do about the errors that people meet first.
func Friendly(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w\nSomething else listens there; choose another address with --listen, or in the configuration file", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w\nPorts below 1024 need root, or the capability CAP_NET_BIND_SERVICE", err)
	}
	return err
}
