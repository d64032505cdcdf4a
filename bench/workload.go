package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// workload is a CGI program, what it is asked, and the answer that it must give.
type workload struct {
	name  string
	file  string // in testdata, and in cgi-bin
	query string
	body  string
	// warm: the gateway can keep it warm. resident is the server that runs the script's
	// own logic in a process that stays.
	warm     bool
	resident string
	// check is a command that fails where the script can't run, and pkg the Debian
	// package that it needs then.
	check []string
	pkg   string

	dir string // cgi-bin
}

//go:embed testdata
var testdata embed.FS

const (
	hello     = "Hello, world\n"
	formQuery = "name=Ada+Lovelace&email=ada%40example.org&topic=Tables+%26+engines&topic=Notes&lang=fran%C3%A7ais&message=Is+1+%3C+2%3F+%22Yes%22"
)

// workloads are in the order in which they are run. The three forms do the same.
var workloads = []workload{
	{name: "c", file: "hello.c", body: hello, check: []string{"cc", "--version"}, pkg: "gcc"},
	{name: "sh", file: "hello.sh", body: hello},
	{name: "perl", file: "hello.pl", body: hello, warm: true, resident: "mod_perl"},
	{name: "python", file: "hello.py", body: hello, warm: true},
	{
		name: "perl-form", file: "form.pl", query: formQuery, body: text("form.html"), warm: true, resident: "mod_perl",
		check: []string{"perl", "-MCGI", "-e1"}, pkg: "libcgi-pm-perl",
	},
	{
		name: "python-heavy", file: "heavy.py", query: "order=4711&name=Ada+Lovelace&email=ada%40example.org&least=2",
		body: text("heavy.html"), warm: true, resident: "gunicorn",
		check: []string{"python3", "-c", "import jinja2, sqlite3"}, pkg: "python3-jinja2",
	},
	{name: "python-form", file: "form.py", query: formQuery, body: text("form.html"), warm: true, resident: "gunicorn"},
	{
		name: "ruby-form", file: "form.rb", query: formQuery, body: text("form.html"), warm: true, resident: "puma",
		check: []string{"ruby", "-rcgi", "-e1"}, pkg: "ruby",
	},
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// text is a file of testdata.
func text(name string) string {
	b, err := testdata.ReadFile("testdata/" + name)
	if err != nil {
		panic(err) // it is in the binary, or the tests fail
	}
	return string(b)
}

// path is the program's URL path at every server.
func (w *workload) path() string { return "/cgi-bin/" + w.file }

// target is what the request line asks for.
func (w *workload) target() string {
	if w.query == "" {
		return w.path()
	}
	return w.path() + "?" + w.query
}

// script is the program's file.
func (w *workload) script() string { return filepath.Join(w.dir, w.file) }

// prepare writes the program. The C one is compiled as anybody would: dynamically linked.
func prepare(name, dir string) (*workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is none; there are %s", strings.Join(workloadNames(), ", "))
	}
	w := workloads[i]
	if len(w.check) > 0 {
		if b, err := exec.Command(w.check[0], w.check[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s (apt-get install %s)", w.check[0], err, b, w.pkg)
		}
	}
	w.dir = filepath.Join(dir, "cgi-bin")
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.script(), []byte(text(w.file)), 0o755); err != nil {
		return nil, err
	}
	source, ok := strings.CutSuffix(w.file, ".c")
	if !ok {
		return &w, nil
	}
	from := w.script()
	w.file = source
	if b, err := exec.Command("cc", "-O2", "-o", w.script(), from).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, b)
	}
	return &w, nil
}
