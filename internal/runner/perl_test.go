//go:build linux

package runner

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPerlScriptThatReadsTheRequestWhileItIsLoadedIsUnsafe(t *testing.T) {
	for _, c := range []struct{ text, reason string }{
		{`BEGIN { $main::q = $ENV{QUERY_STRING} } print $main::q`, "reads QUERY_STRING while it is loaded"},
		{`use lib $ENV{DOCUMENT_ROOT} // 'lib'; print 1`, ""}, // see below
		{`BEGIN { $main::q = exists $ENV{HTTP_COOKIE} } print 1`, "reads HTTP_COOKIE while it is loaded"},
		{`BEGIN { %main::copy = %ENV } print 1`, "reads all variables while it is loaded"},
		{`BEGIN { my $p = $ENV{PATH}; my $m = $ENV{MOD_PERL} } print 1`, ""},
	} {
		p := start(t, perlScript(t, "", c.text), setup{})
		p.ready(t)
		if c.reason == "" {
			assert.Empty(t, p.unsafe, c.text)
		} else {
			assert.Equal(t, []string{c.reason}, p.unsafe, c.text)
		}
	}
}

func TestPerlScriptMayReadWhatAllItsRequestsHaveAlikeWhileItIsLoaded(t *testing.T) {
	for _, line := range []string{"", "-T"} {
		for _, mode := range []string{"warm", "reuse"} {
			script := perlScript(t, line, `our $early; BEGIN { $early = "$ENV{DOCUMENT_ROOT} $ENV{GATEWAY_INTERFACE} " . ($ENV{LATER} // 'none'); umask 0; chdir '/' } print "$early now $ENV{DOCUMENT_ROOT} @ARGV ${^TAINT} ", <STDIN>; exit 3`)
			alike := request{vars: []string{"DOCUMENT_ROOT=/srv/www", "PATH=/bin:/usr/bin"}, body: "body", args: []string{"a"}}
			p := start(t, script, setup{mode: mode, env: []string{"PATH=/bin:/usr/bin"}, given: []string{"DOCUMENT_ROOT=/srv/www"}})
			p.ready(t)
			assert.Empty(t, p.unsafe)
			got := p.ask(t, alike)
			assert.True(t, got.done)
			assert.Equal(t, plain(t, script, alike).out, got.out)
			for _, vars := range [][]string{{"DOCUMENT_ROOT=/elsewhere", "PATH=/bin:/usr/bin"}, {"DOCUMENT_ROOT=/srv/www", "LATER=1", "PATH=/bin:/usr/bin"}} {
				other := request{vars: vars, body: "body", args: []string{"a"}}
				want, got := plain(t, script, other), p.ask(t, other)
				assert.False(t, got.done)
				assert.Equal(t, want.out, got.out)
				assert.Equal(t, want.status, got.status, got.stderr)
			}
			assert.Equal(t, []string{"reads DOCUMENT_ROOT while it is loaded", "reads LATER while it is loaded"}, p.unsafe)
		}
	}
}

func TestPerlScriptThatReadsItsBodyWhileItIsLoadedIsSeen(t *testing.T) {
	p := start(t, perlScript(t, "", `BEGIN { sysread STDIN, my $b, 10 } print 1`), setup{})
	p.ready(t)
	assert.True(t, p.consumed(t))
}

func TestPerlScriptThatPrintsWhileItIsLoadedIsSeen(t *testing.T) {
	p := start(t, perlScript(t, "", `BEGIN { print "early\n" } print 1`), setup{})
	p.ready(t)
	assert.Equal(t, "early\n", p.written())
}

