//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A window is a page in a real, headless Chromium. Its test fails if the page has an error of
// script, or wants something that its Content-Security-Policy forbids.
type window struct {
	t        *testing.T
	ctx      context.Context
	troubles *lastOutput
}

// screen is how large the window is, and what its user likes.
type screen struct {
	width, height int64
	dark          bool
	phone         bool
}

var desktop = screen{width: 1280, height: 900}

// openWindow opens an address.
func openWindow(t *testing.T, url string, s screen) *window {
	t.Helper()
	needs(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(programs["chromium"].path()),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // it is root's, and sees nothing but our own page
		chromedp.Flag("lang", "en-GB"),
		chromedp.Flag("force-color-profile", "srgb"),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeWindow := chromedp.NewContext(allocator)
	t.Cleanup(closeWindow)
	w := &window{t: t, ctx: ctx, troubles: &lastOutput{}}
	require.NoError(t, chromedp.Do(ctx)) // starts the browser
	require.NoError(t, chromedp.Listen(ctx, w.listen))
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	command(w, log.Enable, cdp.Empty{})
	command(w, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	viewport := chromedp.EmulateViewport(s.width, s.height)
	if s.phone {
		viewport = chromedp.EmulateViewport(s.width, s.height, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	w.do(viewport, chromedp.Navigate(url))
	t.Cleanup(func() {
		assert.Empty(t, w.troubles.String(), "the page has errors")
		assert.NoError(t, chromedp.Cancel(ctx))
	})
	return w
}

// listen notes errors. That a request fails when the gateway is down is none of the page's.
func (w *window) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fmt.Fprintln(w.troubles, "exception:", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork && (e.Entry.Level == log.EntryLevelError || e.Entry.Source == log.EntrySourceSecurity) {
			fmt.Fprintln(w.troubles, e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
}

func (w *window) do(steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 2*patience)
	defer cancel()
	require.NoError(w.t, chromedp.Do(ctx, steps...))
}

// command sends a command of the DevTools protocol.
func command[P, R any](w *window, c cdp.Command[P, R], params P) R {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 2*patience)
	defer cancel()
	r, err := chromedp.Call(ctx, c, params)
	require.NoError(w.t, err, c.Method)
	return r
}

// eval is the value of an expression in the page. %s in it stand for args.
func eval[T any](w *window, expression string, args ...any) T {
	w.t.Helper()
	texts := make([]any, len(args))
	for i, a := range args {
		b, err := json.Marshal(a)
		require.NoError(w.t, err)
		texts[i] = string(b)
	}
	if len(args) > 0 {
		expression = fmt.Sprintf(expression, texts...)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 2*patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(w.t, err, expression)
	return v
}

// text is the text of an element, "" where there is none.
func (w *window) text(selector string) string {
	w.t.Helper()
	return eval[string](w, "(document.querySelector(%s) || {innerText: ''}).innerText", selector)
}

// await waits until an expression is true.
func (w *window) await(what, expression string, args ...any) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * patience); !eval[bool](w, expression, args...); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(w.t, "did not happen: "+what, "the page says:\n%s", w.text("body"))
		}
	}
}

// awaitText waits for a text in an element.
func (w *window) awaitText(selector, text string) {
	w.t.Helper()
	w.await(fmt.Sprintf("%s says %q", selector, text), "(document.querySelector(%s) || {innerText: ''}).innerText.includes(%s)", selector, text)
}

func (w *window) click(selector string) {
	w.t.Helper()
	w.do(chromedp.Click(chromedp.CSS(selector)))
}

// press sends keys to whatever has the focus.
func (w *window) press(keys string) {
	w.t.Helper()
	w.do(chromedp.KeyEvent(keys))
}

// focused is the label or the text of the element that keys go to.
func (w *window) focused() string {
	w.t.Helper()
	return eval[string](w, "((e) => e.getAttribute('aria-label') || e.innerText || e.name || e.id || e.tagName)(document.activeElement)")
}

// tabTo presses Tab until an element has the focus, as somebody without a mouse does.
func (w *window) tabTo(label string) {
	w.t.Helper()
	var met []string
	for range 200 {
		w.press(kb.Tab)
		at := strings.TrimSpace(w.focused())
		if at == label {
			return
		}
		met = append(met, at)
	}
	require.FailNow(w.t, "can't be reached by Tab: "+label, "met %q", met)
}

// screenshot is the window, or the whole page, as PNG.
func (w *window) screenshot(whole bool) []byte {
	w.t.Helper()
	return command(w, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole}).Data
}
