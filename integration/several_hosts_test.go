//go:build linux

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nameServer is a dnsmasq that knows one name, at a system's usual port.
type nameServer struct {
	*server
	hosts string
}

const (
	nameServerAddr = "127.0.0.77"
	hostsName      = "scripts.test"
)

func startNameServer(t *testing.T, dir string, addresses ...string) *nameServer {
	t.Helper()
	needs(t, "dnsmasq")
	n := &nameServer{hosts: filepath.Join(dir, "hosts")}
	n.write(t, addresses)
	n.server = startServer(t, "dnsmasq", exec.Command("/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
		"--addn-hosts="+n.hosts, "--listen-address="+nameServerAddr, "--bind-interfaces", "--user=root", "--pid-file=", "--log-facility=-", "--local-ttl=0"))
	n.awaitDial(t, "tcp", nameServerAddr+":53")
	return n
}

func (n *nameServer) write(t *testing.T, addresses []string) {
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintln(&b, a, hostsName)
	}
	writeFile(t, n.hosts, b.String(), 0o644)
}

// set changes what the name stands for.
func (n *nameServer) set(t *testing.T, addresses ...string) {
	n.write(t, addresses)
	require.NoError(t, syscall.Kill(n.pid, syscall.SIGHUP))
}

// askedVia has a program see a resolv.conf of its own.
func askedVia(t *testing.T, dir string) []string {
	conf := writeFile(t, filepath.Join(dir, "resolv.conf"), "nameserver "+nameServerAddr+"\n", 0o644)
	return []string{"unshare", "--mount", "sh", "-c", "mount --bind " + conf + " /etc/resolv.conf && exec \"$@\"", "sh"}
}

// answers are the GETs of a steady load.
type answers struct {
	mu     sync.Mutex
	all    int
	failed []string
	last   []hostAnswer // of all
}

type hostAnswer struct {
	at   time.Time
	took time.Duration
	host string
}

func (a *answers) add(r hostAnswer, err string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all++
	if err != "" {
		a.failed = append(a.failed, fmt.Sprintf("%s after %s", err, r.took))
		return
	}
	a.last = append(a.last, r)
}

// since is how many answers each host has given since then, and the longest that one took.
func (a *answers) since(then time.Time) (by map[string]int, longest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	by = map[string]int{}
	for i := len(a.last) - 1; i >= 0 && a.last[i].at.After(then); i-- {
		by[a.last[i].host]++
		longest = max(longest, a.last[i].took)
	}
	return by, longest
}

// load asks steadily, with some connections, until ctx ends.
func (a *answers) load(ctx context.Context, t *testing.T, url string, conns int, pause time.Duration) *sync.WaitGroup {
	var wg sync.WaitGroup
	for k := range conns {
		wg.Go(func() {
			c := newClient(t, url)
			defer c.http.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				token := fmt.Sprintf("%d.%d", k, i)
				began := time.Now()
				r, err := c.try(request{path: "/search?" + token})
				answer := hostAnswer{at: time.Now(), took: time.Since(began)}
				var host, got string
				fmt.Sscan(r.body, &host, &got)
				answer.host = host
				switch {
				case err != nil:
					a.add(answer, err.Error())
				case r.status != 200 || got != token:
					a.add(answer, fmt.Sprint(r.status, " ", r.body))
				default:
					a.add(answer, "")
				}
				time.Sleep(pause)
			}
		})
	}
	return &wg
}

