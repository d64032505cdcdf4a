//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPerlScriptThatTakesWhatDiffersBetweenRequestsWhileItIsLoadedIsUnsafe(t *testing.T) {
	for code, why := range map[string]string{
		"our $x = $$;":                                     "reads its process number",
		`our $x = "/tmp/x.$$";`:                            "reads its process number",
		"our $x = time;":                                   "reads the clock",
		"our ($x) = (localtime)[5] + 1900;":                "reads the clock",
		"our $x = gmtime;":                                 "reads the clock",
		"our $x = `echo 1`;":                               "starts a program",
		"open my $h, '-|', 'echo 1'; our $x = <$h>;":       "starts a program",
		"open H, 'echo 1|'; our $x = <H>; close H;":        "starts a program",
		"our $x = 1; open H, '>>out'; print H 1; close H;": "writes to a file",
		"our $x = 1; use IO::File; my $h = IO::File->new('out', 'w'); close $h;":           "writes to a file",
		"our $x = 1; use Fcntl; sysopen my $h, 'out', O_WRONLY | O_CREAT, 0600; close $h;": "writes to a file",
		"sub now { time } our $x = 1; sub file { open my $h, '>', 'out' }":                 "",
		"our $x = localtime 0; our $y = gmtime(5); open my $h, '<', \\'text'; $y = <$h>;":  "",
		"use Time::Local; use Digest::MD5; use File::Temp; use Storable; our $x = 1;":      "",
		"our $x = 1; open my $h, '>&', \\*STDERR; close $h; open my $n, '>', '/dev/null';": "",
	} {
		for kind, script := range map[string]string{
			"module": "use lib '.'; use Mine; print $Mine::x;",
			"BEGIN":  "package Mine; BEGIN { " + code + " } print our $x;",
		} {
			c := perlCase{text: script, files: map[string]string{"Mine.pm": "package Mine;\n" + code + "\n1;\n"}}
			p := start(t, c.script(t), setup{})
			p.ready(t)
			if why == "" {
				assert.Empty(t, p.unsafe, "%s: %s", kind, code)
				assert.NotEmpty(t, p.ask(t, request{}).out)
				continue
			}
			assert.Equal(t, []string{why + " while it is loaded"}, p.unsafe, "%s: %s", kind, code)
		}
	}
}

func TestPerlSaysWhichFilesItsModulesHaveRead(t *testing.T) {
	c := perlCase{text: "use lib '.'; use Mine; BEGIN { opendir D, 'd'; closedir D } open F, '<', 'late'; print $Mine::x;", files: map[string]string{
		"Mine.pm":  "package Mine; use strict; open(CONF, 'conf.txt') or die; our $x = join '', <CONF>; close CONF; open my $o, '<:raw', 'other.txt'; 1;",
		"conf.txt": "here", "late": ""}}
	script := c.script(t)
	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(script), "d"), 0o755))
	p := start(t, script, setup{})
	p.ready(t)
	assert.Empty(t, p.unsafe)
	for name, read := range map[string]bool{"conf.txt": true, "other.txt": true, "d": true, "late": false} {
		assert.Equal(t, read, strings.Contains("\n"+strings.Join(p.files, "\n")+"\n", "\n"+filepath.Join(filepath.Dir(script), name)+"\n"), name)
	}
	assert.Equal(t, "here", p.ask(t, request{}).out)
}

func TestPerlScriptThatWaitsForItsChildrenWhileItIsLoadedIsLoaded(t *testing.T) {
	p := start(t, perlScript(t, "-CSD", "BEGIN { 1 while wait != -1; print STDERR \"said\\n\" } print \"$?\\n\"; while (<DATA>) { print }\n__END__\n"+strings.Repeat("data\n", 5000)), setup{})
	p.ready(t)
	a := p.ask(t, request{})
	assert.Equal(t, "0\n"+strings.Repeat("data\n", 5000), strings.TrimRight(a.out, "\n")+"\n")
	assert.Equal(t, "said\n", a.stderr)
}
