package gateway

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// described is a metric as its collector describes it, whether or not it has a value yet.
type described struct{ name, kind, labels, help string }

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"), (?:unit: "[^"]*", )?constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

// describedMetrics are all that a registry may show, without those of Go and of the process.
func describedMetrics(t *testing.T, r *prometheus.Registry) (list []described) {
	t.Helper()
	kinds := map[string]string{} // of those that have a value
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	ch := make(chan *prometheus.Desc)
	go func() { // ends with the last description
		r.Describe(ch)
		close(ch)
	}()
	for desc := range ch {
		if !strings.HasPrefix(desc.String(), `Desc{fqName: "warmcgi_`) { // they differ from system to system
			continue
		}
		m := descForm.FindStringSubmatch(desc.String())
		require.NotNil(t, m, desc.String())
		d := described{name: m[1], labels: strings.ReplaceAll(m[3], ",", ", ")}
		d.help, err = strconv.Unquote(m[2])
		require.NoError(t, err)
		switch {
		case strings.HasSuffix(d.name, "_total"):
			d.kind = "counter"
		case strings.HasSuffix(d.name, "_seconds") && !strings.HasSuffix(d.name, "_timestamp_seconds"):
			d.kind = "histogram"
		default:
			d.kind = "gauge"
		}
		if kind, known := kinds[d.name]; known {
			assert.Equal(t, kind, d.kind, "%s: its name says another kind", d.name)
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b described) int { return strings.Compare(a.name, b.name) })
	return list
}

const metricsPage = "../../docs/metrics.md"

// deploy/ holds its dashboard and rules to that page.
func TestTheMetricsInTheDocsAreThoseThatTheServerHas(t *testing.T) {
	s := newSite(t)
	server, err := New(s.config("admin: 127.0.0.1:0\n"+scripts), Options{Shim: []string{"/bin/false"}}) // its scripts may be warm
	require.NoError(t, err)
	defer server.Shutdown(t.Context())

	var b strings.Builder
	b.WriteString(`# Metrics

What /metrics of a gateway and of a script host shows (` + "`shim serve --admin`" + `), beside those of Go and
of the process (` + "`go_…`, `process_…`" + `). A metric with labels is there when it has counted something. Histograms have the classic buckets, and the native form for scrapers that ask for it. A dashboard,
alerts and what autoscalers want to know are made of them in [deploy/](../deploy/README.md).

This page is made from the program: ` + "`WARMCGI_WRITE_DOCS=1 go test -run TheMetricsInTheDocs ./internal/gateway`" + `

| name | kind | labels | |
|---|---|---|---|
`)
	for _, d := range describedMetrics(t, server.metrics.registry) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.name, d.kind, d.labels, strings.ReplaceAll(d.help, "|", `\|`))
	}
	if os.Getenv("WARMCGI_WRITE_DOCS") != "" {
		require.NoError(t, os.WriteFile(metricsPage, []byte(b.String()), 0o644))
	}
	page, err := os.ReadFile(metricsPage)
	require.NoError(t, err)
	assert.Equal(t, b.String(), string(page), "run: WARMCGI_WRITE_DOCS=1 go test -run TheMetricsInTheDocs ./internal/gateway")
}