// Three script hosts behind one name: one is killed, one hangs, one is slow, one is added.
func TestTheLoadMovesAwayFromScriptHostsInTroubleAndToNewOnes(t *testing.T) {
	needs(t, "perl")
	needsRoot(t) // for a resolv.conf of its own, and the port of DNS
	dir := tempDir(t)
	script := writeFile(t, filepath.Join(dir, "search.pl"), `#!/usr/bin/perl
select undef, undef, undef, -e "$ENV{SITE}/slow$ENV{HOST}" ? 0.5 : 0.005;
print "Content-Type: text/plain\n\n$ENV{HOST} $ENV{QUERY_STRING}\n";
`, 0o755)
	port := freePort(t)
	address := func(i int) string { return fmt.Sprintf("127.0.0.%d", i) }
	start := func(i int) *gateway {
		return startHost(t, dir, script, "--listen", fmt.Sprintf("tcp:%s:%d", address(i), port), "--mode", "warm",
			"--env", fmt.Sprint("HOST=", i), "--env", "SITE="+dir)
	}
	hosts := map[int]*gateway{2: start(2), 3: start(3), 4: start(4)}
	ns := startNameServer(t, dir, address(2), address(3), address(4))
	g := startGatewayAs(t, dir, fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /search, fastcgi: {dns: "%s:%d", refresh: 500ms, health: {check: values, every: 500ms, timeout: 500ms}}}
`, hostsName, port), how{via: askedVia(t, dir)})

	ctx, stop := context.WithCancel(t.Context())
	a := &answers{}
	wg := a.load(ctx, t, g.url(), 12, 5*time.Millisecond)
	share := func(d time.Duration, host int) float64 {
		by, _ := a.since(time.Now().Add(-d))
		all := 0
		for _, n := range by {
			all += n
		}
		if all == 0 {
			return -1
		}
		return float64(by[fmt.Sprint(host)]) / float64(all)
	}
	// moves waits until a host's share of the answers is as wanted, and tells when.
	moves := func(what string, is func() bool) {
		t.Helper()
		began := time.Now()
		assert.Eventually(t, is, patience, 20*time.Millisecond, what)
		by, longest := a.since(began)
		t.Logf("%s: the load has moved after %v; the longest GET took %v; answers %v", what, time.Since(began).Round(10*time.Millisecond), longest.Round(time.Millisecond), by)
	}
	const window = 300 * time.Millisecond
	third := func(i int) bool { s := share(window, i); return s > 0.2 && s < 0.5 }
	moves("all share the load", func() bool { return third(2) && third(3) && third(4) })

	require.NoError(t, syscall.Kill(hosts[2].pid, syscall.SIGKILL))
	hosts[2].owed = true
	moves("host 2 was killed", func() bool { return share(window, 2) == 0 })

	hosts[2] = start(2)
	moves("host 2 is there again", func() bool { return third(2) })

	require.NoError(t, syscall.Kill(hosts[3].pid, syscall.SIGSTOP))
	began := time.Now()
	moves("host 3 hangs", func() bool {
		by, _ := a.since(began)
		return share(window, 3) == 0 && by["2"]+by["4"] > 0 && g.metric(t, "warmcgi_fastcgi_server_up", address(3)) == 0 &&
			g.metric(t, "warmcgi_fastcgi_server_requests", address(3)) == 0
	})
	require.NoError(t, syscall.Kill(hosts[3].pid, syscall.SIGCONT))
	moves("host 3 goes on", func() bool { return third(3) })

	require.NoError(t, os.WriteFile(filepath.Join(dir, "slow4"), nil, 0o644))
	moves("host 4 is slow", func() bool { return share(window, 4) < 0.1 })
	require.NoError(t, os.Remove(filepath.Join(dir, "slow4")))
	moves("host 4 is quick again", func() bool { return third(4) })

	start(5)
	ns.set(t, address(2), address(3), address(4), address(5))
	moves("host 5 was added", func() bool { s := share(window, 5); return s > 0.15 })
	ns.set(t, address(3), address(4), address(5))
	moves("host 2 is not in the name any more", func() bool { return share(window, 2) == 0 })

	stop()
	wg.Wait()
	t.Logf("%d of %d GETs failed: %q", len(a.failed), a.all, a.failed)
	assert.Less(t, float64(len(a.failed)), float64(a.all)/1000)
	t.Logf("sent elsewhere: %v; left out: %v", g.metric(t, "warmcgi_fastcgi_retries_total", ""), g.metric(t, "warmcgi_fastcgi_left_out_total", ""))
}
