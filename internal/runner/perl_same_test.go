//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const upload = "--X\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\ntext\r\n--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n" +
	"Content-Type: application/octet-stream\r\n\r\n\xff\x00\xff\x00\r\n--X--\r\n"

// perlCase is a script that must not be able to tell plain CGI from the other modes.
type perlCase struct {
	name, line, text string
	files            map[string]string // beside the script
	r                request
	not              bool // it does not come to say done
	slow             bool // it leaves by perl's own exit, the first time
	notReuse         bool // differs in mode reuse, see docs/reuse-perl.md
	gone             bool // the worker of mode reuse ends with it
}

func (c perlCase) script(t *testing.T) string {
	script := perlScript(t, c.line, c.text)
	for name, text := range c.files {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(script), name), []byte(text), 0o644))
	}
	return script
}

func allPerlCases() []perlCase { return append(perlSame, perlIdioms...) }

var perlSame = []perlCase{
	{name: "prints its variables", text: `print map "$_=$ENV{$_}\n", sort keys %ENV;`,
		r: request{vars: []string{"HTTP_X=\xff\xfe", "QUERY_STRING=a=1", "EMPTY="}}},
	{name: "has its programs get its variables", text: `print ` + "`env | sort | grep -v ^_`" + `; print ` + "`echo $QUERY_STRING`;",
		r: request{vars: []string{"QUERY_STRING=b=\xe9"}}},
	{name: "is the main program", text: `print __FILE__, __LINE__, $0, "@ARGV", __PACKAGE__, ' ', defined caller() ? 'called' : 'main', "\n";
print join(',', map { s/^.*\///r } sort grep !/B.pm|Errno|Fcntl|Socket|POSIX|Tie|XSLoader|Config|vars|warnings|strict|overload|Exporter|Carp|constant|feature|List|Scalar/, keys %INC), "\n";
sub f { return (caller(0))[3] . (caller(0))[1] . (caller(0))[2] } print f(), "\n"; printf "%o\n", umask;
use Cwd; print getcwd(), "\n"; print "$^W $^X $; $, $/ $|\n"; print wantarray() // 'undef';`, r: request{args: []string{"one", "t\xe9o"}}},
	{name: "has FindBin", text: `use FindBin; print "$FindBin::Bin $FindBin::Script $FindBin::RealBin\n"; print "@INC"`},
	{name: "writes to standard error", text: `print STDERR "one\n"; warn "two"; warn "three\n"; system 'echo four >&2'; syswrite STDERR, "five";`},
	{name: "exits with 3", text: `print "before"; sub f { exit 3 } f(); print "after"`},
	{name: "exits inside eval", text: `print "before"; eval { exit 4 }; print "after"`},
	{name: "exits inside sort", gone: true, text: `print "before"; my @a = sort { exit 5 } 2, 1; print "after"`},
	{name: "leaves by _exit", not: true, gone: true, text: `use POSIX; $| = 1; print "kept"; $| = 0; print "lost"; POSIX::_exit(4)`},
	{name: "dies before its output", gone: true, text: "use strict;\nsub f { die 'why' }\nf();"},
	{name: "dies after its output", gone: true, text: "print \"Content-Type: text/plain\\n\\n\";\ndie {a => 1} if 0; die \"x\\n\";"},
	{name: "dies with an object", gone: true, text: `package E; use overload '""' => sub { "object\n" }; package main; die bless {}, 'E';`},
	{name: "dies with errno", gone: true, text: `$! = 13; die "errno\n"`},
	{name: "dies with a child's status", gone: true, text: `$! = 0; system "exit 7"; die "status\n"`},
	{name: "dies in a __DIE__ handler", gone: true, text: `$SIG{__DIE__} = sub { print "handled: @_" }; die "x\n"`},
	{name: "fails at run time", gone: true, text: "my $x = undef;\n$x->foo();"},
	{name: "divides by zero in a sub", gone: true, text: "sub f { return 1 / $_[0] }\nprint 'a';\nf(0)"},
	{name: "has END blocks that print", text: `END { print "end $?\n"; $? = 9 } END { print "first\n" } print "body\n"; exit 2;`},
	{name: "has an END block that dies", notReuse: true, text: `END { print "last" } END { die "in END\n" } print "body\n"`},
	{name: "has an END block that exits", gone: true, text: `END { exit 6 } print "body\n"; die "x\n"`},
	{name: "has END blocks of a string", text: `eval 'END { print "eval\n" }'; print "body\n"`, notReuse: true},
	{name: "becomes another program", not: true, gone: true, text: `$| = 1; print "flushed\n"; exec 'sh', '-c', 'echo $QUERY_STRING; cat; ls /proc/self/fd | wc -l; exit 7'`,
		r: request{vars: []string{"QUERY_STRING=q"}, body: "body"}},
	{name: "becomes another program with output in its buffer", not: true, gone: true, text: `print "kept\n"; exec 'echo', 'two'`},
	{name: "forks", notReuse: true, text: `$| = 1; print "both\n"; my $me = 'child'; END { print "end $me\n" } if (my $p = fork) { waitpid $p, 0; $me = "parent $?" } print "$me\n"; exit($me eq 'child' ? 3 : 0)`},
	{name: "forks with output in its buffer", text: `print "once\n"; if (my $p = fork) { waitpid $p, 0 } else { print "child\n"; exit }`},
	{name: "has a child that dies", text: `if (my $p = fork) { waitpid $p, 0; print $? } else { die "child\n" }`},
	{name: "has a child that goes on", slow: true, text: `$| = 1; if (!fork) { select undef, undef, undef, 0.1; print "child\n"; exit } print "parent\n"`},
	{name: "starts programs", text: `print "first\n"; system 'echo second'; print "third\n"; print ` + "`echo fourth`" + `; system 'ls /proc/self/fd | wc -l'; open my $p, '|-', 'cat'; print $p "fifth\n"; close $p; open $p, '-|', 'echo sixth; exit 2'; print <$p>; close $p; print $? >> 8`},
	{name: "leaves pipes open", text: `our $q; open $q, '|-', 'sleep 0.1; cat'; print $q "slow\n"; $|=1; print "end\n"`, slow: true},
	{name: "has a program read the body", text: `$| = 1; system 'wc -c'; print "rest: ", scalar(<STDIN>) // 'end'`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body", text: `binmode STDIN; local $/; my $b = <STDIN>; print length $b, substr($b, 0, 10), substr($b, -10), read(STDIN, my $c, 10), sysread(STDIN, $c, 10), eof(STDIN) ? 'eof' : ''`,
		r: request{body: "\xff\x00" + strings.Repeat("0123456789\r\n", 25000)}},
	{name: "reads its body unbuffered", text: `my $n = 0; while (my $g = sysread STDIN, my $b, 1000) { $n += $g } print $n`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body by CONTENT_LENGTH", text: `read STDIN, my $b, $ENV{CONTENT_LENGTH}; print length $b; print getc(STDIN) // 'end'`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body as lines", text: `my $n = 0; while (<>) { $n++ } print "$n $. ", eof() ? 'end' : ''`, r: request{body: strings.Repeat("line\n", 30000)}},
	{name: "does not read its body", text: `print "Content-Type: text/plain\n\n", 'x' x 100000`, r: request{body: strings.Repeat("z", 300000)}},
	{name: "has no body", text: `print defined <STDIN> ? 'data' : 'end', sysread(STDIN, my $b, 10), -t STDIN ? 'tty' : ''`},
	{name: "writes 4 MB", text: `print sprintf('%09d', $_) x 1000, "\n" for 1 .. 450`},
	{name: "mixes ways of writing", text: `print "a\n"; syswrite STDOUT, "b\n"; open my $d, '>&', \*STDOUT; print $d "dup\n"; close $d; open my $e, '>&=', 1; print $e "alias\n"; close $e; $| = 1; print "c\n"; printf "%s\n", 'd'; { local $, = '-'; local $\ = "!\n"; print 1, 2 } print {*STDOUT} "e\n"; open STDERR, '>&', \*STDOUT; print STDERR "err\n"`},
	{name: "has a dup that is left open", text: `our $d; open $d, '>&', \*STDOUT; print $d "dup\n"; print "out\n"`},
	{name: "leaves files open", slow: true, text: `(my $f = $0) =~ s/script.pl/f/; our $p; open $p, '|-', 'sleep 0.5; cat - ' . "$f $f.2"; print $p "pipe\n"; open our $fh, '>', $f; print $fh "text"; open F, '>', "$f.2"; print F "two"; if (!fork) { exit 5 } wait; print -s $f, "\n"`},
	{name: "redirects its output", slow: true, text: `print "a\n"; open my $old, '>&', \*STDOUT; close STDOUT; open STDOUT, '>', \my $b; print "inside"; close STDOUT; open STDOUT, '>&', $old; print "b $b\n"; select STDERR; print "err\n"; select STDOUT`},
	{name: "closes standard output", text: `print "seen\n"; close STDOUT; print STDERR "still\n"`},
	{name: "closes descriptors 0, 1 and 2", text: `$| = 1; print "seen\n"; close STDIN; close STDOUT; close STDERR`},
	{name: "closes them by number", text: `use POSIX; $| = 1; print "seen\n"; POSIX::close($_) for 0, 1, 2`},
	{name: "closes all descriptors", not: true, gone: true, text: `use POSIX; $| = 1; print "seen\n"; POSIX::close($_) for 0 .. 100; exit 6`},
	{name: "goes on as a daemon", slow: true, text: `use POSIX; $| = 1; print "answered\n"; if (!fork) { POSIX::setsid(); close STDIN; close STDOUT; close STDERR; select undef, undef, undef, 0.2; POSIX::_exit(0) }`},
	{name: "has an alarm", not: true, gone: true, text: `$| = 1; print "x"; alarm 1; sleep 30`},
	{name: "catches an alarm", text: `$SIG{ALRM} = sub { print "alarm\n"; die "time\n" }; eval { alarm 1; sleep 30 }; print "after $@"`},
	{name: "kills itself", not: true, gone: true, text: `$| = 1; print "seen"; kill TERM => $$; sleep 10`},
	{name: "kills itself hard", not: true, gone: true, text: `$| = 1; print "seen"; kill KILL => $$; sleep 10`},
	{name: "has the usual signal dispositions", text: `print map "$_=" . ($SIG{$_} // 'undef') . "\n", sort keys %SIG; open my $f, '<', '/proc/self/status'; print grep /^Sig[BIC]/, <$f>`},
	{name: "has DATA", text: "print tell(DATA), \"\\n\"; my @l = <DATA>; print @l; seek DATA, 0, 0; print scalar <DATA>; print eof(DATA) ? 1 : 0\n__DATA__\nline one\nl\xefne two\n"},
	{name: "has END and DATA", text: "while (<DATA>) { print if /two/ }\n__END__\none\ntwo\n"},
	{name: "has DATA with a layer", text: "use utf8; use open ':std', ':encoding(UTF-8)'; print length(<DATA>), \"\xc3\xa9\\n\"\n__END__\n\xc3\xa9\xc3\xa9\n"},
	{name: "has the switch -w", line: "-w", text: `my @a = (1); print $a[5] . "x"; print "$^W"`},
	{name: "has the switch -T", line: "-T", text: `print "${^TAINT}\n"; $ENV{PATH} = '/bin'; eval { system "echo $ENV{QUERY_STRING}"; 1 } or print "refused: $@"; eval { open my $f, '>', $ARGV[0] } or print $@; my $x = <STDIN>; eval { unlink $x }; print $@; delete @ENV{qw(IFS CDPATH ENV BASH_ENV)}; print ` + "`echo ok`",
		r: request{vars: []string{"QUERY_STRING=q"}, args: []string{"a"}, body: "x\n"}},
	{name: "has switches in one word", line: "-w -T", text: `print "$^W ${^TAINT}\n"; print $x + 1`},
	{name: "has the switch -C", line: "-CS", text: `print chr(233), "${^UNICODE}"`},
	{name: "sees its time", text: `print time - $^T < 2 ? 'now' : 'old ' . (time - $^T); print -M $0 < 1 ? 'new' : 'old'`},
	{name: "has layers from open", text: `use open qw(:std :utf8); print chr(233), join ',', PerlIO::get_layers(STDOUT), PerlIO::get_layers(STDIN)`, r: request{body: "\xc3\xa9"}},
	{name: "has binmode", text: `binmode STDOUT, ':utf8'; print chr(233); binmode STDIN, ':crlf'; print <STDIN>`, r: request{body: "a\r\nb\r\n"}},
	{name: "has a format", text: "our $x = 'val';\nformat STDOUT =\n@<<<<< @>>>>\n$x, $x\n.\nwrite; print \"$~ $^ $=\\n\";"},
	{name: "destroys its objects", notReuse: true, slow: true, text: `package A; sub new { bless {n => $_[1]} } sub DESTROY { print "gone $_[0]{n}\n" } package main; my $a = A->new(1); our $b = A->new(2); { my $d = A->new(4) } print "end\n"; exit 2`},
	{name: "destroys what a module keeps", notReuse: true, slow: true, text: `package A; sub DESTROY { print "gone\n" } package main; sub f { my $z = bless {}, 'A'; push @Kept::k, $z } f(); print "end\n"`},
	{name: "destroys what holds itself", notReuse: true, slow: true, text: `package A; sub DESTROY { print "gone\n" } package main; my $c = bless {}, 'A'; $c->{c} = $c; print "end\n"`},
	{name: "has AUTOLOAD without DESTROY", slow: true, text: `package A; our $AUTOLOAD; sub AUTOLOAD { print "auto $AUTOLOAD\n" } package main; my $x = bless {}, 'A'; $x->hello; undef $x; print "end\n"`},
	{name: "removes its temporary files", text: `use File::Temp; my $f = File::Temp->new; my ($fh, $n) = File::Temp::tempfile(UNLINK => 1); my $d = File::Temp::tempdir(CLEANUP => 1); print -e $n ? 1 : 0, -e $d ? 1 : 0; print ref $f`},
	{name: "loads modules at run time", slow: true, text: `require Text::Wrap; print Text::Wrap::wrap('', ' ', 'x ' x 100); eval { require No::Such; 1 } or print $@ =~ /^(.*?) \(/`},
	{name: "ties", text: `package T; sub TIESCALAR { bless [] } sub FETCH { 'tied' } package main; tie my $x, 'T'; print $x; tie *STDOUT, 'H'; sub H::TIEHANDLE { bless [], 'H' } sub H::PRINT { shift; CORE::syswrite(STDERR, join '', @_) } print 'to tied'; untie *STDOUT; print 'out'`},
	{name: "has a BEGIN that changes the environment", text: `BEGIN { $ENV{PATH} = '/bin:/usr/bin'; delete $ENV{LANG}; $ENV{MINE} = 'x' } print map "$_=$ENV{$_}\n", sort keys %ENV; print ` + "`echo $MINE $PATH`"},
	{name: "has INIT and CHECK blocks", notReuse: true, text: `INIT { print "init\n" } CHECK { $main::c = 1 } BEGIN { $main::b = 1 } print "$b$c\n"`},
	{name: "sets special variables", text: `$, = ':'; $\ = "\n"; $" = '-'; $; = '|'; print 1, 2, "@{[3, 4]}"; $0 = 'renamed'; print $0; $/ = undef; print scalar <STDIN>`, r: request{body: "a\nb\n"}},
	{name: "has strings of code", text: `print eval '__FILE__ . __LINE__', eval "1 +", $@; my $s = eval 'sub { warn "in sub" }'; $s->()`},
	{name: "uses local in the main program", text: "local $| = 1; local $x = 2; our $x; my $y = sub { $x }; print $y->();\nreturn_it() ;sub return_it { return 1 }"},
	{name: "has a state variable and a closure", text: `use feature 'state'; sub n { state $n = 10; return $n++ } print n(), n(); my $c = 5; my $f = sub { $c++ }; print $f->(), $f->()`, notReuse: true},
	{name: "is in another package at its end", text: "package Other;\nour $v = 3;\nprint __PACKAGE__, $v, defined &main::f;"},
	{name: "has pod and a version", text: "use 5.010;\nsay 'hi';\n\n=pod\n\ntext\n\n=cut\n\nsay __LINE__;"},
	{name: "has a prototype warning", line: "-w", text: "my $x; my $x;\nprint \"a\" . undef;\nsub f {1} sub f {2}"},
	{name: "takes a form", text: `use CGI; my $q = CGI->new; print $q->header, map "$_=" . join('|', $q->multi_param($_)) . "\n", sort $q->param; print $q->self_url, $q->user_agent // 'none'`,
		r: request{body: "a=1&b=%C3%A9&a=2", vars: []string{"QUERY_STRING=c=3"}}},
	{name: "takes an upload", text: `use CGI; my $q = CGI->new; my $f = $q->upload('f'); binmode $f; local $/; my $b = <$f>; print $q->header, $q->param('t'), $q->param('f'), length $b, $q->uploadInfo($q->param('f'))->{'Content-Type'}`,
		r: request{body: upload, vars: []string{"CONTENT_TYPE=multipart/form-data; boundary=X"}}, not: true},
	{name: "uses CGI's functions", slow: true, text: `use CGI qw(:standard); print header, start_html('t'), param('a'), end_html`, r: request{vars: []string{"QUERY_STRING=a=1"}}},
	{name: "uses CGI with -utf8", slow: true, text: `use CGI qw(-utf8); my $q = CGI->new; print $q->header(-charset => 'utf-8'), length $q->param('a')`, r: request{vars: []string{"QUERY_STRING=a=%C3%A9"}}},
	{name: "uses CGI::Carp", gone: true, text: `use CGI::Carp qw(fatalsToBrowser); print "Content-Type: text/plain\n\n"; warn "w"; die "why"`},
	{name: "is empty", text: ``},
}

