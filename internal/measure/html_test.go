package measure

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/load"
)

// sample is a report of two modes, with a third that was not possible.
func sample() *Report {
	r := &Report{Subject: "/srv/</script><b>form.pl", Script: true, Request: "GET /form.pl", Connections: 4, Duration: 1, Rounds: 2, Command: "gateway bench", Machine: ThisMachine()}
	for i, mode := range []string{"spawn", "warm"} {
		s := &Series{Name: mode}
		for _, n := range []int{1, 2, 4} {
			for range 2 {
				x := &load.Result{Elapsed: time.Second, Right: 500, Within: 500, Latency: load.NewHistogram(), Refused: load.NewHistogram(), Late: load.NewHistogram()}
				for k := range 500 {
					x.Latency.RecordValue(int64(k+1) * int64(time.Millisecond) / int64(i*9+1))
				}
				round := s.step(n).add(x)
				round.CPU, round.Gateway, round.Memory, round.Peak = 0.01, 0.001, 30<<20, 40<<20
			}
		}
		r.Series = append(r.Series, s)
	}
	r.Series = append(r.Series, &Series{Name: "reuse", Missing: "it captures $x"})
	return r
}

// browser finds chromium; where it is missing the test fails, as scripts/setup installs it.
func browser(t *testing.T, width int) context.Context {
	t.Helper()
	bin, err := exec.LookPath("chromium")
	require.NoError(t, err, "run scripts/setup")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(bin), chromedp.NoSandbox, chromedp.WindowSize(width, 900), chromedp.UserDataDir(t.TempDir()))
	limited, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewExecAllocator(limited, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() { chromedp.Cancel(ctx); cancel() })
	return ctx
}

// evaluate runs a script in the page.
func evaluate[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	require.NoError(t, err)
	return v
}

func TestTheChartsOfTheReportAreDrawnInARealBrowser(t *testing.T) {
	r := sample()
	file := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, r.WriteHTML(f))
	require.NoError(t, f.Close())
	for name, width := range map[string]int{"desk": 1200, "phone": 390} {
		t.Run(name, func(t *testing.T) {
			ctx := browser(t, width)
			_, err := chromedp.Run(ctx, chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
			require.NoError(t, err)
			_, err = chromedp.Run(ctx, chromedp.WaitVisible("#memory path.bar"))
			require.NoError(t, err)
			points := evaluate[map[string]map[string]int](t, ctx, `Object.fromEntries([...document.querySelectorAll('figure')].map(f => [f.id,
				Object.fromEntries([...f.querySelectorAll('svg.chart path.line')].map(p => [p.dataset.series, p.getAttribute('d').split(/[ML]/).length - 1]))]))`)
			bars := evaluate[map[string]int](t, ctx, `Object.fromEntries([...document.querySelectorAll('figure')].map(f => [f.id, f.querySelectorAll('path.bar').length]))`)
			tables := evaluate[int](t, ctx, `document.querySelectorAll('figure details table').length`)
			wide := evaluate[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`)
			asked := evaluate[int](t, ctx, `performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length`)
			title := evaluate[string](t, ctx, `document.querySelector('h1').textContent`)
			tip := evaluate[string](t, ctx, `(() => { const s = document.querySelector('#latency svg.chart'), b = s.getBoundingClientRect();
				s.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + b.width / 2, clientY: b.top + 50})); return document.getElementById('tip').textContent; })()`)
			curve := len(r.Series[0].Full().Curve)
			require.Greater(t, curve, 20)
			assert.Equal(t, map[string]int{"spawn": curve, "warm": curve}, points["latency"])
			assert.Equal(t, map[string]int{"spawn": 3, "warm": 3}, points["scaling"])
			assert.Equal(t, map[string]int{"spawn": 3, "warm": 3}, points["waiting"])
			assert.Equal(t, 2, bars["rates"])
			assert.Equal(t, 4, bars["cpu"], "script and gateway of each")
			assert.Equal(t, 2, bars["memory"])
			assert.Equal(t, 6, tables)
			assert.LessOrEqual(t, wide, 0, "the page is wider than its window")
			assert.Zero(t, asked, "the page asks for something")
			assert.Equal(t, "form.pl", title[len(title)-7:])
			assert.Regexp(t, `of the answers within.*spawn.*ms.*warm.*ms`, tip)
		})
	}
}

func TestABenchstatFileHasALineForEachRound(t *testing.T) {
	var b writer
	require.NoError(t, sample().WriteBenchstat(&b))
	units := parseBenchstat(t, string(b))
	assert.Len(t, units, 2*3*2)
	for _, u := range units {
		assert.Equal(t, 500.0, u["req/s"])
		assert.Positive(t, u["sec/op"])
		assert.Positive(t, u["p99-sec"])
	}
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }
