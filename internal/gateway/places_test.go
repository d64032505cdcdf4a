package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTheTimeOfPlacesGrowsWhileTheyAreTaken(t *testing.T) {
	p := newPlaces(4)
	at := p.since
	p.now = func() time.Time { return at }
	pass := func(d time.Duration) { at = at.Add(d) }

	pass(time.Minute)
	assert.Zero(t, p.seconds(), "nobody has taken one")
	p.changed(+1)
	pass(time.Second)
	assert.Equal(t, 1.0, p.seconds(), "it counts before its request has ended")
	p.changed(+1)
	pass(500 * time.Millisecond)
	assert.Equal(t, 2.0, p.seconds(), "two at once")
	p.changed(-1)
	p.changed(-1)
	pass(time.Minute)
	assert.Equal(t, 2.0, p.seconds())
	pass(-time.Hour)
	assert.Equal(t, 2.0, p.seconds(), "a counter never falls")
}

func TestAPlaceIsBusyAsLongAsItsScriptRuns(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	g := s.serve("max_processes: 3\n" + scripts)
	assert.Equal(t, 3.0, g.metric("warmcgi_places"))
	assert.Zero(t, g.metric("warmcgi_place_seconds_total"))
	first := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	before := g.metric("warmcgi_place_seconds_total")
	assert.Eventually(t, func() bool { return g.metric("warmcgi_place_seconds_total") > before }, patience, time.Millisecond, "while it runs")
	s.touch("cgi-bin/go")
	assert.Equal(t, 200, first.answer("GET").StatusCode)
	after := 0.0
	assert.Eventually(t, func() bool {
		after = g.metric("warmcgi_place_seconds_total")
		return g.metric("warmcgi_place_seconds_total") == after
	}, patience, time.Millisecond, "it is free again")
	assert.Equal(t, 404, g.get("/cgi-bin/none").StatusCode)
	assert.Equal(t, after, g.metric("warmcgi_place_seconds_total"), "what starts no script takes no place")
}
