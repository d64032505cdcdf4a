//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var form = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}

func TestCvswebAnswersAlikeWarm(t *testing.T) {
	needs(t, "cvsweb")
	dir := tempDir(t)
	root, work := filepath.Join(dir, "cvs"), filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	cvs := func(args ...string) {
		cmd := exec.Command("cvs", append([]string{"-Q", "-d", root}, args...)...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "CVS_LOCAL_BRANCH_NUM=1", "LOGNAME=zoe", "USER=zoe")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	cvs("init")
	require.NoError(t, os.Mkdir(filepath.Join(root, "project"), 0o755))
	cvs("checkout", "-d", ".", "project")
	for i := range 4 {
		writeFile(t, filepath.Join(work, "a.txt"), strings.Repeat(fmt.Sprintf("line of %d\n", i), 3+i), 0o644)
		if i == 0 {
			cvs("add", "a.txt")
		}
		cvs("commit", "-f", "-m", fmt.Sprintf("Change %d", i), "a.txt")
	}
	cvs("tag", "v1", "a.txt")
	// It says how old things are, by the second.
	file := filepath.Join(root, "project", "a.txt,v")
	rcs, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(file, 0o644))
	writeFile(t, file, regexp.MustCompile(`\b20\d\d\.\d\d\.\d\d\.\d\d\.\d\d\.\d\d\b`).ReplaceAllString(string(rcs), "2020.01.02.03.04.05"), 0o444)
	program, err := os.ReadFile("/usr/lib/cgi-bin/cvsweb")
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "cvsweb.cgi"), string(program), 0o755)
	conf, err := os.ReadFile("/etc/cvsweb/cvsweb.conf")
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "cvsweb.conf"), strings.Replace(string(conf), "@CVSrepositories = (", "@CVSrepositories = (\n'here' => ['Here', '"+root+"'],", 1), 0o644)
	s := newSides(t, dir, "warm", "  - {path: /cvsweb, cgi: {program: @DIR@/cvsweb.cgi}, env: {PERL_HASH_SEED: \"0\", PERL_PERTURB_KEYS: \"0\"}, mode: @MODE@}\n")
	s.warmUp(t, "/cvsweb/")
	s.assertSame(t, gets("/cvsweb/", "/cvsweb", "/cvsweb/project/", "/cvsweb/project/?sortby=date", "/cvsweb/project/a.txt", "/cvsweb/project/a.txt?rev=1.2",
		"/cvsweb/project/a.txt?rev=1.2&content-type=text/x-cvsweb-markup", "/cvsweb/project/a.txt?annotate=1.3", "/cvsweb/project/a.txt.diff?r1=1.1&r2=1.3",
		"/cvsweb/project/a.txt.diff?r1=1.1&r2=1.3&f=h", "/cvsweb/project/a.txt?only_with_tag=v1", "/cvsweb/nothing", "/cvsweb/project/?tarball=1")...)
}

func TestBlosxomAnswersAlikeWarm(t *testing.T) {
	needs(t, "blosxom")
	dir := tempDir(t)
	for i := range 3 {
		file := filepath.Join(dir, "entries", "topic", fmt.Sprintf("post%d.txt", i))
		writeFile(t, file, fmt.Sprintf("Title %d\n<p>Text of %d, café.</p>\n", i, i), 0o644)
		day := time.Date(2020, 1, 2+i, 12, 0, 0, 0, time.UTC)
		require.NoError(t, os.Chtimes(file, day, day))
	}
	writeFile(t, filepath.Join(dir, "blosxom.conf"), "$blog_title = 'A Log';\n$datadir = '"+dir+"/entries';\n$plugin_dir = '"+dir+"/plugins';\n$depth = 0;\n1;\n", 0o644)
	s := newSides(t, dir, "warm", "  - {path: /log, cgi: {program: /usr/lib/cgi-bin/blosxom}, env: {BLOSXOM_CONFIG_FILE: @DIR@/blosxom.conf, PERL_HASH_SEED: \"0\", PERL_PERTURB_KEYS: \"0\"}, mode: @MODE@}\n")
	s.warmUp(t, "/log")
	s.assertSame(t, gets("/log", "/log/index.rss", "/log/topic", "/log/topic/post1.html", "/log/topic/post1.rss", "/log/2020", "/log/2020/01/02", "/log?flav=rss", "/log/none.html", "/log/index.none")...)
}

