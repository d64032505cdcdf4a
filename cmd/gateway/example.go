package main

import (
	"embed"
	"html/template"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"warmcgi/internal/config"
)

// The example site: an index page, and a CGI program in each of a few languages.
//
//go:embed example
var exampleFiles embed.FS

// exampleProgram is a line of the index page.
type exampleProgram struct {
	File, Shows, Language string
	Installed             bool
}

// examplePrograms looks for the interpreters.
func examplePrograms() []exampleProgram {
	list := []struct {
		exampleProgram
		needs string
	}{
		{exampleProgram{File: "hello.sh", Shows: "the request as a program sees it", Language: "shell"}, "sh"},
		{exampleProgram{File: "form.pl", Shows: "a form, sent with POST", Language: "Perl"}, "perl"},
		{exampleProgram{File: "clock.py", Shows: "an answer that streams", Language: "Python"}, "python3"},
		{exampleProgram{File: "count.rb", Shows: "a cookie", Language: "Ruby"}, "ruby"},
		{exampleProgram{File: "info.php", Shows: "a PHP page, run by php-cgi", Language: "PHP"}, "php-cgi"},
	}
	var programs []exampleProgram
	for _, p := range list {
		_, err := exec.LookPath(p.needs)
		p.Installed = err == nil
		programs = append(programs, p.exampleProgram)
	}
	return programs
}

// exampleSite writes the site to a temporary folder, as programs have to be files,
// and returns the folder. The caller removes it.
func exampleSite() (string, error) {
	dir, err := os.MkdirTemp("", "warmcgi-example-")
	if err != nil {
		return "", err
	}
	if err := writeExample(dir); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

func writeExample(dir string) error {
	programs := examplePrograms()
	skip := map[string]bool{}
	for _, p := range programs {
		skip[p.File] = !p.Installed
	}
	return fs.WalkDir(exampleFiles, "example", func(name string, d fs.DirEntry, err error) error {
		if err != nil || skip[path.Base(name)] {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(name, "example"))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if page, ok := strings.CutSuffix(to, ".tmpl"); ok {
			return writeIndex(page, name, dir, programs)
		}
		b, err := exampleFiles.ReadFile(name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Base(path.Dir(name)) == "cgi-bin" && path.Ext(name) != ".php" {
			mode = 0o755
		}
		return os.WriteFile(to, b, mode)
	})
}

func writeIndex(to, name, dir string, programs []exampleProgram) error {
	t, err := template.ParseFS(exampleFiles, name)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Execute(f, map[string]any{"Dir": dir, "Programs": programs})
}

// exampleConfig adds what the example needs beside a folder: the gateway's own PATH,
// so that `#!/usr/bin/env` finds what the shell finds, and php-cgi for .php.
func exampleConfig(c *config.Config) {
	c.Env["PATH"] = os.Getenv("PATH")
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
