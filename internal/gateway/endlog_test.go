package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheLogSaysHowAScriptHasEndedInOneWay(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/hangs", "await go")
	s.script("cgi-bin/fails", "exit 3")
	g := s.serve(scripts + "    timeout: {first_byte: 200ms}\n")
	g.get("/cgi-bin/hangs")
	line := g.awaitLog("script was ended", "/cgi-bin/hangs")
	assert.Contains(t, line, "signal=SIG")
	assert.NotContains(t, line, "status=", "it has none")
	g.get("/cgi-bin/fails")
	line = g.awaitLog("script ended with an exit status", "/cgi-bin/fails")
	assert.Contains(t, line, "status=3")
	assert.NotContains(t, line, "signal=")
}
