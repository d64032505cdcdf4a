package deploy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rare are the panels that show nothing while nothing is wrong, or while no script is warm.
var rare = map[string]bool{
	"Failures by kind": true, "Waiting now": true, "How waiting ended": true, "Left out, and sent elsewhere": true, "Refused at FastCGI doors": true,
	"Programs that the gateway starts": true, "Fork of a worker": true, "Demotions": true, "Processes that were ended": true,
	"Answers by mode": true, "Workers": true, "Memory of warm parents": true, "State of scripts": true, "Days until certificates end": true,
}

// assertAnswered has a real Prometheus ask the pods, with the admin token and with the rules, and puts each query of the dashboard and
// of the rules to it.
func assertAnswered(t *testing.T, g *ground, pods ...*pod) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := l.Addr().String()
	l.Close()
	rules, err := filepath.Abs("prometheus/rules.yaml")
	require.NoError(t, err)
	var targets []string
	for _, p := range pods {
		targets = append(targets, strings.TrimPrefix(p.admin, "http://"))
	}
	g.write(t, "prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 200ms, evaluation_interval: 200ms}
rule_files: [%s]
scrape_configs: [{job_name: scripts, authorization: {credentials: %s}, static_configs: [{targets: [%s], labels: {pod: x, namespace: warmcgi}}]}]
`, rules, token, strings.Join(targets, ", ")))
	cmd := exec.Command("/usr/bin/prometheus", "--config.file="+g.dir+"/prometheus.yml", "--storage.tsdb.path="+g.dir+"/tsdb", "--web.listen-address="+at, "--log.level=error")
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start(), "Debian package prometheus")
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(out)
		}
	}()
	ask := func(query string) (n int, err error) {
		res, err := http.Get("http://" + at + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		var answer struct {
			Data  struct{ Result []any }
			Error string
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
			return 0, fmt.Errorf("%s %w", answer.Error, err)
		}
		return len(answer.Data.Result), nil
	}
	require.Eventually(t, func() bool {
		n, _ := ask("count(up == 1) == 2 and count(count_over_time(up[1m]) > 3) == 2")
		return n == 1
	}, patience, 50*time.Millisecond, "both are asked: %s", out)

	for _, p := range readDashboard(t).Panels {
		some := 0
		for _, q := range p.Targets {
			n, err := ask(variables.Replace(q.Expr))
			assert.NoError(t, err, "%s: %s", p.Title, q.Expr)
			some += n
		}
		assert.True(t, some > 0 || rare[p.Title] || p.Type == "row", "%s shows nothing", p.Title)
	}
	recorded := 0
	for _, group := range readRules(t).Groups {
		for _, r := range group.Rules {
			_, err := ask(r.Expr)
			assert.NoError(t, err, r.Expr)
			if r.Record != "" && r.Record != "warmcgi:errors:ratio" { // which needs an error
				require.Eventually(t, func() bool {
					n, _ := ask(r.Record)
					return n == len(pods)
				}, patience, 100*time.Millisecond, "%s is of each", r.Record)
				recorded++
			}
		}
	}
	assert.Equal(t, 2, recorded)
}
