//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faster is by how much time passes faster here than in a cluster: 15 s between two looks are half a second.
// WARMCGI_AUTOSCALE sets it, for runs that are closer to the real thing.
func faster(t *testing.T) int {
	v := os.Getenv("WARMCGI_AUTOSCALE")
	if v == "" {
		return 30
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, "WARMCGI_AUTOSCALE")
	return n
}

// scaledTime is a time of a cluster, as Prometheus writes it.
func scaledTime(d time.Duration, faster int) string {
	return fmt.Sprintf("%dms", (d / time.Duration(faster)).Milliseconds())
}

// prometheusServer is the real one, with the rules of deploy/. What it asks are the admin doors of a file.
type prometheusServer struct {
	*server
	url, targets string
}

func startPrometheus(t *testing.T, dir string, faster int) *prometheusServer {
	t.Helper()
	needs(t, "prometheus")
	rules, err := os.ReadFile("../deploy/prometheus/rules.yaml")
	require.NoError(t, err)
	recorded, _, _ := strings.Cut(string(rules), "  - name: warmcgi-alerts")
	recorded = strings.NewReplacer("[1m]", "["+scaledTime(time.Minute, faster)+"]", "[5m]", "["+scaledTime(5*time.Minute, faster)+"]",
		"interval: 15s", "interval: "+scaledTime(15*time.Second, faster)).Replace(recorded)
	writeFile(t, filepath.Join(dir, "rules.yaml"), recorded, 0o644)
	p := &prometheusServer{url: fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), targets: filepath.Join(dir, "targets.json")}
	p.set(t, nil)
	writeFile(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [rules.yaml]
scrape_configs: [{job_name: scripts, file_sd_configs: [{files: [targets.json]}]}]
`, scaledTime(15*time.Second, faster)), 0o644)
	p.server = startServer(t, "prometheus", exec.Command("/usr/bin/prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+strings.TrimPrefix(p.url, "http://"), "--log.level=warn"))
	p.awaitDial(t, "tcp", strings.TrimPrefix(p.url, "http://"))
	return p
}

// set names the pods that are asked, by the addresses of their admin doors.
func (p *prometheusServer) set(t *testing.T, pods map[string]string) {
	t.Helper()
	list := []map[string]any{}
	for name, admin := range pods {
		list = append(list, map[string]any{"targets": []string{strings.TrimPrefix(admin, "http://")}, "labels": map[string]string{"pod": name, "namespace": "warmcgi"}})
	}
	b, err := json.Marshal(list)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.targets+".new", b, 0o644))
	require.NoError(t, os.Rename(p.targets+".new", p.targets))
}

// ask is a query's value for each pod.
func (p *prometheusServer) ask(t *testing.T, query string) map[string]float64 {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  []any
			}
		}
		Error string
	}
	res, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	require.NoError(t, err)
	defer res.Body.Close()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	require.Empty(t, answer.Error, query)
	values := map[string]float64{}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		require.NoError(t, err)
		values[r.Metric["pod"]] = v
	}
	return values
}

// adapterQueries are what the Prometheus adapter asks for, by the name of the metric that it makes of it.
func adapterQueries(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../deploy/kubernetes/components/autoscaling/prometheus-adapter.yaml")
	require.NoError(t, err)
	var a struct {
		Rules []struct {
			SeriesQuery  string `yaml:"seriesQuery"`
			MetricsQuery string `yaml:"metricsQuery"`
			Name         struct{ As string }
		}
	}
	require.NoError(t, yaml.Unmarshal(b, &a))
	queries := map[string]string{}
	for _, r := range a.Rules {
		series, _, _ := strings.Cut(r.SeriesQuery, "{")
		queries[r.Name.As] = strings.NewReplacer("<<.Series>>", series, "<<.LabelMatchers>>", `namespace="warmcgi"`, "<<.GroupBy>>", "pod").Replace(r.MetricsQuery)
	}
	require.Len(t, queries, 2)
	return queries
}

// fleet are the script hosts behind one name, as a Deployment and a headless Service have them.
type fleet struct {
	t      *testing.T
	dir    string
	port   int
	names  *nameServer
	watch  *prometheusServer // nil: nobody looks
	pods   []*hostPod        // in the name
	made   int
	ending sync.WaitGroup
	delay  time.Duration // the preStop of a pod
	script string        // Perl; POD is the name of its pod
	flags  []string
}

type hostPod struct {
	*gateway
	name, address string
}

func (f *fleet) publish() {
	var addresses []string
	admins := map[string]string{}
	for _, p := range f.pods {
		addresses = append(addresses, p.address)
		admins[p.name] = p.admin
	}
	f.names.set(f.t, addresses...)
	if f.watch != nil {
		f.watch.set(f.t, admins)
	}
}

// scale has n pods. A new one is in the name when it is ready; one that goes leaves the name first, and is asked to end later.
func (f *fleet) scale(n int) {
	f.t.Helper()
	for len(f.pods) < n {
		f.made++
		dir := filepath.Join(f.dir, fmt.Sprint("pod", f.made))
		require.NoError(f.t, os.Mkdir(dir, 0o755))
		p := &hostPod{name: fmt.Sprint("scripts-", f.made), address: fmt.Sprintf("127.0.1.%d", f.made)}
		script := writeFile(f.t, filepath.Join(dir, "wait.pl"), strings.ReplaceAll(f.script, "POD", p.name), 0o755)
		binary, err := plainShim()
		require.NoError(f.t, err)
		p.gateway = startServing(f.t, p.name, dir, append([]string{binary, "serve", script, "--listen", fmt.Sprintf("tcp:%s:%d", p.address, f.port), "--admin", p.address + ":0", "--wait", "10s"}, f.flags...), nil)
		require.Equal(f.t, http.StatusOK, newClient(f.t, p.admin).get(f.t, "/readyz").status)
		f.pods = append(f.pods, p)
	}
	for len(f.pods) > n {
		p := f.pods[0] // the oldest: its warm workers are what one would rather keep
		f.pods = f.pods[1:]
		f.ending.Go(func() {
			time.Sleep(f.delay)
			syscall.Kill(p.pid, syscall.SIGTERM)
			<-p.gone
		})
	}
	f.publish()
}

// step is a load, and what became of it.
type step struct {
	rate  int // GETs a second
	time  time.Duration
	hosts []int // at each look
	busy  []float64
	took  []time.Duration
}

// turns is how often the number of hosts changed its direction.
func (s *step) turns() (n int) {
	way := 0
	for i := 1; i < len(s.hosts); i++ {
		d := s.hosts[i] - s.hosts[i-1]
		if d*way < 0 {
			n++
		}
		if d != 0 {
			way = d
		}
	}
	return n
}

// settled is how long the number of hosts went on changing.
func (s *step) settled(look time.Duration) time.Duration {
	last := 0
	for i := 1; i < len(s.hosts); i++ {
		if s.hosts[i] != s.hosts[i-1] {
			last = i
		}
	}
	return time.Duration(last) * look
}

// A gateway before script hosts that an autoscaler starts and ends, by the metrics, the rules and the numbers of deploy/.
func TestScriptHostsComeAndGoWithTheLoad(t *testing.T) {
	needs(t, "perl")
	needsRoot(t) // for a resolv.conf of its own, and the port of DNS
	const (
		places  = 4                      // of a host
		each    = 100 * time.Millisecond // that a script takes
		perHost = 24                     // GETs a second that keep 0.6 of them busy
	)
	n := faster(t)
	look := 15 * time.Second / time.Duration(n)
	dir := tempDir(t)
	a := readAutoscaler(t, hpaFile, n)
	queries := adapterQueries(t)
	f := &fleet{t: t, dir: dir, port: freePort(t), names: startNameServer(t, dir), watch: startPrometheus(t, dir, n), delay: 10 * time.Second / time.Duration(n),
		script: `#!/usr/bin/perl
select undef, undef, undef, 0.1;
print "Content-Type: text/plain\n\nPOD $ENV{QUERY_STRING}\n";
`,
		flags: []string{"--mode", "warm", "--workers", fmt.Sprint(places), "--processes", fmt.Sprint(places)}}
	f.scale(a.Spec.MinReplicas)
	g := startGatewayAs(t, dir, fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
log: {access: {format: off}}
routes:
  - {path: /wait, fastcgi: {dns: "%s:%d", refresh: 300ms, health: {check: values, every: 500ms, timeout: 2s}}}
`, hostsName, f.port), how{plain: true, via: askedVia(t, dir)})

	c := newClient(t, g.url())
	c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	var mu sync.Mutex
	var failed []string
	get := func(s *step, i int) {
		began := time.Now()
		r, err := c.try(request{path: fmt.Sprint("/wait?", i)})
		mu.Lock()
		defer mu.Unlock()
		s.took = append(s.took, time.Since(began))
		if err != nil || r.status != http.StatusOK || !strings.HasSuffix(r.body, fmt.Sprintf(" %d\n", i)) {
			failed = append(failed, fmt.Sprint(r.status, " ", err, " ", r.body))
		}
	}
	// The load is what it is, however slow the answers are: an open loop.
	load := func(ctx context.Context, s *step) {
		tick := time.NewTicker(time.Second / time.Duration(s.rate))
		defer tick.Stop()
		var wg sync.WaitGroup
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				wg.Wait()
				return
			case <-tick.C:
				wg.Go(func() { get(s, i) })
			}
		}
	}

	steps := []*step{{rate: 20}, {rate: 60}, {rate: 180}, {rate: 60}, {rate: 20}}
	began := time.Now()
	for i, s := range steps {
		s.time = 5 * time.Minute
		if i > 0 && steps[i-1].rate > s.rate {
			s.time = 14 * time.Minute // they go later, and slower
		} else if i > 0 {
			s.time = 8 * time.Minute
		}
		s.time /= time.Duration(n)
		ctx, stop := context.WithTimeout(t.Context(), s.time)
		done := make(chan struct{})
		go func() { // ends with the step
			load(ctx, s)
			close(done)
		}()
		for at := time.NewTicker(look); ctx.Err() == nil; {
			select {
			case <-ctx.Done():
				at.Stop()
				continue
			case <-at.C:
			}
			values := map[string][]float64{}
			for name, query := range queries {
				of := f.watch.ask(t, query)
				for _, p := range f.pods {
					if v, is := of[p.name]; is {
						values[name] = append(values[name], v)
					}
				}
			}
			have := len(f.pods)
			if want := a.decide(time.Now(), have, values); want != have {
				t.Logf("%5.1fs: %3d GETs/s, %d hosts -> %d; busy %.2f, wait %.3f", time.Since(began).Seconds(), s.rate, have, want, mean(values["warmcgi_busy_share"]), mean(values["warmcgi_queue_wait"]))
				f.scale(want)
			}
			s.hosts, s.busy = append(s.hosts, len(f.pods)), append(s.busy, mean(values["warmcgi_busy_share"]))
		}
		stop()
		<-done
	}
	f.ending.Wait()

	all := 0
	var b strings.Builder
	fmt.Fprintf(&b, "time passes %d times as fast as in a cluster; times are those of the cluster, but for GETs'\n", n)
	b.WriteString("| GETs/s | hosts at its begin | most | at its end | changes of direction | the last change after | busy share then | p50 | p99 | longest GET |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for i, s := range steps {
		all += len(s.took)
		sort.Slice(s.took, func(i, j int) bool { return s.took[i] < s.took[j] })
		before := a.Spec.MinReplicas
		if i > 0 {
			before = steps[i-1].hosts[len(steps[i-1].hosts)-1]
		}
		end := s.hosts[len(s.hosts)-1]
		ms := func(q float64) string { return s.took[int(q*float64(len(s.took)-1))].Round(time.Millisecond).String() }
		fmt.Fprintf(&b, "| %d | %d | %d | %d | %d | %v | %.2f | %s | %s | %s |\n", s.rate, before, slices.Max(s.hosts), end, s.turns(), s.settled(look)*time.Duration(n), mean(s.busy[len(s.busy)*3/4:]), ms(.5), ms(.99), ms(1))

		assert.LessOrEqual(t, s.turns(), 1, "%d GETs/s: it swings: %v", s.rate, s.hosts)
		assert.GreaterOrEqual(t, end*perHost*10, s.rate*8, "%d GETs/s: too few hosts: %v", s.rate, s.hosts)
		if i > 0 && steps[i-1].rate > s.rate {
			// Where the load has grown, hosts that came late on a busy machine can have had too many of them started: those go
			// again behind the five minutes' patience, for which that step is too short.
			assert.Less(t, s.settled(look), s.time*9/10, "%d GETs/s: it does not settle: %v", s.rate, s.hosts)
		}
	}
	t.Logf("%s%d GETs, %d failed; %d hosts were started", b.String(), all, len(failed), f.made)
	assert.Empty(t, failed)
	assert.Greater(t, slices.Max(steps[2].hosts), slices.Max(steps[0].hosts))
	assert.Equal(t, steps[0].hosts[len(steps[0].hosts)-1], steps[4].hosts[len(steps[4].hosts)-1], "in the end there are as many as in the beginning")
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
