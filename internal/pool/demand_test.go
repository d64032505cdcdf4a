//go:build linux

package pool

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/cgi"
)

// load asks n times at once and returns the most workers that there were.
func (s *site) load(w *cgi.Workers, file, query string, n int, d time.Duration) (most int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				assert.NoError(s.t, s.do(context.Background(), s.request(w, file, "QUERY_STRING="+query)).err)
			}
		})
	}
	for ctx.Err() == nil {
		st := s.status()
		most = max(most, st.Busy+st.Idle)
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	return most
}

func TestReusedWorkersAreAsManyAsTheirRequestsHaveUseFor(t *testing.T) {
	text := `#!/usr/bin/perl
if ($ENV{QUERY_STRING} eq 'wait') { select undef, undef, undef, 0.02 }
else { my $n = 0; $n += $_ for 1 .. $ENV{QUERY_STRING} }
` + body
	s := newSite(t, func(c *Config) { c.Processors = 2 })
	w, file := settings(cgi.ModeReuse), s.write("a.pl", text)
	w.Max = 12
	s.until(cgi.ModeReuse, w, file, "QUERY_STRING=1")
	compute := s.load(w, file, "300000", 12, time.Second) // what else the machine does looks like waiting, a little
	wait := s.load(w, file, "wait", 12, time.Second)
	assert.Greater(t, wait, 8, "they wait: more answer more")
	assert.Less(t, compute, wait-2, "they compute: more would only take turns")
}

func TestAFewLongRequestsDoNotKeepShortOnesWaiting(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Processors = 2 })
	w, file := settings(cgi.ModeReuse), s.write("a.pl", "#!/usr/bin/perl\nmy $end = time + 3; while ($ENV{QUERY_STRING} && time < $end) { }\n"+body)
	s.until(cgi.ModeReuse, w, file, "QUERY_STRING=")
	var wg sync.WaitGroup
	for range 4 { // more than there are workers
		wg.Go(func() { s.do(context.Background(), s.request(w, file, "QUERY_STRING=long")) })
	}
	s.eventually("they have begun", func() bool { return s.status().Busy >= 3 })
	began := time.Now()
	s.ask(w, file, "QUERY_STRING=")
	assert.GreaterOrEqual(t, s.status().Busy, 3, "the long ones still go on, after %v", time.Since(began))
	wg.Wait()
}