// perlModules are scripts that use what Debian packages for CGI in Perl.
var perlModules = []struct {
	name, text string
	requests   []request
}{
	{"template", `use strict; use CGI qw(:standard); use HTML::Template;
my $t = HTML::Template->new(scalarref => \join('', <DATA>), die_on_bad_params => 0, associate => CGI->new);
$t->param(rows => [map { {n => $_, square => $_ * $_} } 1 .. 5]);
print header(-charset => 'utf-8', -cookie => cookie(-name => 'c', -value => 'v')), $t->output;
__DATA__
<TMPL_LOOP rows><TMPL_VAR n>:<TMPL_VAR square> </TMPL_LOOP> <TMPL_VAR q ESCAPE=HTML>
`, gets("", "?q=%3Cb%3E")},
	{"session", `use CGI; use CGI::Session; my $q = CGI->new; my $dir = $ENV{SESSIONS};
my $s = CGI::Session->new('driver:File', $q->param('id') ? scalar $q->param('id') : undef, {Directory => $dir}) or die CGI::Session->errstr;
my $before = () = glob "$dir/*"; $s->param(name => scalar $q->param('name')); $s->flush; my $id = $s->id; undef $s;
my $again = CGI::Session->load('driver:File', $id, {Directory => $dir}); our $kept = $again;
print $q->header('text/plain'), $again->param('name'), length $id, "\n"; $again->delete; $again->flush`, gets("?name=a", "?name=b&id=0")},
	{"fast", `use CGI::Fast qw(:standard); my $n = 0;
while (my $q = CGI::Fast->new) { $n++; print header('text/plain'), "n=$n ", join(',', map "$_=" . param($_), sort $q->param), "\n" } print STDERR "left\n";`,
		append(gets("", "?a=1&b=2"), request{method: "POST", body: "c=3", header: form})},
	{"fcgi", `use FCGI; my $r = FCGI::Request(); while ($r->Accept >= 0) { print "Content-Type: text/plain\n\n", $r->IsFastCGI ? 'fast' : 'plain', " $ENV{QUERY_STRING} "; print while <STDIN>; $r->Finish }`,
		append(gets("?q"), request{method: "POST", body: "the body\n", header: form})},
	{"database", `use strict; use CGI; use DBI; my $q = CGI->new;
our $db = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', {RaiseError => 1, PrintError => 0});
$db->do('create table t (id integer primary key, v text)'); my $in = $db->prepare('insert into t (v) values (?)'); $in->execute("v$_") for 1 .. 5;
print $q->header('text/plain'), map "$_->{id} $_->{v}\n", @{$db->selectall_arrayref('select * from t where v like ?', {Slice => {}}, '%' . ($q->param('s') // '') . '%')};
our $open = $db->prepare('select * from t'); $open->execute; $open->fetchrow_array; eval { $db->do('nonsense') }; print $@ =~ /^(.*?) at /; die "at the end\n" if $q->param('die')`,
		gets("", "?s=3", "?die=1")},
	{"application", `package App; use base 'CGI::Application'; use strict;
sub setup { my $s = shift; $s->start_mode('a'); $s->run_modes([qw(a b c)]); $s->error_mode('failed') }
sub a { my $s = shift; return 'a ' . $s->query->start_form . $s->query->textfield('x') . $s->query->end_form }
sub b { my $s = shift; $s->header_type('redirect'); $s->header_props(-url => 'http://localhost/'); return '' }
sub c { die 'in c' } sub failed { "failed: $_[1]" } sub teardown { print STDERR "down\n" }
package main; App->new->run;`, gets("", "?rm=b", "?rm=c", "?x=%22")},
	{"plack", `use strict; use Plack::Builder; use Plack::Loader; use Plack::Request;
Plack::Loader->auto->run(builder { enable 'ContentLength'; sub {
	my $r = Plack::Request->new(shift);
	return sub { my $w = shift->([200, ['Content-Type' => 'text/plain']]); $w->write("part $_\n") for 1 .. 3; $w->close } if $r->path eq '/stream';
	[201, ['Content-Type' => 'text/plain', 'X-Path' => $r->path], [$r->method, $r->path, $r->param('a') // '', length $r->content]];
} });`, append(gets("", "/x/y?a=1", "/stream"), request{method: "POST", path: "/p", body: "a=5", header: form})},
}

func TestPerlModulesForCGIAnswerAlikeWarm(t *testing.T) {
	needs(t, "CGI::Application", "CGI::Fast", "CGI::Session", "DBD::SQLite", "HTML::Template", "Plack")
	dir := tempDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sessions"), 0o755))
	var names []string
	var all []request
	for _, m := range perlModules {
		writeFile(t, filepath.Join(dir, "cgi", m.name+".cgi"), "#!/usr/bin/perl\n"+m.text, 0o755)
		names = append(names, "/cgi/"+m.name+".cgi")
		for _, r := range m.requests {
			r.path = "/cgi/" + m.name + ".cgi" + r.path
			all = append(all, r)
		}
	}
	s := newSides(t, dir, "warm", "  - {path: /cgi/, cgi: {dir: @DIR@/cgi}, env: {SESSIONS: @DIR@/sessions, PERL_HASH_SEED: \"0\", PERL_PERTURB_KEYS: \"0\"}, mode: @MODE@}\n")
	s.warmUp(t, names...)
	s.assertSame(t, all...)
	s.assertSame(t, all...)
}