func TestPerlScriptThatCannotBeCompiledFailsWithPerlsMessage(t *testing.T) {
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, perlScript(t, "", "use strict;\nprint $x;\n"), setup{mode: mode})
		p.outcome(t)
		assert.False(t, p.isReady)
		assert.Contains(t, p.failed, `Global symbol "$x" requires explicit package name`)
		assert.Eventually(t, func() bool { return strings.Contains(p.stderr(), "script.pl line 3.") }, patience, time.Millisecond)
	}
	p := start(t, perlScript(t, "", "use No::Such::Module;"), setup{})
	p.outcome(t)
	assert.Contains(t, p.failed, "Can't locate No/Such/Module.pm")
	p = start(t, perlScript(t, "", "BEGIN { exit 3 }"), setup{})
	p.outcome(t)
	assert.Contains(t, p.failed, "it ended while it was loaded")
}

func TestPerlScriptInReuseNamesItsCapturedLexicals(t *testing.T) {
	for _, c := range []struct {
		text  string
		names []string
	}{
		{"my $user = $ENV{REMOTE_USER}; sub who { return $user } print who();", []string{"$user"}},
		{"my (@list, %h); sub f { push @list, 1; my $g = sub { $h{1} } } f();", []string{"%h", "@list"}},
		{"{ my $count = 0; sub next_one { return $count++ } } print next_one();", []string{"$count"}},
		{"my $x = 1; END { print $x }", []string{"$x"}},
		{"our $y = 1; my $x = 2; sub f { my $x = shift; return $x + $y } print f($x);", nil},
		{"my $x = 2; my $f = sub { $x++ }; print $f->();", nil},
		{"my %conf; BEGIN { %conf = (a => 1) } my @none; my ($x, $y); BEGIN { $y = 1 } print $conf{a};", []string{"$y", "%conf"}},
		{"our @list; BEGIN { @list = 1 } my $x; { my @in = 1; } for my $i (@list) { $x .= $i } print $x;", nil},
		{"package Other; my $z; sub f { $z } package main; Other::f();", []string{"$z"}},
	} {
		p := start(t, perlScript(t, "", c.text), setup{mode: "reuse"})
		p.ready(t)
		assert.Equal(t, c.names, p.captured, c.text)
		p = start(t, perlScript(t, "", c.text), setup{mode: "reuse", captured: "accept"})
		p.ready(t)
		assert.Empty(t, p.captured, c.text)
	}
}

func TestPerlRunnerNamesTheFilesThatWereLoaded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Mine.pm"), []byte("package Mine; sub v { 7 } 1;"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Late.pm"), []byte("package Late; sub v { 8 } 1;"), 0o644))
	script := filepath.Join(dir, "a.pl")
	require.NoError(t, os.WriteFile(script, []byte("#!/usr/bin/perl\nuse FindBin; use lib $FindBin::Bin; use Mine; require Late; print Mine::v(), Late::v();"), 0o755))
	p := start(t, script, setup{})
	p.ready(t)
	assert.Contains(t, p.files, script)
	assert.Contains(t, p.files, filepath.Join(dir, "Mine.pm"))
	a := p.ask(t, request{})
	assert.Equal(t, "78", a.out)
	assert.Equal(t, []string{"Late.pm=" + filepath.Join(dir, "Late.pm")}, a.late)
	assert.False(t, a.done, "what it has loaded late may have destructors")

	p = start(t, script, setup{late: a.late})
	p.ready(t)
	assert.Contains(t, p.files, filepath.Join(dir, "Late.pm"))
	a = p.ask(t, request{})
	assert.Equal(t, "78", a.out)
	assert.Empty(t, a.late)
	assert.True(t, a.done)
}

func TestPerlRunnerDoesNotLoadAheadWhatIsNotThere(t *testing.T) {
	p := start(t, perlScript(t, "", "print exists $INC{'Text/Wrap.pm'} ? 'there' : 'not'"), setup{late: []string{"Text/Wrap.pm=/elsewhere/Text/Wrap.pm", "../x.pm=/x", "No/Such.pm=/y"}})
	p.ready(t)
	assert.Equal(t, "not", p.ask(t, request{}).out)
}

