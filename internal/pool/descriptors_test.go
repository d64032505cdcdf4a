//go:build linux

package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/cgi"
)

func TestWarmScriptsLeaveDescriptorsForRequests(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Descriptors = 15 }) // enough for one
	w := settings(cgi.ModeWarm)
	first, second := s.write("a.pl", hello), s.write("b.pl", hello)
	s.until(cgi.ModeWarm, w, first)
	for range 3 {
		assert.Equal(t, cgi.ModeSpawn, s.ask(w, second).mode)
	}
	p := s.poolOf(s.request(w, second))
	st := p.status(time.Now())
	assert.Equal(t, Cold, st.State)
	assert.Contains(t, st.Why, "other warm scripts have the 15 open files that are for them")
	assert.Equal(t, 1, strings.Count(s.log.String(), "script stays in mode spawn"), "it is logged once")

	s.write("a.pl", hello+"print ' again';")
	s.until(cgi.ModeWarm, w, first) // what takes the place of another is not refused for long

	s.makeRoom(time.Now())
	s.until(cgi.ModeWarm, w, first) // it was asked for just now
	s.ask(w, second)
	s.makeRoom(time.Now().Add(2 * restTime))
	s.until(cgi.ModeWarm, w, second)
	assert.Equal(t, "another script needs its open files", s.poolOf(s.request(w, first)).status(time.Now()).Why)
}
