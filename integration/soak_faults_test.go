//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Kinds of faults. Only the first may cost a request, and only the one of the process that was killed.
const (
	faultKill    = "processes that were killed: scripts, workers, warm parents, php-fpm's and FastCGI programs'"
	faultStop    = "processes that were stopped for up to a second"
	faultDeploy  = "scripts that were replaced"
	faultReload  = "reloads of the configuration"
	faultRefused = "reloads that were refused, as what they load was killed"
	faultUpgrade = "upgrades of the program"
	faultFlood   = "floods of 200 connections that say nothing, or half a head"
)

var faultKinds = []string{faultKill, faultStop, faultDeploy, faultReload, faultRefused, faultUpgrade, faultFlood}

// A faultLog is what has happened.
type faultLog struct {
	mu    sync.Mutex
	times map[string]int
	kills []kill
}

// kill is of a process of a backend.
type kill struct {
	path string
	at   time.Time
	used bool // it explains a failure
}

func newFaultLog() *faultLog { return &faultLog{times: map[string]int{}} }

func (l *faultLog) add(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times[kind]++
}

func (l *faultLog) count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times[kind]
}

// dying is how long a process that was killed may still have its sockets: the system takes its time where it is busy.
const dying = 100 * time.Millisecond

// unexplained are the failures that no kill explains: each costs at most one request, which was under way and for that backend.
func (l *faultLog) unexplained(failures []failure) (lost []failure) {
	slices.SortFunc(failures, func(a, b failure) int { return a.end.Compare(b.end) })
	for _, f := range failures {
		i := slices.IndexFunc(l.kills, func(k kill) bool {
			return !k.used && k.path == f.path && k.at.Add(dying).After(f.began) && !k.at.After(f.end)
		})
		if i < 0 {
			lost = append(lost, f)
			continue
		}
		l.kills[i].used = true
	}
	return lost
}

// injectors each cause one kind of fault until their context ends. The trial takes d.
func (tr *trial) injectors(t *testing.T, d time.Duration) []func(context.Context) {
	return []func(context.Context){
		every(150*time.Millisecond, tr.killOne),
		every(400*time.Millisecond, tr.stopOne),
		every(2*time.Second, func() { tr.deploy(t) }),
		every(3*time.Second, func() { tr.reload(t) }),
		every(min(d/3, time.Minute), func() { tr.upgrade(t) }),
		every(4*time.Second, func() { tr.flood(t) }),
	}
}

// every calls f now and then, until ctx ends.
func every(pause time.Duration, f func()) func(context.Context) {
	return func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause/2 + rand.N(pause)):
				f()
			}
		}
	}
}

// victim is a process of a backend, at random.
func (tr *trial) victim() (pid int, path string) {
	all := slices.Concat(descendants(tr.pid), descendants(tr.host.pid), descendants(tr.fpm.pid))
	for _, i := range rand.Perm(len(all)) {
		if path := tr.backendOf(all[i]); path != "" {
			return all[i], path
		}
	}
	return 0, ""
}

// backendOf is what a process answers for; "" is nothing, or it is not known (yet).
func (tr *trial) backendOf(pid int) string {
	proc := "/proc/" + strconv.Itoa(pid)
	folder, _ := os.Readlink(proc + "/cwd")
	title, _ := os.ReadFile(proc + "/cmdline")
	for _, b := range tr.backends {
		if b.folder != "" && folder == b.folder || b.title != "" && strings.Contains(string(title), b.title) {
			return b.path
		}
	}
	return ""
}

func (tr *trial) killOne() {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	pid, path := tr.victim()
	if pid == 0 {
		return
	}
	tr.faults.mu.Lock()
	defer tr.faults.mu.Unlock()
	at := time.Now()
	if syscall.Kill(pid, syscall.SIGKILL) == nil {
		tr.faults.times[faultKill]++
		tr.faults.kills = append(tr.faults.kills, kill{path: path, at: at})
	}
}

// stopOne stops a process, and has it go on: nobody may notice more than that it takes longer.
func (tr *trial) stopOne() {
	tr.mu.RLock()
	pid, _ := tr.victim()
	stopped := pid != 0 && syscall.Kill(pid, syscall.SIGSTOP) == nil
	tr.mu.RUnlock()
	if !stopped {
		return
	}
	tr.faults.add(faultStop)
	time.Sleep(rand.N(time.Second))
	syscall.Kill(pid, syscall.SIGCONT)
}

// deploy puts another file of the same effect in a script's place.
func (tr *trial) deploy(t *testing.T) {
	b := tr.backends[rand.IntN(len(tr.backends))]
	ext := filepath.Ext(b.path)
	text, ok := trialScripts[ext]
	if !ok {
		return
	}
	file := filepath.Join(b.folder, filepath.Base(b.path))
	if assert.NoError(t, replaceScript(file, text+"# "+strconv.Itoa(rand.Int())+"\n")) {
		tr.faults.add(faultDeploy)
	}
}

func (tr *trial) reload(t *testing.T) {
	tr.mu.RLock()
	defer tr.mu.RUnlock()
	tr.write(t, rand.IntN(1000))
	out, err := tr.command("reload")
	switch {
	case err == nil:
		tr.faults.add(faultReload)
	case strings.Contains(out, "the warm parent has ended: signal: killed"):
		tr.faults.add(faultRefused)
	default:
		assert.NoError(t, err, out)
	}
}

// upgrade has the gateway replaced by another process of it.
func (tr *trial) upgrade(t *testing.T) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	before := tr.pid
	if n := tr.faults.count(faultUpgrade); n > 0 { // the one before has its last requests to answer
		assert.Eventually(t, func() bool { return hasGone(tr.upgraded) }, patience, 10*time.Millisecond)
	}
	if out, err := tr.command("upgrade"); !assert.NoError(t, err, out) {
		return
	}
	var about struct{ Pid int }
	if err := json.Unmarshal([]byte(newClient(t, tr.admin).get(t, "/api/v1/about").body), &about); !assert.NoError(t, err) {
		return
	}
	assert.NotEqual(t, before, about.Pid)
	tr.server.pid, tr.upgraded = about.Pid, before
	tr.faults.add(faultUpgrade)
}

// flood opens many connections that are of no use, and closes them.
func (tr *trial) flood(t *testing.T) {
	address := strings.TrimPrefix(tr.url(), "http://")
	var conns []net.Conn
	for i := range 200 {
		c, err := net.DialTimeout("tcp", address, patience)
		if !assert.NoError(t, err) {
			break
		}
		conns = append(conns, c)
		if i%2 == 0 {
			fmt.Fprintf(c, "POST /warm/warm.pl?x HTTP/1.1\r\nHost: localhost\r\nContent-Le")
		}
	}
	time.Sleep(rand.N(time.Second))
	for _, c := range conns {
		c.Close()
	}
	tr.faults.add(faultFlood)
}