func TestPerlRunnerLoadsWhatTheRouteNames(t *testing.T) {
	p := start(t, perlScript(t, "", "print exists $INC{'Text/Wrap.pm'} ? 'there' : 'not'"), setup{preload: []string{"Text::Wrap"}})
	p.ready(t)
	assert.Equal(t, "there", p.ask(t, request{}).out)
	p = start(t, perlScript(t, "", "print 1"), setup{preload: []string{"No::Such"}})
	p.outcome(t)
	assert.Contains(t, p.failed, "preload No::Such: Can't locate No/Such.pm")
	assert.NotContains(t, p.failed, " line ", "it is no line of the script")
}

const perlRandom = `use File::Temp 'tempfile'; my ($h, $n) = tempfile(UNLINK => 1); print rand(), " ", $n =~ m{([^/]+)$}, " ", join '', map int rand 10, 1 .. 20`

func TestPerlRandomNumbersAndNamesDifferBetweenRequests(t *testing.T) {
	for _, mode := range []string{"warm", "reuse"} {
		for _, text := range []string{perlRandom, "BEGIN { our $x = sub { rand } } " + perlRandom, "srand(1) if 0; " + perlRandom} {
			p := start(t, perlScript(t, "", text), setup{mode: mode})
			p.ready(t)
			seen := map[string]bool{}
			for range 5 {
				for _, word := range strings.Fields(p.ask(t, request{}).out) {
					assert.False(t, seen[word], "%s: %s again", mode, word)
					seen[word] = true
				}
			}
			assert.Len(t, seen, 15)
		}
	}
}

func TestPerlScriptOfAnInterpreterOfTheRouteHasTheSwitchesOfItsFirstLine(t *testing.T) {
	for _, c := range []struct{ text, out, fails string }{
		{"#!/usr/bin/perl -w\nprint $^W", "1", ""},
		{"#!perl\nprint $^W, __LINE__", "02", ""},
		{"#!/usr/bin/perl -l -w\r\nprint $^W;\r\n", "1\n", ""},
		{"print $^W, __LINE__", "01", ""},
		{"\xef\xbb\xbf#!/usr/bin/perl -w\nprint $^W, __LINE__, length 'é'", "122", ""},
		{"\xef\xbb\xbfprint __LINE__", "1", ""},
		{"#!/bin/sh\n#! -*- perl -*-\nprint 1", "", `perl hands it to "/bin/sh"`},
		{"#!/usr/bin/perl -n\nprint", "", "switch -n in its #! line"},
		{"\xff\xfep\x00r\x00i\x00n\x00t\x001\x00", "", "it is written in UTF-16"},
	} {
		for _, mode := range []string{"warm", "reuse"} {
			script := write(t, "script.pl", c.text)
			if c.fails != "" {
				_, err := Text("perl", script, mode)
				require.ErrorIs(t, err, ErrNoRunner)
				assert.ErrorContains(t, err, c.fails)
				continue
			}
			want, err := exec.Command("/usr/bin/perl", script).Output()
			require.NoError(t, err)
			require.Equal(t, c.out, string(want))
			p := start(t, script, setup{mode: mode, perl: "/usr/bin/perl"})
			p.ready(t)
			for range 2 {
				assert.Equal(t, c.out, p.ask(t, request{}).out, "%s: %q", mode, c.text)
			}
		}
	}
}

func TestPerlScriptMayBeRunByEnv(t *testing.T) {
	for _, line := range []string{"/usr/bin/env perl", "/usr/bin/env -S perl -w", "/usr/bin/env -S A=1 perl -w -Ilib"} {
		script := write(t, "script.pl", "#!"+line+"\nprint \"$^W $INC[0] $0 \", __LINE__; warn 'w'; exit 2")
		want := plain(t, script, request{})
		for _, mode := range []string{"warm", "reuse"} {
			p := start(t, script, setup{mode: mode})
			p.ready(t)
			samePerl(t, want, p.ask(t, request{}))
		}
	}
}

