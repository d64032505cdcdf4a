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
	vars := varsOf(t, c.get(t, "/cgi-bin/vars.sh/extra/p%C3%A4th?x=1&y"))
	assert.Equal(t, "/cgi-bin/vars.sh", vars["SCRIPT_NAME"])
	assert.Equal(t, "/extra/päth", vars["PATH_INFO"])
	assert.Equal(t, "x=1&y", vars["QUERY_STRING"])
	assert.Equal(t, "127.0.0.1", vars["REMOTE_ADDR"])

	assertForms(t, c, "/cgi-bin/form.pl")
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
	assert.Equal(t, http.StatusForbidden, c.get(t, "/cgi-bin/form.php").status, "not executable")
	assertStreams(t, s, c)
	assertEndsWithClient(t, s.dir, g, c, "trickle.pl")
	assertBreaks(t, g, c)
}
