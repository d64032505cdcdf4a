//go:build linux

package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// program is something that the tests run and the Debian package that brings it.
type program struct {
	pkg   string
	names []string // any of them
	check []string // a command that succeeds where it is there
}

var programs = map[string]program{
	"adminer":          {pkg: "adminer", check: []string{"/usr/bin/test", "-f", "/usr/share/adminer/adminer.php"}},
	"apache2":          {pkg: "apache2-bin", names: []string{"/usr/sbin/apache2"}},
	"awstats":          {pkg: "awstats", names: []string{"/usr/lib/cgi-bin/awstats.pl"}},
	"blosxom":          {pkg: "blosxom", names: []string{"/usr/lib/cgi-bin/blosxom"}},
	"bottle":           {pkg: "python3-bottle", check: python3Has("bottle")},
	"CGI.pm":           {pkg: "libcgi-pm-perl", check: []string{"/usr/bin/perl", "-MCGI", "-e1"}},
	"CGI::Application": {pkg: "libcgi-application-perl", check: []string{"/usr/bin/perl", "-MCGI::Application", "-e1"}},
	"CGI::Fast":        {pkg: "libcgi-fast-perl", check: []string{"/usr/bin/perl", "-MCGI::Fast", "-e1"}},
	"CGI::Session":     {pkg: "libcgi-session-perl", check: []string{"/usr/bin/perl", "-MCGI::Session", "-e1"}},
	"chromium":         {pkg: "chromium", names: []string{"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"}},
	"cvsweb":           {pkg: "cvsweb", names: []string{"/usr/lib/cgi-bin/cvsweb"}},
	"DBD::SQLite":      {pkg: "libdbd-sqlite3-perl", check: []string{"/usr/bin/perl", "-MDBD::SQLite", "-e1"}},
	"django":           {pkg: "python3-django", check: python3Has("django")},
	"curl":             {pkg: "curl", names: []string{"/usr/bin/curl"}},
	"dnsmasq":          {pkg: "dnsmasq-base", names: []string{"/usr/sbin/dnsmasq"}},
	"dokuwiki":         {pkg: "dokuwiki", check: []string{"/usr/bin/test", "-f", "/usr/share/dokuwiki/doku.php"}},
	"fcgiwrap":         {pkg: "fcgiwrap", names: []string{"/usr/sbin/fcgiwrap"}},
	"flask":            {pkg: "python3-flask", check: python3Has("flask")},
	"gcc":              {pkg: "gcc libc6-dev", names: []string{"gcc"}},
	"git":              {pkg: "git", names: []string{"/usr/lib/git-core/git-http-backend"}},
	"gitweb":           {pkg: "gitweb", names: []string{gitwebCGI}},
	"haproxy":          {pkg: "haproxy", names: []string{"/usr/sbin/haproxy"}},
	"hgweb":            {pkg: "mercurial", names: []string{"hg"}},
	"HTML::Template":   {pkg: "libhtml-template-perl", check: []string{"/usr/bin/perl", "-MHTML::Template", "-e1"}},
	"libfcgi":          {pkg: "libfcgi-dev", check: []string{"gcc", "-E", "-include", "fcgi_stdio.h", "-x", "c", "/dev/null", "-o", "/dev/null"}},
	"ip":               {pkg: "iproute2", names: []string{"ip"}},
	"lighttpd":         {pkg: "lighttpd", names: []string{"/usr/sbin/lighttpd"}},
	"linux.uml":        {pkg: "user-mode-linux", names: []string{"/usr/bin/linux.uml"}},
	"lxml":             {pkg: "python3-lxml", check: python3Has("lxml")},
	"mapserv":          {pkg: "cgi-mapserver", names: []string{"/usr/lib/cgi-bin/mapserv"}},
	"nginx":            {pkg: "nginx-light", names: []string{"/usr/sbin/nginx"}},
	"numpy":            {pkg: "python3-numpy", check: python3Has("numpy")},
	"openssl":          {pkg: "openssl", names: []string{"/usr/bin/openssl"}},
	"perl":             {pkg: "perl", names: []string{"/usr/bin/perl"}},
	"php-cgi":          {pkg: "php-cgi", names: []string{"/usr/bin/php-cgi"}},
	"php-fpm":          {pkg: "php-fpm", names: []string{"/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm8.4", "/usr/sbin/php-fpm"}},
	"pil":              {pkg: "python3-pil", check: python3Has("PIL")},
	"php-sqlite3":      {pkg: "php-sqlite3", check: []string{"/usr/bin/php-cgi", "-n", "-d", "extension=sqlite3", "-m"}},
	"Plack":            {pkg: "libplack-perl", check: []string{"/usr/bin/perl", "-MPlack", "-e1"}},
	"prometheus":       {pkg: "prometheus", names: []string{"/usr/bin/prometheus"}},
	"python3":          {pkg: "python3", names: []string{"/usr/bin/python3"}},
	"ruby":             {pkg: "ruby", check: []string{"/usr/bin/ruby", "-rcgi", "-e1"}},
	"ruby-fcgi":        {pkg: "ruby-fcgi", check: []string{"/usr/bin/ruby", "-e", "gem \"fcgi\""}},
	"tdiary":           {pkg: "tdiary-core", names: []string{"/usr/share/tdiary/index.rb"}},
	"sinatra":          {pkg: "ruby-sinatra", check: []string{"/usr/bin/ruby", "-e", "gem \"sinatra\"; gem \"rack\""}},
	"Template":         {pkg: "libtemplate-perl", check: []string{"/usr/bin/perl", "-MTemplate", "-e1"}},
	"uwsgi":            {pkg: "uwsgi-core uwsgi-plugin-python3", names: []string{"/usr/bin/uwsgi"}},
}

func python3Has(module string) []string {
	return []string{"/usr/bin/python3", "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('" + module + "'))"}
}

func (p program) missing() bool {
	if p.check != nil {
		return exec.Command(p.check[0], p.check[1:]...).Run() != nil
	}
	for _, n := range p.names {
		if _, err := exec.LookPath(n); err == nil {
			return false
		}
	}
	return true
}

// path is the first of its names that is there.
func (p program) path() string {
	for _, n := range p.names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	return ""
}

// needs skips the test where a program is missing, and says how to get it. In CI a
// test that does not run is a failure.
func needs(t *testing.T, names ...string) {
	t.Helper()
	var what, pkgs []string
	for _, n := range names {
		p, known := programs[n]
		if !known {
			t.Fatalf("needs %q: not in the table of programs", n)
		}
		if p.missing() {
			what, pkgs = append(what, n), append(pkgs, p.pkg)
		}
	}
	if len(what) == 0 {
		return
	}
	text := strings.Join(what, ", ") + " missing: apt-get install --no-install-recommends " + strings.Join(pkgs, " ")
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}
