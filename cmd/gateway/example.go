package main

import (
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"warmcgi/internal/config"
)

// The example site: an index page and a CGI program in each of a few languages.
//
//go:embed example
var example embed.FS

// exampleSite writes the site to a temporary folder, as programs have to be files.
// It is left to the system's own clean-up: scripts may run to the last moment.
func exampleSite() (string, error) {
	dir := filepath.Join(os.TempDir(), "warmcgi-example")
	private, err := os.MkdirTemp("", "warmcgi-example-")
	if err != nil {
		return "", err
	}
	dir = private
	return dir, fs.WalkDir(example, "example", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("example", path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := example.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if filepath.Base(filepath.Dir(path)) == "cgi-bin" && filepath.Ext(path) != ".php" {
			mode = 0o755
		}
		return os.WriteFile(to, b, mode)
	})
}

// exampleConfig adds what the example needs: PHP where it is installed.
func exampleConfig(c *config.Config) {
	php, err := exec.LookPath("php-cgi")
	if err != nil {
		return
	}
	for i := range c.Routes {
		if c.Routes[i].CGI != nil {
			c.Routes[i].Interpreters = map[string]string{".php": php}
		}
	}
}
