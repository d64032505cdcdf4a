//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ask asks for paths of the site.
func (g *gateway) ask(t *testing.T, paths ...string) {
	t.Helper()
	c := newClient(t, g.url())
	for _, p := range paths {
		c.do(t, request{path: p, header: map[string]string{"Connection": "close"}})
	}
}

// keepAsking asks for a path again and again until stop is called. What a page shows of a moment
// only is there however late the browser comes to look.
func (g *gateway) keepAsking(t *testing.T, path string) (stop func()) {
	t.Helper()
	c := newClient(t, g.url())
	stopped := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // ends when stop is called, and the request under way
		for {
			select {
			case <-stopped:
				return
			case <-time.After(50 * time.Millisecond):
				if res, err := c.http.Get(g.url() + path); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(stopped)
		all.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// warmUp has a script loaded.
func (g *gateway) warmUp(t *testing.T, path string) {
	t.Helper()
	for range 5 {
		g.ask(t, path)
	}
	require.Eventually(t, func() bool {
		for _, s := range g.live(t).Scripts {
			if s.Script == path && s.Mode != "spawn" {
				return true
			}
		}
		return false
	}, patience, 20*time.Millisecond, "%s is warm", path)
}

// liveState is what these tests read of /api/v1/live.
type liveState struct {
	Scripts []struct{ Script, Mode, State string }
	Workers []struct {
		Script, State string
		Pid           int
	}
}

func (g *gateway) live(t *testing.T) (st liveState) {
	t.Helper()
	page := newClient(t, g.admin).do(t, request{path: "/api/v1/live", header: map[string]string{"Connection": "close"}})
	require.NoError(t, json.Unmarshal([]byte(page.body), &st))
	return st
}

// parentOf is the process id of a script's warm parent.
func (g *gateway) parentOf(t *testing.T, script string) int {
	t.Helper()
	for _, w := range g.live(t).Workers {
		if w.Script == script && w.State == "parent" {
			return w.Pid
		}
	}
	return 0
}

// row is the row of a script.
func row(script string) string {
	return fmt.Sprintf("[...document.querySelectorAll('#script-rows tr')].find((r) => r.firstElementChild.textContent === '%s')", script)
}

func TestTheDashboardShowsWhatTheGatewayDoes(t *testing.T) {
	dir, yaml := dashboardSite(t)
	g := startGateway(t, dir, yaml)
	w := openWindow(t, g.admin, desktop)
	w.awaitText("#link", "live")
	w.awaitText("#ready", "ready")
	w.awaitText("#scripts-empty", "No script was asked for yet.")

	g.warmUp(t, "/cgi-bin/guestbook.pl")
	g.warmUp(t, "/cgi-bin/search.pl")
	g.ask(t, "/cgi-bin/counter.sh", "/cgi-bin/orders.pl?card=4111111111111111", "/legacy", "/api/items")
	stop := g.keepAsking(t, "/cgi-bin/counter.sh") // rates are those of the moment
	w.await("the script is warm", row("/cgi-bin/guestbook.pl")+"?.querySelector('.badge').textContent === 'warm'")
	w.await("why", row("/cgi-bin/guestbook.pl")+".querySelector('.why').textContent === 'it is asked for often'")
	w.await("the script is reused", row("/cgi-bin/search.pl")+"?.querySelector('.badge').textContent === 'reuse'")
	w.await("why it is spawned", row("/cgi-bin/counter.sh")+".querySelector('.why').textContent.includes('no runner')")
	w.await("its workers", row("/cgi-bin/guestbook.pl")+".innerText.includes('idle of')")
	w.await("a rate", "live.scripts.some((s) => s.rate > 0)")
	w.awaitText("#worker-rows", "warm parent")
	w.awaitText("#server-rows", "pid ")
	w.awaitText("#server-rows", "left out: unreachable")

	// The charts move: a line has been drawn, and goes on.
	w.await("there is a line", "document.querySelector('#chart-rate .line').getAttribute('d').length > 20")
	before := eval[string](w, "document.querySelector('#chart-rate .line').getAttribute('d')")
	w.await("it goes on", "document.querySelector('#chart-rate .line').getAttribute('d') !== %s", before)
	w.await("it has the requests", "samples.some((s) => s.rate >= 1)")
	w.await("and how long they took", "samples.some((s) => s.p50 > 0 && s.p99 >= s.p50)")
	stop()

	// A request that takes its time has its process, its age and its path, but not its query.
	stop = g.keepAsking(t, "/cgi-bin/report.py?year")
	w.awaitText("#request-rows", "GET /cgi-bin/report.py")
	w.awaitText("#worker-rows", "GET /cgi-bin/report.py")
	assert.NotContains(t, w.text("body"), "year")
	stop()
	assert.NotContains(t, w.text("body"), "4111111111111111")
}

func TestWhatAScriptWritesToStandardErrorIsShownAsText(t *testing.T) {
	dir, yaml := dashboardSite(t)
	g := startGateway(t, dir, yaml)
	g.ask(t, "/cgi-bin/orders.pl", "/cgi-bin/orders.pl/<img src=x onerror=alert(2)>")
	w := openWindow(t, g.admin, desktop)
	w.awaitText("#failure-rows", "no output")
	w.awaitText("#failure-rows", "502")
	w.click("#failure-rows li summary")
	w.awaitText("#failure-rows pre", "could not connect to server: Connection refused")
	w.awaitText("#failure-rows pre", "<script>document.title = 'stolen'</script><img src=x onerror=alert(1)>")
	w.awaitText("#failure-rows", "/cgi-bin/orders.pl/<img src=x onerror=alert(2)>")
	assert.Zero(t, eval[int](w, "document.querySelectorAll('main script, main img').length"))
	assert.NotContains(t, eval[string](w, "document.title"), "stolen")
	// One that comes later is shown, too, and what was opened stays open.
	g.ask(t, "/down/items")
	w.awaitText("#failure-rows", "unreachable")
	assert.Equal(t, 1, eval[int](w, "document.querySelectorAll('#failure-rows details[open]').length"))
}

func TestAScriptIsRestartedWithTheKeyboardAlone(t *testing.T) {
	dir, yaml := dashboardSite(t)
	g := startGateway(t, dir, yaml)
	g.warmUp(t, "/cgi-bin/guestbook.pl")
	parent := g.parentOf(t, "/cgi-bin/guestbook.pl")
	w := openWindow(t, g.admin, desktop)
	w.await("the script is there", row("/cgi-bin/guestbook.pl")+" !== undefined")

	w.tabTo("Restart: /cgi-bin/guestbook.pl")
	assert.NotEqual(t, "none", eval[string](w, "getComputedStyle(document.activeElement).outlineStyle"), "the focus is seen")
	// The focus stays where it is while all is shown anew, every second.
	at := eval[float64](w, "samples.length")
	w.await("two seconds pass", "samples.length >= %s + 2", at)
	require.Equal(t, "Restart: /cgi-bin/guestbook.pl", w.focused())

	w.press(kb.Enter)
	w.await("the question is asked", "document.getElementById('ask').open")
	w.awaitText("#ask-text", "/cgi-bin/guestbook.pl is loaded anew")
	assert.Equal(t, "Cancel", w.focused(), "what does nothing has the focus")
	w.press(kb.Escape)
	w.await("it is taken back", "!document.getElementById('ask').open")
	require.Equal(t, "Restart: /cgi-bin/guestbook.pl", w.focused(), "and the focus comes back")
	require.Equal(t, parent, g.parentOf(t, "/cgi-bin/guestbook.pl"))

	w.press(kb.Enter)
	w.await("the question is asked", "document.getElementById('ask').open")
	w.press(kb.Tab)
	require.Equal(t, "Restart", w.focused())
	w.press(kb.Enter)
	w.awaitText("#note", "/cgi-bin/guestbook.pl is loaded anew")
	require.Eventually(t, func() bool {
		p := g.parentOf(t, "/cgi-bin/guestbook.pl")
		return p != 0 && p != parent
	}, patience, 20*time.Millisecond, "another warm parent")
	assert.InDelta(t, 1, g.metric(t, "warmcgi_admin_actions_total", `action="restart",result="done"`), 0)
	assert.Contains(t, g.out.String(), "action=restart by=127.0.0.1")
}

func TestModeWorkersAndDrainAreSetInTheDashboard(t *testing.T) {
	dir, yaml := dashboardSite(t)
	g := startGateway(t, dir, yaml)
	g.warmUp(t, "/cgi-bin/guestbook.pl")
	w := openWindow(t, g.admin, desktop)
	button := func(label string) string { return fmt.Sprintf(`button[aria-label="%s: /cgi-bin/guestbook.pl"]`, label) }
	w.await("the script is there", row("/cgi-bin/guestbook.pl")+" !== undefined")

	w.click(button("Mode"))
	w.click("#ask input[value=spawn]")
	w.click("#ask-yes")
	w.awaitText("#note", "held in mode spawn")
	w.await("it is held", row("/cgi-bin/guestbook.pl")+".innerText.includes('held in mode spawn by 127.0.0.1')")
	w.click(button("Mode"))
	w.click("#ask input[value=configured]")
	w.click("#ask-yes")
	w.await("it is not", "!"+row("/cgi-bin/guestbook.pl")+".innerText.includes('held')")

	w.click(button("Workers"))
	eval[bool](w, "(document.querySelector('#ask [name=max]').value = 3, document.querySelector('#ask [name=spare]').value = 5, true)")
	w.click("#ask-yes")
	w.awaitText("#ask-error", "spare from 0 to max")
	eval[bool](w, "(document.querySelector('#ask [name=spare]').value = 1, true)")
	w.click("#ask-yes")
	w.await("it has the workers", row("/cgi-bin/guestbook.pl")+".innerText.includes('of 3')")
	w.await("and says who has said so", row("/cgi-bin/guestbook.pl")+".innerText.includes('workers set by 127.0.0.1')")

	w.click("#drain")
	w.click("#ask-yes")
	w.awaitText("#ready", "draining")
	w.awaitText("#drain", "End draining")
	res, err := http.Get(g.admin + "/readyz")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	g.ask(t, "/legacy") // it is served all the same
	w.click("#drain")
	w.click("#ask-yes")
	w.awaitText("#ready", "ready")
	http.DefaultClient.CloseIdleConnections()
}

func TestALostConnectionIsShownAndFoundAgain(t *testing.T) {
	dir, yaml := dashboardSite(t)
	port := freePort(t)
	yaml += fmt.Sprintf("admin: 127.0.0.1:%d\n", port)
	g := startGateway(t, dir, yaml)
	w := openWindow(t, g.admin, desktop)
	w.awaitText("#link", "live")
	assert.False(t, eval[bool](w, "!document.getElementById('lost').hidden"))
	g.end(t)
	w.awaitText("#note", "What is shown is old.") // it goes after twelve seconds
	w.awaitText("#link", "connection lost")
	w.awaitText("#lost", "Connection lost.")
	w.awaitText("#lost", "Next try in")
	again := startGateway(t, dir, yaml)
	w.await("it has tried more than once, or is back", "document.body.dataset.link === 'live' || failedTries > 0")
	eval[bool](w, "(document.getElementById('retry').click(), true)")
	w.awaitText("#link", "live")
	w.awaitText("#note", "Connected again.")
	w.await("the banner has gone", "document.getElementById('lost').hidden")
	require.NotEqual(t, g.pid, again.pid)

	// A gateway that hangs says nothing, either: no connection ends.
	require.NoError(t, syscall.Kill(again.pid, syscall.SIGSTOP))
	t.Cleanup(func() { syscall.Kill(again.pid, syscall.SIGCONT) })
	w.awaitText("#lost", "Nothing came for a while.")
	require.NoError(t, syscall.Kill(again.pid, syscall.SIGCONT))
	w.awaitText("#link", "live")
}

func TestTheDashboardAsksForTheToken(t *testing.T) {
	dir, yaml := dashboardSite(t)
	const token = "correct-horse-battery-staple"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte(token+"\n"), 0o600))
	yaml += "admin: {listen: 127.0.0.1:0, token_file: token}\n"
	g := startGateway(t, dir, yaml)
	w := openWindow(t, g.admin, desktop)
	w.await("the token is asked for", "document.getElementById('token').open")
	assert.Equal(t, "token-value", eval[string](w, "document.activeElement.id"))
	w.press("wrong-wrong-wrong-wrong" + kb.Enter)
	w.awaitText("#token-error", "the token is wrong")
	w.press(kb.Escape)
	w.await("there is nothing without it", "document.getElementById('token').open")
	w.press(token + kb.Enter)
	w.awaitText("#link", "live")
	assert.Equal(t, token, eval[string](w, "sessionStorage.getItem('warmcgi-token')"))
	assert.NotContains(t, eval[string](w, "location.href"), "correct")

	// It opens control, and a page that is loaded again in the same tab.
	w.click("#drain")
	w.click("#ask-yes")
	w.awaitText("#ready", "draining")
	eval[bool](w, "(location.reload(), true)")
	w.awaitText("#ready", "draining")
	w.awaitText("#link", "live")
	assert.NotContains(t, g.out.String(), token)
}

func TestTheDashboardFitsAPhone(t *testing.T) {
	dir, yaml := dashboardSite(t)
	long := "/cgi-bin/" + strings.Repeat("a-very-long-name-of-a-script-", 4) + ".pl"
	writeFile(t, filepath.Join(dir, long), dashboardScripts["orders.pl"], 0o755)
	g := startGateway(t, dir, yaml)
	g.warmUp(t, "/cgi-bin/guestbook.pl")
	g.ask(t, long, "/cgi-bin/orders.pl/"+strings.Repeat("x", 300), "/api/items", "/cgi-bin/gallery.pl")
	w := openWindow(t, g.admin, screen{width: 360, height: 740, phone: true})
	w.awaitText("#script-rows", "guestbook")
	w.awaitText("#failure-rows", "xxxx")
	eval[bool](w, "(document.querySelectorAll('details').forEach((d) => { d.open = true; }), true)")
	for _, width := range []int64{320, 360, 560, 1000, 1001, 1080, 1280} {
		command(w, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 740, DeviceScaleFactor: 1, Mobile: width < 800})
		w.await("the width is in force", "window.innerWidth <= %s", width)
		assert.LessOrEqual(t, eval[int64](w, "document.documentElement.scrollWidth"), width, "nothing to scroll sideways at %d", width)
	}
	command(w, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 360, Height: 740, DeviceScaleFactor: 1, Mobile: true})
	w.click(`button[aria-label="Mode: /cgi-bin/guestbook.pl"]`)
	w.await("the question fits", "(({left, right}) => left >= 0 && right <= 360)(document.getElementById('ask').getBoundingClientRect())")
	assert.GreaterOrEqual(t, eval[float64](w, "document.getElementById('ask-yes').getBoundingClientRect().height"), 30.0, "a finger finds it")
}

