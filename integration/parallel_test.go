//go:build linux

package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// h2 makes the client speak HTTP/2 without TLS.
func (c *client) h2() *client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c.http.Transport.(*http.Transport).Protocols = p
	return c
}

func TestParallelRequestsNeverGetEachOthersAnswers(t *testing.T) {
	needs(t, "nginx")
	const clients, requests = 16, 200
	s := newSite(t)
	socket := filepath.Join(s.dir, "warmcgi.sock")
	g := startGateway(t, s.dir, strings.Replace(strings.ReplaceAll(scriptsYAML, "@DIR@", s.dir), "  - http: 127.0.0.1:0\n",
		"  - http: 127.0.0.1:0\n  - fastcgi: unix:"+socket+"\n    scripts: ["+s.bin+"]\n", 1)+`
log: {access: {format: "off"}}
`)
	front := s.nginx(t, socket)
	before := balanceOf(t, g)
	began := time.Now()
	var work errgroup.Group
	for n := range clients {
		var c *client
		switch n % 4 {
		case 0, 1:
			c = newClient(t, g.url())
		case 2:
			c = newClient(t, g.url()).h2()
		case 3:
			c = newClient(t, front)
		}
		work.Go(func() error {
			defer c.http.CloseIdleConnections()
			for i := range requests {
				token := fmt.Sprintf("token-%d-%d", n, i)
				q := request{path: "/cgi-bin/echo.cgi/" + token + "?q=" + token, header: map[string]string{"X-Token": token, "Cookie": "c=" + token}}
				if i%2 == 1 {
					q.method, q.body, q.chunked = http.MethodPost, strings.Repeat(token, 1+i*4), i%4 == 3
				}
				a, err := c.try(q)
				if err != nil {
					return fmt.Errorf("%s: %w", token, err)
				}
				if a.status != http.StatusOK || a.header.Get("X-Token") != token {
					return fmt.Errorf("%s: status %d, X-Token %q", token, a.status, a.header.Get("X-Token"))
				}
				if want := fmt.Sprintf("body %d octets: %s", len(q.body), q.body); !strings.HasSuffix(a.body, want) {
					return fmt.Errorf("%s: the body is not its own: %.300q", token, a.body)
				}
				for _, want := range []string{"PATH_INFO=/" + token, "QUERY_STRING=q=" + token, "HTTP_X_TOKEN=" + token, "HTTP_COOKIE=c=" + token} {
					if !strings.Contains(a.body, want+"\n") {
						return fmt.Errorf("%s: no %s in %.300q", token, want, a.body)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, work.Wait())
	t.Logf("%d requests in %v", clients*requests, time.Since(began).Round(time.Millisecond))
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
	assert.EqualValues(t, clients*requests, g.metric(t, "warmcgi_requests_total", `status="200"`))
	assertNothingLeft(t, g, before)
}