func TestPerlScriptThatReplacesAStandardHandleWhileItIsLoadedIsUnsafe(t *testing.T) {
	for text, which := range map[string]string{
		`BEGIN { open STDERR, '>&', \*STDOUT } warn "x"`:                             "error",
		`BEGIN { open STDERR, '>>', "$0.log" } warn "x"`:                             "error",
		`use CGI::Carp 'carpout'; BEGIN { open L, '>>', "$0.log"; carpout(\*L) }`:    "error",
		`BEGIN { close STDIN } print 1`:                                              "input",
		`BEGIN { open STDOUT, '>', "$0.out" } print 1`:                               "output",
		`BEGIN { close STDERR; open STDERR, '>', \our $said } warn "x"; print $said`: "error",
	} {
		p := start(t, perlScript(t, "", text), setup{})
		p.ready(t)
		assert.Contains(t, p.unsafe, "replaces standard "+which+" while it is loaded", text)
	}
}

func TestPerlRunnerDoesNotLoadAheadWhatLooksAtWhatTheScriptHasDone(t *testing.T) {
	c := perlCase{text: `use lib '.'; our $lang = 'de'; $Words::mode = 'loud'; $ENV{WORDS} = 'w'; require Plain; require Words; require Mode; require Environment; require Text::Wrap; print map exists $INC{$_} ? 1 : 0, 'Plain.pm'; print Plain::v(), Words::v(), Mode::v(), Environment::v()`,
		files: map[string]string{
			"Plain.pm":       "# not of $main::lang\npackage Plain;\nsub v { 'p' } 1;\n__END__\n$main::lang",
			"Words.pm":       "package Words; my $l = $main::lang; sub v { $l } 1;",
			"Mode.pm":        "package Mode; $Words::mode ||= 'quiet'; my $m = $Words::mode; sub v { $m } 1;",
			"Environment.pm": "package Environment; my $e = $ENV{WORDS}; sub v { $e } 1;",
		}}
	script := c.script(t)
	p := start(t, script, setup{})
	p.ready(t)
	a := p.ask(t, request{})
	assert.Equal(t, "1pdeloudw", a.out)
	p = start(t, script, setup{late: a.late})
	p.ready(t)
	assert.Equal(t, "1pdeloudw", p.ask(t, request{}).out)
	for _, name := range []string{"Plain.pm", "Words.pm", "Mode.pm", "Environment.pm"} {
		assert.Equal(t, name == "Plain.pm", slices.Contains(p.files, filepath.Join(filepath.Dir(script), name)), name)
	}
}

func TestPerlScriptThatDrawsRandomNumbersWhileItIsLoadedIsUnsafe(t *testing.T) {
	for _, text := range []string{"BEGIN { our $token = rand } print $token", "use lib '.'; use Token; print Token::token()", "BEGIN { srand 42 } print rand"} {
		c := perlCase{text: text, files: map[string]string{"Token.pm": "package Token; my $token = int rand 1e9; sub token { $token } 1;"}}
		p := start(t, c.script(t), setup{})
		p.ready(t)
		assert.Equal(t, []string{"draws random numbers while it is loaded"}, p.unsafe, text)
	}
}

func TestPerlUUIDsDifferBetweenRequests(t *testing.T) {
	if err := exec.Command("/usr/bin/perl", "-MData::UUID", "-MUUID::Tiny", "-e1").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("libdata-uuid-perl and libuuid-tiny-perl are missing")
		}
		t.Skip("libdata-uuid-perl and libuuid-tiny-perl are missing")
	}
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, perlScript(t, "", `use Data::UUID; use UUID::Tiny ':std'; our $early; BEGIN { $early = Data::UUID->new }
print join ' ', Data::UUID->new->create_str, $early->create_str, create_uuid_as_string(UUID_V1), create_uuid_as_string(UUID_V4)`), setup{mode: mode})
		p.ready(t)
		assert.Empty(t, p.unsafe)
		seen := map[string]bool{}
		for range 5 {
			for _, word := range strings.Fields(p.ask(t, request{}).out) {
				assert.False(t, seen[word], "%s: %s again", mode, word)
				seen[word] = true
			}
		}
		assert.Len(t, seen, 20)
	}
}

