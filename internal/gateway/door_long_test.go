package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLongVariablesReachTheScriptOrAreRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "listen: [{fastcgi: 'unix:fcgi.sock'}]\n")
	cookie := func(n int) string { return "HTTP_COOKIE=" + strings.Repeat("c", n) }
	for _, n := range []int{1000, 65_536, 120_000} {
		v := g.ask(nil, "REQUEST_URI=/cgi-bin/p", cookie(n)).variables(t)
		assert.Len(t, v["HTTP_COOKIE"], n)
	}
	// No process can have a variable as long as this (execve(2), MAX_ARG_STRLEN).
	assert.Equal(t, 431, g.ask(nil, "REQUEST_URI=/cgi-bin/p", cookie(200_000)).StatusCode)
	g.requireFailure("variables_too_large", 431)
	assert.Equal(t, 431, g.ask(nil, "REQUEST_URI=/cgi-bin/p", cookie(2_000_000)).StatusCode)
	g.awaitLog("too many variables")
	g.awaitMetric(1, "warmcgi_fastcgi_door_refused_total", "why=too_long")
}
