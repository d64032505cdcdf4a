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
	"apache2":  {pkg: "apache2-bin", names: []string{"/usr/sbin/apache2"}},
	"awstats":  {pkg: "awstats", names: []string{"/usr/lib/cgi-bin/awstats.pl"}},
	"CGI.pm":   {pkg: "libcgi-pm-perl", check: []string{"/usr/bin/perl", "-MCGI", "-e1"}},
	"fcgiwrap": {pkg: "fcgiwrap", names: []string{"/usr/sbin/fcgiwrap"}},
	"gcc":      {pkg: "gcc libc6-dev", names: []string{"gcc"}},
	"git":      {pkg: "git", names: []string{"/usr/lib/git-core/git-http-backend"}},
	"gitweb":   {pkg: "gitweb", names: []string{gitwebCGI}},
	"hgweb":    {pkg: "mercurial", names: []string{"hg"}},
	"lighttpd": {pkg: "lighttpd", names: []string{"/usr/sbin/lighttpd"}},
	"openssl":  {pkg: "openssl", names: []string{"/usr/bin/openssl"}},
	"nginx":    {pkg: "nginx-light", names: []string{"/usr/sbin/nginx"}},
	"perl":     {pkg: "perl", names: []string{"/usr/bin/perl"}},
	"php-cgi":  {pkg: "php-cgi", names: []string{"/usr/bin/php-cgi"}},
	"python3":  {pkg: "python3", names: []string{"/usr/bin/python3"}},
	"ruby":     {pkg: "ruby", check: []string{"/usr/bin/ruby", "-rcgi", "-e1"}},
	"sinatra":  {pkg: "ruby-sinatra", check: []string{"/usr/bin/ruby", "-e", "gem \"sinatra\"; gem \"rack\""}},
	"Template": {pkg: "libtemplate-perl", check: []string{"/usr/bin/perl", "-MTemplate", "-e1"}},
	"tdiary":   {pkg: "tdiary-core", names: []string{"/usr/share/tdiary/index.rb"}},
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
