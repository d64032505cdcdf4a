package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/cgi"
)

func TestAWorkerMaySayTwiceThatItIsDone(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(mode), s.write("a.pl", "#!/usr/bin/perl\n"+
				"if ($ENV{QUERY_STRING}) { open my $c, '>&=', 3 or die; syswrite $c, \"done $$ 0 -\\n\" x 3 }\n"+body)
			s.until(mode, w, file)
			for range 5 {
				assert.Contains(t, s.ask(w, file, "QUERY_STRING=1").body, "body")
			}
			s.until(mode, w, file)
			s.eventually("no worker is busy", func() bool { return s.status().Busy == 0 })
		})
	}
}