func TestTheDashboardHasADarkMode(t *testing.T) {
	dir, yaml := dashboardSite(t)
	g := startGateway(t, dir, yaml)
	g.warmUp(t, "/cgi-bin/guestbook.pl")
	g.ask(t, "/cgi-bin/orders.pl", "/api/items")
	// Contrast as WCAG has it (1.4.3): 4.5 for text.
	const contrast = `
	((least) => {
		const parse = (c) => c.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
		const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } };
		const bad = [];
		for (const e of document.querySelectorAll('body *')) {
			if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.disabled) continue;
			const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
			const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (ratio < least) bad.push(e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
		}
		return bad;
	})(4.5)`
	background := map[bool]string{}
	for _, dark := range []bool{false, true} {
		w := openWindow(t, g.admin, screen{width: 1280, height: 900, dark: dark})
		w.awaitText("#script-rows", "guestbook")
		w.awaitText("#failure-rows", "no output")
		background[dark] = eval[string](w, "getComputedStyle(document.body).backgroundColor")
		assert.Empty(t, eval[[]string](w, contrast), "dark: %v", dark)
	}
	assert.NotEqual(t, background[false], background[true])
}

// A page of somebody else's, in the same browser, can't do anything.
func TestAPageOfAnotherOriginDoesNotReachTheGateway(t *testing.T) {
	dir, yaml := dashboardSite(t)
	writeFile(t, filepath.Join(dir, "cgi-bin", "evil.sh"), "#!/bin/sh\nprintf 'Content-Type: text/html\\n\\n<!doctype html><title>evil</title>'\n", 0o755)
	g := startGateway(t, dir, yaml)
	w := openWindow(t, g.url()+"/cgi-bin/evil.sh", desktop)
	w.await("it has loaded", "document.title === 'evil'")
	for _, attack := range []string{
		`fetch(%s + '/api/v1/drain', {method: 'PUT', headers: {'Content-Type': 'application/json', 'X-Warmcgi-Control': '1'}, body: '{"draining": true}'})`,
		`fetch(%s + '/api/v1/reload', {method: 'POST', mode: 'no-cors', body: '{}'})`,
		`fetch(%s + '/api/v1/live').then((r) => r.text())`,
	} {
		eval[bool](w, `(window.outcome = '', `+attack+`.then((r) => { window.outcome = r.type === 'opaque' ? 'opaque' : 'got it'; }, () => { window.outcome = 'refused'; }), true)`, g.admin)
		w.await("it has come to an end", "window.outcome !== ''")
		assert.NotEqual(t, "got it", eval[string](w, "window.outcome"), attack)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.admin+"/readyz", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	assert.Zero(t, g.metric(t, "warmcgi_admin_actions_total", `result="done"`))
	assert.NotZero(t, g.metric(t, "warmcgi_admin_refused_total", ""))
	w.troubles.reset() // the console tells of what was refused
}