func TestPerlRunnerPassesEveryOctet(t *testing.T) {
	all := make([]byte, 0, 255)
	for c := 1; c < 256; c++ {
		all = append(all, byte(c))
	}
	script := perlScript(t, "", `print $ENV{HTTP_X}, '|', <STDIN>`)
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, script, setup{mode: mode})
		p.ready(t)
		a := p.ask(t, request{vars: []string{"HTTP_X=" + string(all)}, body: "\x00" + string(all)})
		assert.Equal(t, string(all)+"|\x00"+string(all), a.out, mode)
	}
}

// perlDirt changes all that a script can, when it is asked to; then, and only then, perlLook shows it.
const perlDirt = `
use POSIX ();
if ($ENV{QUERY_STRING} eq 'dirty') {
	$ENV{DIRT} = 1; $ENV{PATH} = '/dirt';
	chdir '/'; umask 0;
	$SIG{$_} = sub { die 'dirt' } for qw(INT USR1 ALRM PIPE __WARN__ __DIE__);
	$SIG{HUP} = 'IGNORE';
	alarm 1;
	$/ = undef; $\ = 'D'; $, = 'D'; $" = 'D'; $; = 'D'; $| = 1; $^W = 1; $0 = 'dirt';
	$~ = 'DIRT'; $^ = 'DIRT';
	unshift @INC, '/dirt'; @ARGV = 'dirt';
	srand 42; POSIX::setlocale(POSIX::LC_ALL(), 'C.UTF-8');
	open LEFT, '<', '/etc/passwd'; our $left; open $left, '<', '/etc/passwd';
	binmode STDOUT, ':utf8'; binmode STDIN, ':crlf';
	read STDIN, my $b, 1;
	open STDERR, '>&', \*STDOUT;
	select STDERR;
	$_ = 'dirt'; @_ = ('dirt'); $@ = 'dirt'; system 'exit 3'; $^A = 'dirt'; $: = 'D'; $^L = 'D'; $- = 9; $% = 9;
	POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGUSR2()));
	require Text::Wrap; $Text::Wrap::columns = 7; push @Text::Wrap::ISA, 'Dirt';
	local $SIG{__WARN__}; eval 'END { our $ended = 1 } sub replaced { "dirt" }';
	$ENV{TZ} = 'Asia/Tokyo'; POSIX::tzset();
	our $global = 'dirt'; $Pack::age = 'dirt';
	print STDOUT "dirty\n";
	close STDOUT if $ENV{HTTP_CLOSE};
	exit;
}
print "$_=$ENV{$_}\n" for grep /DIRT/, keys %ENV;
print "path\n" if $ENV{PATH} =~ /dirt/;
print "cwd\n" if POSIX::getcwd() eq '/';
print "umask\n" if umask == 0;
print map "sig $_\n", grep ref $SIG{$_} || $SIG{$_} =~ /IGN/ && $_ ne 'FPE', keys %SIG;
print "alarm\n" if alarm 0;
print "vars\n" if "$/$\$,$;$|$^W" ne "\n" . "" . "\034" . '00';
print "list\n" if "@{[1, 2]}" ne '1 2';
print "name $0\n" if $0 =~ /dirt/;
print "format $~ $^\n" if "$~$^" =~ /DIRT/;
print "inc\n" if "@INC@ARGV" =~ /dirt/;
print "rand\n" if do { my $r = rand; srand 42; $r == rand };
print "locale\n" if POSIX::setlocale(POSIX::LC_ALL(), undef) ne 'C';
print "layers @{[PerlIO::get_layers(STDOUT)]}\n" if "@{[PerlIO::get_layers(STDOUT), PerlIO::get_layers(STDIN)]}" =~ /utf8|crlf/;
print "input ", scalar <STDIN> if !defined $ENV{CONTENT_LENGTH} && !eof STDIN;
print "errors\n" if (POSIX::fstat(1))[1] == (POSIX::fstat(2))[1];
opendir my $d, '/proc/self/fd'; print map "descriptor $_\n", grep { my $to = readlink "/proc/self/fd/$_"; $to && $to =~ /passwd/ } readdir $d;
print "selected\n" if select ne 'main::STDOUT';
print "topic $_ @_ $@ $? $^A\n" if defined $_ || "@_$@$?$^A" ne '0';
print "pages $: $^L $- $%\n" if "$:$^L$-$%" ne " \n-\f00";
my $set = POSIX::SigSet->new; POSIX::sigprocmask(POSIX::SIG_BLOCK(), undef, $set); print "blocked\n" if $set->ismember(POSIX::SIGUSR2());
print "hour\n" if (localtime 0)[2] != 0;
print "module $Text::Wrap::columns @Text::Wrap::ISA\n" if exists $INC{'Text/Wrap.pm'};
print "sub\n" if replaced() ne 'clean'; sub replaced { 'clean' }
our $global; print "global\n" if $global; print "package\n" if $Pack::age;
print "clean\n";
`

