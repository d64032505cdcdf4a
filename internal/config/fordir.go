package config

import (
	"fmt"
	"os"
	"path/filepath"
)

// ForDir is the configuration that serves a folder without a file: its files, the scripts among them, and its
// cgi-bin as a folder of programs.
func ForDir(dir string) (*Config, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot tell where %s is: %w", dir, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("cannot serve %s: it is not a folder", dir)
	}
	c := &Config{}
	c.setDefaults(nil)
	c.DocumentRoot = abs
	door := Listener{HTTP: Address{"tcp", "127.0.0.1:8080"}}
	door.setDefaults(c)
	c.Listen = []Listener{door}
	c.addRoute("/").Files = &Files{
		Root:    abs,
		Index:   []string{"index.html", "index.cgi", "index.pl", "index.py"},
		Scripts: []string{".cgi", ".pl", ".py", ".rb", ".sh"},
	}
	bin := filepath.Join(abs, "cgi-bin")
	if info, err := os.Stat(bin); err == nil && info.IsDir() {
		c.addRoute("/cgi-bin/").CGI = &CGI{Dir: bin}
	}
	c.resolve()
	return c, nil
}

func (c *Config) addRoute(path string) *Route {
	r := Route{Path: path}
	r.setDefaults(c)
	c.Routes = append(c.Routes, r)
	return &c.Routes[len(c.Routes)-1]
}
