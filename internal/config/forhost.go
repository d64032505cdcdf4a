package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ForHost is the configuration of a script host without a file: FastCGI doors at which one script, or the programs of
// a folder, answer everything. It has no door yet, see [Config.Host].
func ForHost(program string) (*Config, *Route, error) {
	abs, err := filepath.Abs(program)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot tell where %s is: %w", program, err)
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("there is no script or folder %s: %w", program, fs.ErrNotExist)
	case err != nil:
		return nil, nil, fmt.Errorf("cannot serve %s: %w", program, err)
	case info.IsDir():
		if _, err := os.ReadDir(abs); err != nil {
			return nil, nil, fmt.Errorf("cannot serve the folder: %w", err)
		}
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("cannot serve %s: it is neither a script nor a folder", program)
	}
	c := &Config{}
	c.setDefaults(nil)
	c.Log.Access.Format = AccessOff // the front server has one
	r := &Route{}
	r.setDefaults(c)
	if info.IsDir() {
		r.CGI = &CGI{Dir: abs}
	} else {
		r.CGI = &CGI{Program: abs}
	}
	return c, r, nil
}

// CheckProgram tells whether the host's one script can be run.
func (r *Route) CheckProgram() error {
	if r.CGI.Program == "" {
		return nil
	}
	info, err := os.Stat(r.CGI.Program)
	if err != nil {
		return err
	}
	switch ext := filepath.Ext(r.CGI.Program); {
	case info.Mode().Perm()&0o111 != 0 || r.Interpreters[ext] != "":
		return nil
	case ext == "":
		return fmt.Errorf("%s is not executable: chmod +x it", r.CGI.Program)
	default:
		return fmt.Errorf("%s is not executable: chmod +x it, or give --interpreter %s=PROGRAM", r.CGI.Program, ext)
	}
}

// Host puts doors before the route of [ForHost]. The path of the URL that belongs to the route is prefix, or what the
// front server's variables say if there is none.
func (c *Config) Host(r *Route, prefix string, doors ...Listener) error {
	if prefix != "" {
		if !strings.HasPrefix(prefix, "/") || strings.ContainsAny(prefix, "?#") {
			return fmt.Errorf("the prefix %q is not the path of a URL: write it like /cgi-bin/", prefix)
		}
		r.Path = path.Clean(prefix)
		if r.CGI.Dir != "" && r.Path != "/" {
			r.Path += "/"
		}
	}
	for i := range doors {
		l := &doors[i]
		if l.SocketMode == 0 {
			l.setDefaults(c)
		}
		if err := l.FastCGI.resolve(""); err != nil {
			return err
		}
		l.Front = r
	}
	c.Listen = append(c.Listen, doors...)
	return nil
}