// What docs/reuse-perl.md says is left.
const perlLeft = "module 7 Dirt\nsub\nglobal\npackage\nclean\n"

func TestPerlWorkersOfModeWarmShowNoDirt(t *testing.T) {
	script := perlScript(t, "", perlDirt)
	require.Equal(t, "clean\n", plain(t, script, request{}, "PATH="+os.Getenv("PATH"), "TZ=UTC").out)
	p := start(t, script, setup{env: []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC"}})
	p.ready(t)
	p.ask(t, request{vars: []string{"QUERY_STRING=dirty"}, body: "a\r\nb"})
	assert.Equal(t, "clean\n", p.ask(t, request{}).out)
}

func TestPerlWorkersOfModeReuseShowTheDocumentedDirt(t *testing.T) {
	script := perlScript(t, "", perlDirt)
	for _, vars := range [][]string{{"QUERY_STRING=dirty"}, {"QUERY_STRING=dirty", "HTTP_CLOSE=1"}} {
		p := start(t, script, setup{mode: "reuse", captured: "accept", env: []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC"}})
		p.ready(t)
		a := p.ask(t, request{vars: vars, body: "a\r\nb"})
		assert.Contains(t, a.out, "dirty")
		assert.Equal(t, "-", a.left)
		b := p.ask(t, request{})
		assert.Equal(t, a.pid, b.pid)
		assert.Equal(t, perlLeft, b.out)
	}
}

func TestPerlWorkersOfModeReuseForgetWhatCGIKeeps(t *testing.T) {
	p := start(t, perlScript(t, "", `use CGI qw(:standard -utf8); print header, param('a') // 'none', $CGI::PARAM_UTF8, CGI->new->param('b') // 'none'; $CGI::POST_MAX = 5; $CGI::NPH = 1 if param('a')`), setup{mode: "reuse"})
	p.ready(t)
	assert.Contains(t, p.ask(t, request{vars: []string{"QUERY_STRING=a=1&b=2"}}).out, "112")
	second := p.ask(t, request{}).out
	assert.Contains(t, second, "none1none")
	assert.NotContains(t, second, "HTTP/1")
}

func TestPerlWorkersOfModeReuseSayWhatTheyCannotCleanUp(t *testing.T) {
	p := start(t, perlScript(t, "", `if (!fork) { close STDIN; close STDOUT; close STDERR; sleep 3; exit } print 1`), setup{mode: "reuse"})
	p.ready(t)
	assert.Equal(t, "children", p.ask(t, request{}).left)
	p = start(t, perlScript(t, "", `use POSIX (); POSIX::open('/etc/passwd'); print 1`), setup{mode: "reuse"})
	p.ready(t)
	assert.Equal(t, "descriptors", p.ask(t, request{}).left)
}