// perlScript writes a script; line has the switches of its #! line.
func perlScript(t *testing.T, line, text string) string {
	return write(t, "script.pl", strings.TrimSpace("#!/usr/bin/perl "+line)+"\n"+text+"\n")
}

func TestPerlScriptCannotTellWarmFromPlain(t *testing.T) {
	for _, c := range allPerlCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := c.script(t)
			want := plain(t, script, c.r)
			p := start(t, script, setup{})
			p.ready(t)
			assert.Empty(t, p.unsafe)
			for range 2 { // the first must not spoil the second
				got := p.ask(t, c.r)
				samePerl(t, want, got)
				assert.Equal(t, !c.not && !c.slow, got.done, "done")
			}
		})
	}
}

// samePerl compares what can be seen of an answer.
func samePerl(t *testing.T, want, got answer) {
	t.Helper()
	if want.out != got.out { // an expression takes its time for 4 MB
		assert.Equal(t, normalPerl(want, want.out), normalPerl(got, got.out), "output")
	}
	assert.Equal(t, normalPerl(want, want.stderr), normalPerl(got, got.stderr), "standard error")
	if got.done {
		assert.Equal(t, want.status.ExitStatus(), got.code, "exit status")
	} else {
		assert.Equal(t, want.status, got.status, "wait status")
	}
}

var perlClock = regexp.MustCompile(`(?m)^(\[)?\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}|Date: .*|\(eval \d+\)`)

// normalPerl takes out what differs by nature: the process and the time of day.
func normalPerl(a answer, text string) string {
	pid := regexp.MustCompile(`\b` + strconv.Itoa(a.pid) + `\b`)
	return perlClock.ReplaceAllString(pid.ReplaceAllString(text, "PID"), "TIME")
}

func TestPerlScriptCannotTellReuseFromPlain(t *testing.T) {
	for _, c := range allPerlCases() {
		if c.notReuse {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := c.script(t)
			want := plain(t, script, c.r)
			p := start(t, script, setup{mode: "reuse", captured: "accept"})
			p.ready(t)
			assert.Empty(t, p.unsafe)
			first := p.ask(t, c.r)
			samePerl(t, want, first)
			second := p.ask(t, c.r)
			samePerl(t, want, second)
			assert.Equal(t, !c.gone, first.pid == second.pid, "the same worker: %+v", first)
		})
	}
}
