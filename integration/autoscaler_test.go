//go:build linux

package integration

import (
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An autoscaler decides as Kubernetes' HorizontalPodAutoscaler does, by Pods metrics.
type autoscaler struct {
	Spec struct {
		MinReplicas int `yaml:"minReplicas"`
		MaxReplicas int `yaml:"maxReplicas"`
		Metrics     []struct{ Pods *podsMetric }
		Behavior    struct {
			ScaleUp   scalingRules `yaml:"scaleUp"`
			ScaleDown scalingRules `yaml:"scaleDown"`
		}
	}
	advised []advice
	changes []advice // of the number there is
}

type podsMetric struct {
	Metric struct{ Name string }
	Target struct {
		AverageValue quantity `yaml:"averageValue"`
	}
}

// quantity is a number as Kubernetes writes it: 600m is 0.6.
type quantity float64

func (q *quantity) UnmarshalYAML(b []byte) error {
	text, milli := strings.CutSuffix(strings.Trim(strings.TrimSpace(string(b)), `"`), "m")
	n, err := strconv.ParseFloat(text, 64)
	if milli {
		n /= 1000
	}
	*q = quantity(n)
	return err
}

type scalingRules struct {
	StabilizationWindowSeconds int `yaml:"stabilizationWindowSeconds"`
	Policies                   []struct {
		Type          string
		Value         int
		PeriodSeconds int `yaml:"periodSeconds"`
	}
}

type advice struct {
	at time.Time
	n  int
}

// readAutoscaler takes the first one of a file, and has its time pass faster by a factor.
func readAutoscaler(t *testing.T, file string, faster int) *autoscaler {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(b), "\n---\n")
	a := &autoscaler{}
	require.NoError(t, yaml.Unmarshal([]byte(first), a))
	require.NotEmpty(t, a.Spec.Behavior.ScaleDown.Policies)
	for _, r := range []*scalingRules{&a.Spec.Behavior.ScaleUp, &a.Spec.Behavior.ScaleDown} {
		r.StabilizationWindowSeconds = r.StabilizationWindowSeconds * 1000 / faster // milliseconds
		for i := range r.Policies {
			r.Policies[i].PeriodSeconds = r.Policies[i].PeriodSeconds * 1000 / faster
		}
	}
	return a
}

// tolerance is how far from its target a metric may be before anything happens.
const tolerance = 0.1

// byMetric is what one metric asks for. Pods of which nothing is known yet do nothing where more are asked for, and as much as they
// should where less are.
func byMetric(pods int, values []float64, target float64) int {
	if len(values) == 0 {
		return pods
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	ratio := sum / float64(len(values)) / target
	if math.Abs(ratio-1) <= tolerance {
		return pods
	}
	if missing := pods - len(values); missing > 0 {
		if ratio < 1 {
			sum += float64(missing) * target
		}
		again := sum / float64(pods) / target
		if math.Abs(again-1) <= tolerance || (again > 1) != (ratio > 1) {
			return pods
		}
		ratio = again
	}
	n := int(math.Ceil(ratio*float64(pods) - 1e-9))
	if ratio > 1 && n < pods || ratio < 1 && n > pods {
		return pods
	}
	return n
}

// decide is how many pods there should be, where values has those of each metric, by its name.
func (a *autoscaler) decide(now time.Time, pods int, values map[string][]float64) int {
	want := 0
	for _, m := range a.Spec.Metrics {
		if m.Pods != nil {
			want = max(want, byMetric(pods, values[m.Pods.Metric.Name], float64(m.Pods.Target.AverageValue)))
		}
	}
	want = min(max(want, a.Spec.MinReplicas), a.Spec.MaxReplicas)

	a.advised = append(a.advised, advice{now, want})
	least, most := want, want // over the windows
	for _, v := range a.advised {
		if now.Sub(v.at) <= time.Duration(a.Spec.Behavior.ScaleUp.StabilizationWindowSeconds)*time.Millisecond {
			least = min(least, v.n)
		}
		if now.Sub(v.at) <= time.Duration(a.Spec.Behavior.ScaleDown.StabilizationWindowSeconds)*time.Millisecond {
			most = max(most, v.n)
		}
	}
	n := min(max(pods, least), most)

	switch {
	case n > pods:
		limit := 0
		for _, p := range a.Spec.Behavior.ScaleUp.Policies {
			then := pods - a.changed(now, p.PeriodSeconds)
			if p.Type == "Percent" {
				limit = max(limit, int(math.Ceil(float64(then)*(1+float64(p.Value)/100))))
			} else {
				limit = max(limit, then+p.Value)
			}
		}
		n = max(pods, min(n, limit))
	case n < pods:
		limit := pods
		for _, p := range a.Spec.Behavior.ScaleDown.Policies {
			then := pods - a.changed(now, p.PeriodSeconds)
			if p.Type == "Percent" {
				limit = min(limit, int(float64(then)*(1-float64(p.Value)/100)))
			} else {
				limit = min(limit, then-p.Value)
			}
		}
		n = min(pods, max(n, limit))
	}
	if n != pods {
		a.changes = append(a.changes, advice{now, n - pods})
	}
	return n
}

// changed is by how much the number has changed within the last milliseconds.
func (a *autoscaler) changed(now time.Time, ms int) (sum int) {
	for _, c := range a.changes {
		if now.Sub(c.at) < time.Duration(ms)*time.Millisecond {
			sum += c.n
		}
	}
	return sum
}

const hpaFile = "../deploy/kubernetes/components/autoscaling/hpa.yaml"

func TestTheAutoscalerOfTheTestsDecidesAsThatOfKubernetes(t *testing.T) {
	for _, c := range []struct {
		what   string
		pods   int
		values []float64
		wants  int
	}{
		{"on target", 4, []float64{0.6, 0.6, 0.6, 0.6}, 4},
		{"within a tenth of it", 4, []float64{0.65, 0.65, 0.65, 0.65}, 4},
		{"above", 4, []float64{0.9, 0.9, 0.9, 0.9}, 6},
		{"below", 4, []float64{0.3, 0.3, 0.3, 0.3}, 2},
		{"a new pod counts as idle", 2, []float64{1}, 2},
		{"but not for more than it is", 3, []float64{1, 1}, 4},
		{"a new pod counts as one on target where it would go down", 4, []float64{0.1, 0.1, 0.1}, 2},
		{"nothing is known", 3, nil, 3},
	} {
		assert.Equal(t, c.wants, byMetric(c.pods, c.values, 0.6), c.what)
	}

	a := readAutoscaler(t, hpaFile, 1)
	now := time.Unix(1e9, 0)
	busy := func(share float64, pods int) int {
		v := map[string][]float64{}
		for range pods {
			v["warmcgi_busy_share"] = append(v["warmcgi_busy_share"], share)
			v["warmcgi_queue_wait"] = append(v["warmcgi_queue_wait"], 0)
		}
		now = now.Add(15 * time.Second)
		return a.decide(now, pods, v)
	}
	assert.Equal(t, 4, busy(1, 2), "up at once")
	assert.Equal(t, 4, busy(1, 4), "not more than twice in a minute")
	for range 2 {
		busy(1, 4)
	}
	assert.Equal(t, 7, busy(1, 4), "the next minute")
	for range 19 {
		assert.Equal(t, 7, busy(0.05, 7), "down only after five minutes")
	}
	now = now.Add(15 * time.Second)
	assert.Equal(t, 5, busy(0.05, 7), "by a quarter")
	assert.Equal(t, 5, busy(0.05, 5), "a minute")
}
