//go:build linux

package runner

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each page that a worker writes to is copied.
func TestWhatAPerlWorkerMakesLiesSideBySideAlthoughLoadingHasLeftHoles(t *testing.T) {
	script := perlScript(t, "", `our @kept;
BEGIN { my @all = map { 'x' x 40 . $_ } 1 .. 32_000; for (0 .. $#all) { push @kept, \$all[$_] if $_ % 32 } }
my @made = map { 'y' x 40 . $_ } 1 .. 400;
my %pages = map { (unpack('J', pack 'p', $_) >> 12) => 1 } @made;
print "Content-Type: text/plain\n\n", scalar keys %pages;`)
	p := start(t, script, setup{})
	p.ready(t)
	_, text, _ := strings.Cut(p.ask(t, request{}).out, "\n\n")
	pages, err := strconv.Atoi(text)
	require.NoError(t, err, text)
	assert.Less(t, pages, 40, "400 strings of 64 octets fill seven pages")
}
