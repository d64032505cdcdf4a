package gateway

import (
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
)

func TestARouteWithoutAServerSaysSoInTheMetrics(t *testing.T) {
	s := newSite(t)
	g := s.serve(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /none, fastcgi: {dns: "scripts.invalid:9000", refresh: 10m}}
  - {path: /dead, fastcgi: {servers: ["unix:none.sock", "unix:other.sock"]}}
`)
	assert.Equal(t, 502, g.get("/none").StatusCode)
	g.requireFailure("unreachable", 502)
	assert.True(t, g.hasMetric("warmcgi_fastcgi_servers_up", "route=/none", "role=responder"), "none is a number, too")
	assert.Zero(t, g.metric("warmcgi_fastcgi_servers_up", "route=/none"))
	assert.Equal(t, 2.0, g.metric("warmcgi_fastcgi_servers_up", "route=/dead"), "nobody has tried them yet")
	assert.Equal(t, 502, g.get("/dead").StatusCode)
	g.awaitMetric(0, "warmcgi_fastcgi_servers_up", "route=/dead")
}

// hasMetric reports whether a metric is there, whatever its value.
func (g *testGateway) hasMetric(name string, labels ...string) bool {
	families, err := g.Server.metrics.registry.Gather()
	assert.NoError(g.t, err)
	for _, f := range families {
		if f.GetName() == name {
			return slices.ContainsFunc(f.Metric, func(m *dto.Metric) bool { return hasLabels(m, labels) })
		}
	}
	return false
}
