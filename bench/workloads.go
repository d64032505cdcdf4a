package main

import (
	"embed"
	"fmt"
	"strings"
	"time"

	"warmcgi/internal/cgi"
)

//go:embed testdata
var testdata embed.FS

const (
	hello      = "Hello, world\n"
	formQuery  = "name=Ada+Lovelace&email=ada%40example.org&topic=Tables+%26+engines&topic=Notes&lang=fran%C3%A7ais&message=Is+1+%3C+2%3F+%22Yes%22"
	orderQuery = "order=4711&name=Ada+Lovelace&email=ada%40example.org&least=2"
)

// phpQuery is formQuery with a list as PHP wants it.
var phpQuery = strings.ReplaceAll(formQuery, "topic=", "topic%5B%5D=")

// The resident peers of a language.
var (
	forPerl   = []string{"mod_perl", "fcgi-loop", "mod_fcgid", "starman"}
	forPython = []string{"gunicorn", "uwsgi"}
	forRuby   = []string{"puma"}
)

var ourModes = []cgi.Mode{cgi.ModeSpawn, cgi.ModeWarm, cgi.ModeReuse}

// What a program of a language needs.
var (
	needsCC    = need{"gcc", []string{"cc", "--version"}}
	needsCGIpm = need{"libcgi-pm-perl", []string{"perl", "-MCGI", "-e1"}}
	needsDBI   = need{"libcgi-pm-perl libdbd-sqlite3-perl libhtml-template-perl", []string{"perl", "-MCGI", "-MDBD::SQLite", "-MHTML::Template", "-e1"}}
	needsJinja = need{"python3-jinja2", []string{"python3", "-c", "import jinja2, sqlite3"}}
	needsRuby  = need{"ruby", []string{"ruby", "-rcgi", "-e1"}}
	needsSQL   = need{"ruby ruby-sqlite3", []string{"ruby", "-rcgi", "-rsqlite3", "-e1"}}
)

const (
	mebi = 1 << 20
	// bulk is the size of a large upload and of a large answer.
	bulk = 100 * mebi
)

// sent is what is uploaded.
var sent = noise(64 << 10)

// received is what the programs say that have read so much of it.
func received(size int64) string {
	return fmt.Sprintf("%d octets, sum %s\n", size, checksumOf(sent, size))
}

var (
	perlForm    = workload{name: "perl-form", title: "form, Perl with CGI.pm", file: "form.pl", query: formQuery, body: text("form.html"), warm: true, residents: forPerl, need: needsCGIpm}
	perlHeavy   = workload{name: "perl-heavy", title: "order, Perl: SQLite, JSON, HTML::Template", file: "heavy.pl", query: orderQuery, body: text("order.html"), warm: true, residents: forPerl, need: needsDBI}
	pythonForm  = workload{name: "python-form", title: "form, Python", file: "form.py", query: formQuery, body: text("form.html"), warm: true, residents: forPython}
	pythonHeavy = workload{name: "python-heavy", title: "invoice, Python: SQLite, JSON, Jinja2, e-mail", file: "heavy.py", query: orderQuery, body: text("heavy.html"), warm: true, residents: forPython, need: needsJinja}
	rubyForm    = workload{name: "ruby-form", title: "form, Ruby", file: "form.rb", query: formQuery, body: text("form.html"), warm: true, residents: forRuby, need: needsRuby}
	rubyHeavy   = workload{name: "ruby-heavy", title: "order, Ruby: SQLite, JSON, ERB", file: "heavy.rb", query: orderQuery, body: text("order.html"), warm: true, residents: forRuby, need: needsSQL}
)

// workloads are in the order in which they are run. The forms do the same in each language,
// and so do the heavy ones, but for Python's, which also writes an e-mail.
var workloads = []workload{
	{name: "c", title: "hello, C", file: "hello.c", body: hello, need: needsCC},
	{name: "sh", title: "hello, shell", file: "hello.sh", body: hello},
	{name: "perl", title: "hello, Perl", file: "hello.pl", body: hello, warm: true, residents: forPerl},
	{name: "python", title: "hello, Python", file: "hello.py", body: hello, warm: true},
	perlForm, pythonForm, rubyForm,
	perlHeavy, pythonHeavy, rubyHeavy,
	{
		name: "post-64k", title: "64 KB POST, Perl", file: "post.pl", upload: sent, body: received(64 << 10),
		warm: true, residents: forPerl,
	},
	{
		name: "down-100mib", title: "100 MiB answer, C", file: "download.c", body: noise(64<<10 + 1), size: bulk, query: "large", first: "small",
		connections: 1, need: needsCC,
	},
	{
		name: "up-100mib", title: "100 MiB upload, C", file: "upload.c", upload: sent, uploadSize: bulk, connections: 1,
		body: received(bulk), need: needsCC,
	},
	atOneConnection(perlForm), atOneConnection(perlHeavy), atOneConnection(pythonForm), atOneConnection(pythonHeavy), atOneConnection(rubyForm), atOneConnection(rubyHeavy),
	phpForm(4),
	phpForm(32),
	{
		name: "php-100mib", title: "100 MiB answer, PHP-FPM", file: "download.php", class: classPHP, children: 4, connections: 1,
		body: noise(64<<10 + 1), size: bulk, query: "file=large", first: "file=small",
	},
	{name: "doors", title: "FastCGI hello behind each door", file: "hello-fcgi.c", body: hello, class: classDoor, fastcgi: true, libs: []string{"-lfcgi"}, need: need{"gcc libfcgi-dev", []string{"cc", "--version"}}},
	{name: "doors-c", title: "C hello behind each door", file: "hello.c", body: hello, class: classDoor, need: needsCC},
	{name: "overload", title: "ten times of what can be done, Python invoice", file: "heavy.py", query: orderQuery, body: text("heavy.html"), warm: true, need: needsJinja, modes: ourModes, trial: overload},
	{name: "idle-10000", title: "10,000 idle keep-alive clients and 16 busy ones, Perl hello", file: "hello.pl", body: hello, warm: true, modes: []cgi.Mode{cgi.ModeReuse}, trial: idleClients},
}

// atOneConnection shows what a fresh process costs in latency: only our own modes take part.
func atOneConnection(w workload) workload {
	w.name, w.connections, w.modes = w.name+"-1", 1, ourModes
	return w
}

// phpForm is answered by so many children of php-fpm.
func phpForm(children int) workload {
	return workload{
		name: fmt.Sprint("php-form-", children), title: fmt.Sprintf("form, PHP-FPM with %d children", children), file: "form.php", query: phpQuery, body: text("form.html"),
		class: classPHP, children: children, wait: 2 * time.Second,
	}
}
