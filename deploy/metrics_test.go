package deploy

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	autoscaling "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"
)

// series are the names that a query may ask for, each with its labels.
type series map[string][]string

// targetLabels are those that Prometheus gives a target, and the operator a pod.
var targetLabels = []string{"job", "instance", "namespace", "pod", "service", "container", "endpoint"}

// exported reads docs/metrics.md, which a test of the gateway keeps true.
func exported(t *testing.T) series {
	t.Helper()
	s := series{"up": nil}
	for _, own := range []string{"process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_resident_memory_bytes"} {
		s[own] = nil
	}
	f, err := os.Open("../docs/metrics.md")
	require.NoError(t, err)
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		cells := strings.Split(in.Text(), "|")
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " warmcgi_") {
			continue
		}
		name, of := strings.TrimSpace(cells[1]), strings.FieldsFunc(cells[3], func(r rune) bool { return r == ' ' || r == ',' })
		if strings.TrimSpace(cells[2]) == "histogram" {
			s[name+"_sum"], s[name+"_count"], s[name+"_bucket"] = of, of, append([]string{"le"}, of...)
		} else {
			s[name] = of
		}
	}
	require.Greater(t, len(s), 40)
	return s
}

// check parses a query, and looks for each name and label of it.
func (s series) check(t *testing.T, query string) parser.Expr {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	known := map[string]bool{}
	for _, l := range targetLabels {
		known[l] = true
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, is := n.(*parser.VectorSelector)
		if !is {
			return nil
		}
		of, there := s[v.Name]
		assert.True(t, there, "%s is not exported: %s", v.Name, query)
		have := map[string]bool{"__name__": true}
		for _, l := range append(of, targetLabels...) {
			have[l], known[l] = true, true
		}
		for _, m := range v.LabelMatchers {
			assert.True(t, have[m.Name], "%s has no label %s: %s", v.Name, m.Name, query)
		}
		return nil
	})
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, is := n.(*parser.AggregateExpr); is {
			for _, l := range a.Grouping {
				assert.True(t, known[l], "nothing has the label %s: %s", l, query)
			}
		}
		return nil
	})
	return expr
}

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr, For string
			Labels, Annotations      map[string]string
		}
	}
}

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	b, err := os.ReadFile("prometheus/rules.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &f))
	return f
}

// withRecorded adds what the rules record.
func (s series) withRecorded(t *testing.T) series {
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				s[r.Record] = []string{"route", "server"}
			}
		}
	}
	return s
}

func TestTheRulesAskForMetricsThatThereAre(t *testing.T) {
	s := exported(t).withRecorded(t)
	for _, g := range readRules(t).Groups {
		require.NotEmpty(t, g.Rules)
		for _, r := range g.Rules {
			s.check(t, r.Expr)
			if r.Alert != "" {
				assert.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
				assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
				assert.NotEmpty(t, r.Annotations["action"], r.Alert)
			}
		}
	}
}

func TestPromtoolFindsTheRulesRight(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "prometheus"
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "promtool (Debian package prometheus) %s:\n%s", strings.Join(args, " "), out)
	}
}

func TestEveryAlertHasATest(t *testing.T) {
	b, err := os.ReadFile("prometheus/rules_test.yaml")
	require.NoError(t, err)
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				assert.Regexp(t, `alertname: `+r.Alert+`\n`, string(b), "one that it fires")
			}
		}
	}
}

const ruleHead = `# Made from rules.yaml: WARMCGI_WRITE_DOCS=1 go test -run TheOperatorsRules . (in deploy/)
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: warmcgi
spec:
`

func TestTheOperatorsRulesAreThoseOfTheFile(t *testing.T) {
	b, err := os.ReadFile("prometheus/rules.yaml")
	require.NoError(t, err)
	_, body, _ := strings.Cut(string(b), "\n") // without the comment
	want := ruleHead + regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(body, "  $1")
	const file = "prometheus/prometheusrule.yaml"
	if os.Getenv("WARMCGI_WRITE_DOCS") != "" {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, want, string(have), "run: WARMCGI_WRITE_DOCS=1 go test -run TheOperatorsRules .")
	assert.Len(t, one[*monitoring.PrometheusRule](build(t, "full"), "warmcgi").Spec.Groups, len(readRules(t).Groups))
}

// What an autoscaler names is what the adapter makes of a recorded series.
func TestTheMetricsOfAutoscalersAreMade(t *testing.T) {
	var adapter struct {
		Rules []struct {
			SeriesQuery, MetricsQuery string
			Name                      struct{ As string }
			Resources                 struct {
				Overrides map[string]struct{ Resource string }
			}
		}
	}
	b, err := os.ReadFile("kubernetes/components/autoscaling/prometheus-adapter.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(b, &adapter))
	s := exported(t).withRecorded(t)
	made := map[string]bool{}
	for _, r := range adapter.Rules {
		expr := s.check(t, r.SeriesQuery)
		name := expr.(*parser.VectorSelector).Name
		s.check(t, strings.NewReplacer("<<.Series>>", name, "<<.LabelMatchers>>", `namespace="warmcgi"`, "<<.GroupBy>>", "pod").Replace(r.MetricsQuery))
		assert.Equal(t, "pod", r.Resources.Overrides["pod"].Resource)
		assert.Equal(t, "namespace", r.Resources.Overrides["namespace"].Resource)
		made[r.Name.As] = true
	}
	used := map[string]bool{}
	for _, h := range all[*autoscaling.HorizontalPodAutoscaler](build(t, "full")) {
		for _, m := range h.Spec.Metrics {
			if m.Pods != nil {
				used[m.Pods.Metric.Name] = true
			}
		}
	}
	assert.Equal(t, made, used)
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr string }
}

type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("grafana/warmcgi.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &d))
	return d
}

// variables are what Grafana puts into a query.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$route", ".*")

func TestTheDashboardAsksForMetricsThatThereAre(t *testing.T) {
	d, s := readDashboard(t), exported(t)
	ids := map[int]bool{}
	asked := map[string]bool{}
	for i, p := range d.Panels {
		assert.False(t, ids[p.ID], "%s: its number is another's", p.Title)
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		for _, q := range p.Targets {
			parser.Inspect(s.check(t, variables.Replace(q.Expr)), func(n parser.Node, _ []parser.Node) error {
				if v, is := n.(*parser.VectorSelector); is {
					asked[v.Name] = true
				}
				return nil
			})
		}
		for _, o := range d.Panels[:i] {
			apart := p.GridPos.X >= o.GridPos.X+o.GridPos.W || o.GridPos.X >= p.GridPos.X+p.GridPos.W || p.GridPos.Y >= o.GridPos.Y+o.GridPos.H || o.GridPos.Y >= p.GridPos.Y+p.GridPos.H
			assert.True(t, apart, "%s lies over %s", p.Title, o.Title)
		}
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
	}
	labelValues := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Query.(map[string]any)["query"].(string))
		require.NotNil(t, m, v.Name)
		s.check(t, "sum by ("+m[2]+") ("+variables.Replace(m[1])+")")
	}
	for _, name := range []string{"warmcgi_requests_total", "warmcgi_place_seconds_total", "warmcgi_queue_wait_seconds_sum", "warmcgi_fastcgi_servers_up", "warmcgi_script_state"} {
		assert.True(t, asked[name], "%s is what one looks for", name)
	}
}
