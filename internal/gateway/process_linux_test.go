package gateway

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAScriptHasNoDescriptorBeyondTheFirstThree(t *testing.T) {
	s := newSite(t)
	s.write("cgi-bin/p", "#!/bin/sh\necho Content-Type: text/plain\necho\nexec ls -l /proc/self/fd\n")
	require.NoError(t, os.Chmod(s.path("cgi-bin/p"), 0o755))
	s.write("html/big", strings.Repeat("x", 16<<20))
	s.script("cgi-bin/hang", hello, "touch up", "await go")
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\n")
	// With connections, scripts and files open at the time.
	file := g.dial().send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	file.line()
	script := g.dial().send("POST /cgi-bin/hang HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
	s.started("cgi-bin/up")
	body := g.get("/cgi-bin/p").body
	assert.Equal(t, [][]string{{" 0 -> "}, {" 1 -> "}, {" 2 -> "}, {" 3 -> "}}, regexp.MustCompile(` \d+ -> `).FindAllStringSubmatch(body, -1), body)
	assert.Regexp(t, ` 3 -> /proc/\d+/fd\n`, body, "that is the list itself")
	s.touch("cgi-bin/go")
	file.Close()
	script.Close()
	g.awaitMetric(0, "warmcgi_processes")
}
