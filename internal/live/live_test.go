package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryDurationHasAClassThatHoldsIt(t *testing.T) {
	last := -1
	for us := int64(0); us < 1<<33; us += 1 + us/64 {
		c := class(time.Duration(us) * time.Microsecond)
		require.GreaterOrEqual(t, c, last, us)
		last = c
		if us < 1<<31 {
			require.LessOrEqual(t, begin(c)*1e6, float64(us)+1e-6)
			require.Greater(t, begin(c+1)*1e6, float64(us)+0.5)
		}
	}
	assert.Equal(t, 0, class(-time.Second))
	assert.Equal(t, classes-1, class(1000*time.Hour))
}

func TestPercentilesAreKnownToAnEighth(t *testing.T) {
	var p Pulse
	_, ok := p.Read().Percentile(0.5)
	assert.False(t, ok, "of nothing")
	for i := range 1000 {
		p.Add(time.Duration(i+1)*time.Millisecond, i%10 == 0)
	}
	c := p.Read()
	assert.EqualValues(t, 1000, c.Total)
	assert.EqualValues(t, 100, c.Failed)
	for share, want := range map[float64]float64{0.01: 0.01, 0.5: 0.5, 0.95: 0.95, 0.99: 0.99, 1: 1} {
		got, ok := c.Percentile(share)
		assert.True(t, ok)
		assert.InEpsilon(t, want, got, 0.125, share)
	}
	// Between two moments.
	for range 100 {
		p.Add(10*time.Second, false)
	}
	d := p.Read().Since(c)
	assert.EqualValues(t, 100, d.Total)
	half, _ := d.Percentile(0.5)
	assert.InEpsilon(t, 10, half, 0.25)
	d.Join(c)
	assert.EqualValues(t, 1100, d.Total)
}

func TestAHistoryHasRatesAndForgetsWhatIsOld(t *testing.T) {
	var h History
	var p Pulse
	now := time.Unix(1000, 0)
	for i := range keep + 50 {
		if i > 0 {
			for range 20 {
				p.Add(4*time.Millisecond, false)
			}
			p.Add(time.Second, true)
		}
		s := h.Take(now, p.Read(), 3, i)
		now = now.Add(2 * time.Second)
		if i == 0 {
			assert.Nil(t, s.P50)
			assert.Zero(t, s.Rate)
			continue
		}
		assert.InDelta(t, 10.5, s.Rate, 1e-9)
		assert.InDelta(t, 0.5, s.Errors, 1e-9)
		assert.InEpsilon(t, 0.004, *s.P50, 0.25)
		assert.InEpsilon(t, 1, *s.P99, 0.25)
		assert.Equal(t, 3, s.Queue)
	}
	all := h.Samples()
	assert.Len(t, all, keep)
	assert.Equal(t, keep+49, all[keep-1].Running)
	for range window { // nobody comes any more
		now = now.Add(time.Second)
		h.Take(now, p.Read(), 0, 0)
	}
	last := h.Samples()[keep-1]
	assert.Zero(t, last.Rate)
	assert.Nil(t, last.P95)
}

func TestRequestsEnterAndLeaveInAnyOrder(t *testing.T) {
	var l Requests
	at := time.Unix(1000, 0)
	all := make([]Request, 5)
	for i := range all {
		all[i] = Request{ID: fmt.Sprint(i), Method: "GET", Path: "/x", Query: "q", Began: at.Add(time.Duration(i) * time.Second)}
		l.Enter(&all[i])
	}
	l.Runs(&all[1], "/s")
	ids := func() (s string) {
		for _, u := range l.Oldest(3) {
			s += u.ID
		}
		return s
	}
	assert.Equal(t, "012", ids())
	assert.Equal(t, Underway{ID: "1", Method: "GET", Path: "/x", Query: "q", Script: "/s", Began: at.Add(time.Second)}, l.Oldest(2)[1])
	for _, step := range []struct {
		leave int
		left  string
	}{{0, "123"}, {4, "123"}, {2, "13"}, {3, "1"}, {1, ""}} {
		l.Leave(&all[step.leave])
		assert.Equal(t, step.left, ids())
	}
	assert.Zero(t, l.Len())
}

func TestARequestCostsNoAllocation(t *testing.T) {
	var l Requests
	var p Pulse
	var r Request
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		l.Enter(&r)
		l.Runs(&r, "/s")
		l.Leave(&r)
		p.Add(time.Millisecond, false)
	}))
}

func BenchmarkWhatARequestCosts(b *testing.B) {
	var l Requests
	var p Pulse
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var r Request
		for pb.Next() {
			l.Enter(&r)
			l.Runs(&r, "/s")
			l.Leave(&r)
			p.Add(time.Millisecond, false)
		}
	})
}

func TestAFailureHasTheEndOfItsStandardError(t *testing.T) {
	var f Failures
	for i := range maxLines + 5 {
		f.Line("a", fmt.Sprint("line ", i))
	}
	f.Line("b", strings.Repeat("x", 3*maxLine))
	f.Add(Failure{ID: "a", Script: "/s", Error: strings.Repeat("e", 2*maxText)})
	f.Add(Failure{ID: "b", Script: "/t"})
	f.Add(Failure{ID: "c", Script: "/s"})
	n := f.Changes()
	f.Line("c", "it came later")
	assert.Equal(t, n+1, f.Changes(), "what comes later is new, too")
	f.Line("of one that went well", "x")
	assert.Equal(t, n+1, f.Changes())

	all := f.Last("", 10)
	require.Len(t, all, 3)
	assert.Equal(t, []string{"c", "b", "a"}, []string{all[0].ID, all[1].ID, all[2].ID})
	assert.Equal(t, []string{"it came later"}, all[0].Stderr)
	assert.Len(t, all[1].Stderr[0], maxLine+len("…"))
	assert.Len(t, all[2].Stderr, maxLines)
	assert.Equal(t, fmt.Sprint("line ", maxLines+4), all[2].Stderr[maxLines-1])
	assert.Len(t, all[2].Error, maxText+len("…"))
	assert.EqualValues(t, 1, all[2].Number)
	assert.Len(t, f.Last("/s", 10), 2)
	assert.Len(t, f.Last("", 1), 1)
	assert.NotNil(t, f.Last("/none", 1), "an empty list in JSON")
}

func TestFailuresAndLinesAreBounded(t *testing.T) {
	var f Failures
	for i := range 3 * maxTails {
		id := fmt.Sprint(i)
		f.Line(id, "x")
		f.Add(Failure{ID: id})
		f.Add(Failure{ID: "the same"})
	}
	assert.Len(t, f.Last("", 10*maxFailures), maxFailures)
	assert.Len(t, f.tails, maxTails)
	assert.Len(t, f.order, maxTails)
	assert.Len(t, f.all, maxFailures)
	assert.LessOrEqual(t, len(f.byID), maxFailures)
	assert.EqualValues(t, 6*maxTails, f.Last("", 1)[0].Number)
}
