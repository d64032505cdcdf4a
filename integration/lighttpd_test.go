//go:build linux

package integration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBehindLighttpdScriptsSeeTheRequest(t *testing.T) {
	needs(t, "lighttpd", "CGI.pm")
	s := newSite(t)
	g, socket := s.gateway(t)
	c := newClient(t, startLighttpd(t, s.dir, configured(t, "lighttpd-fcgi.conf.tmpl",
		"/run/warmcgi.sock", socket,
		"/usr/lib/cgi-bin", s.bin)))
	assertVars(t, "/cgi-bin/", c.get(t, varsURL("/cgi-bin/")))

	assertForms(t, c, "/cgi-bin/form.pl")
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
	assertStreams(t, s, c)
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl")
	assertBreaks(t, g, c)
}
