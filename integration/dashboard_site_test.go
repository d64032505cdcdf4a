//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// dashboardScripts are a small site that shows all that the dashboard can.
var dashboardScripts = map[string]string{
	"search.pl": `#!/usr/bin/perl
# cgi: reuse
use strict; use CGI ();
my $q = CGI->new;
select undef, undef, undef, 0.002 + rand 0.004;
print $q->header('text/plain'), "found\n";
`,
	"guestbook.pl": `#!/usr/bin/perl
use strict; use CGI (); use POSIX ();
my $q = CGI->new;
select undef, undef, undef, 0.01;
print $q->header('text/plain'), "written\n";
`,
	"report.py": `#!/usr/bin/python3
import json, os, time
time.sleep(0.03 if os.environ["QUERY_STRING"] != "year" else 4)
print("Content-Type: text/plain\n")
print(json.dumps({"pages": 3}))
`,
	"gallery.pl": `#!/usr/bin/perl
use strict;
open my $log, '>>', '/dev/null' or die;
print "Content-Type: text/plain\n\npictures\n";
BEGIN { open our $kept, '<', '/etc/hostname' }
`,
	"orders.pl": `#!/usr/bin/perl
use strict;
print STDERR "DBI connect('orders','shop') failed: could not connect to server: Connection refused\n";
print STDERR "note from the form: <script>document.title = 'stolen'</script><img src=x onerror=alert(1)>\n";
exit 3;
`,
	"counter.sh": `#!/bin/sh
printf 'Content-Type: text/plain\n\n42\n'
`,
}

const dashboardYAML = `
listen: [{http: 127.0.0.1:0}]
log: {access: {format: off}}
routes:
  - {path: /cgi-bin/, cgi: {dir: cgi-bin}}
  - {path: /legacy, cgi: {program: cgi-bin/counter.sh}, mode: spawn}
  - {path: /shop, fastcgi: {program: /usr/bin/php-cgi, processes: 2}}
  - {path: /api, fastcgi: {servers: ["%s", "127.0.0.1:%d"]}}
  - {path: /down, fastcgi: {servers: ["127.0.0.1:%[2]d"]}}
`

// dashboardSite writes it, and starts a FastCGI server for /api; the other one of it, which is
// asked first, is missing.
func dashboardSite(t *testing.T) (dir, yaml string) {
	t.Helper()
	needs(t, "perl", "CGI.pm", "python3", "php-cgi")
	dir = tempDir(t)
	for name, text := range dashboardScripts {
		writeFile(t, filepath.Join(dir, "cgi-bin", name), text, 0o755)
	}
	host := startHost(t, dir, filepath.Join(dir, "cgi-bin", "counter.sh"), "--listen", "tcp:127.0.0.1:0")
	return dir, fmt.Sprintf(dashboardYAML, host.url(), freePort(t))
}

// visitors ask for the site's pages until the test ends, more and less often.
func visitors(t *testing.T, g *gateway) {
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	c := newClient(t, g.url())
	began := time.Now()
	visit := func(path string, mean time.Duration) {
		all.Go(func() { // ends with the test
			for {
				swing := 1 + 0.6*math.Sin(2*math.Pi*time.Since(began).Seconds()/100)
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Duration(rand.ExpFloat64() * float64(mean) / swing)):
				}
				r, _ := http.NewRequestWithContext(ctx, http.MethodGet, g.url()+path, nil)
				if res, err := c.http.Do(r); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		})
	}
	for range 4 {
		visit("/cgi-bin/search.pl?q=warm", 40*time.Millisecond)
		visit("/cgi-bin/guestbook.pl", 120*time.Millisecond)
		visit("/cgi-bin/report.py", 200*time.Millisecond)
	}
	visit("/cgi-bin/report.py?year", 4*time.Second)
	visit("/cgi-bin/gallery.pl", time.Second)
	visit("/cgi-bin/orders.pl?card=4111111111111111", 15*time.Second)
	visit("/cgi-bin/counter.sh", 2*time.Second)
	visit("/legacy", 3*time.Second)
	visit("/api/items", 5*time.Second)
	t.Cleanup(func() {
		stop()
		all.Wait()
	})
}
