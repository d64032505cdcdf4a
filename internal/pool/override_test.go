//go:build linux

package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

const overrideScript = "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nx\";\n"

// one is the status of the set's only script.
func (s *site) one() Status {
	s.t.Helper()
	all := s.Status()
	require.Len(s.t, all, 1)
	return all[0]
}

func (s *site) becomes(state State, mode cgi.Mode) {
	s.t.Helper()
	s.eventually(string(state)+" "+string(mode), func() bool { st := s.one(); return st.State == state && st.Mode == mode })
}

// answered asks once; whatever mode it is answered in.
func (s *site) answered(w *cgi.Workers, file string) {
	s.t.Helper()
	res, err := s.RoundTrip(s.t.Context(), s.request(w, file))
	require.NoError(s.t, err)
	res.Body.Close()
}

func TestAScriptIsHeldInAModeUntilThatIsTakenBack(t *testing.T) {
	s := newSite(t, nil)
	file := s.write("a.pl", overrideScript)
	w := settings(cgi.ModeAuto)
	require.ErrorIs(t, s.Pin("/a.pl", &Pin{Mode: cgi.ModeWarm}), ErrNoScript)
	s.answered(w, file)
	s.becomes(Cold, cgi.ModeSpawn)

	require.NoError(t, s.Pin("/a.pl", &Pin{Mode: cgi.ModeWarm, By: "ada", At: time.Now()}))
	s.becomes(Ready, cgi.ModeWarm) // without waiting for requests
	assert.Equal(t, "ada", s.one().Pin.By)

	require.NoError(t, s.Pin("/a.pl", &Pin{Mode: cgi.ModeReuse, By: "ada"}))
	s.becomes(Ready, cgi.ModeReuse)

	require.NoError(t, s.Pin("/a.pl", &Pin{Mode: cgi.ModeSpawn, By: "bob"}))
	s.becomes(Held, cgi.ModeSpawn)
	assert.Contains(t, s.one().Why, "bob")
	for range 10 {
		s.answered(w, file)
	}
	s.becomes(Held, cgi.ModeSpawn)
	why, err := s.Restart("/a.pl")
	require.NoError(t, err)
	assert.Contains(t, why, "held")

	require.NoError(t, s.Pin("/a.pl", nil))
	s.becomes(Cold, cgi.ModeSpawn)
	for range promoteAfter {
		s.answered(w, file)
	}
	s.becomes(Ready, cgi.ModeWarm)
	assert.Nil(t, s.one().Pin)
}

func TestARestartReplacesTheWarmParentAndItsWorkers(t *testing.T) {
	s := newSite(t, nil)
	file := s.write("a.pl", overrideScript)
	w := settings(cgi.ModeWarm)
	s.answered(w, file)
	s.becomes(Ready, cgi.ModeWarm)
	before := s.one().Parent
	why, err := s.Restart("/a.pl")
	require.NoError(t, err)
	require.Empty(t, why)
	s.eventually("another parent", func() bool { st := s.one(); return st.State == Ready && st.Parent != before })
	s.answered(w, file)
	s.eventually("the old processes end", func() bool {
		for _, p := range s.Processes(100) {
			if p.Pid == before {
				return false
			}
		}
		return true
	})
}

func TestWorkersAreAddedAndTakenAwayWhileTheyRun(t *testing.T) {
	s := newSite(t, nil)
	file := s.write("a.pl", overrideScript)
	w := settings(cgi.ModeWarm)
	s.answered(w, file)
	s.becomes(Ready, cgi.ModeWarm)
	s.eventually("one idle", func() bool { return s.one().Idle >= 1 })
	files, err := s.Limit("/a.pl", &Limits{Max: 6, Spare: 5, By: "ada"})
	require.NoError(t, err)
	assert.Equal(t, map[string]int{file: 6}, files)
	s.eventually("five idle", func() bool { return s.one().Idle >= 5 })
	assert.Len(t, s.Processes(3), 3, "no more are told of than are asked for")
	files, err = s.Limit("/a.pl", nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{file: w.Max}, files)
	s.eventually("the surplus has gone", func() bool { return s.one().Idle <= 2 })
	assert.Nil(t, s.one().Limits)
	held := s.descriptors.taken.Load()
	require.NoError(t, s.Pin("/a.pl", &Pin{Mode: cgi.ModeSpawn}))
	s.eventually("what it had taken is given back", func() bool { return s.descriptors.taken.Load() == 0 })
	assert.Positive(t, held)
}
