package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheGatewayAndItsPeersAnswerThroughPHPFPM(t *testing.T) {
	phpServers := []string{"warmcgi-php", "warmcgi-php-max", "nginx-fpm", "nginx-fpm-keepalive", "caddy", "apache-fpm"}
	for workload, servers := range map[string][]string{
		"php-form-4":  phpServers,
		"php-form-32": phpServers[:4],
		"php-100mib":  phpServers,
	} {
		t.Run(workload, func(t *testing.T) {
			out := assertMeasured(t, workload, servers)
			assert.Regexp(t, `server +php-fpm\b`, out)
			assert.Equal(t, workload == "php-100mib", strings.Contains(out, "MB/s  growth MiB"))
			assert.NotContains(t, out, "not measured", "the goals: %s", out)
		})
	}
}

func TestTheGrowthOfAServerIsNotThatOfPHPFPM(t *testing.T) {
	s := &server{output: &output{}}
	defer s.stop()
	for range 2 {
		require.NoError(t, s.start("perl", "-e", `$| = 1; print "loaded\n"; sleep 20`))
	}
	require.Eventually(t, func() bool { return strings.Count(s.output.String(), "loaded") == 2 }, 10*time.Second, time.Millisecond) // it grows until then
	s.fpm = s.procs[1]
	assert.Equal(t, []int{s.procs[0].Process.Pid}, s.own())
	s.rest = s.resident()
	assert.Positive(t, s.rest)
	s.forgetPeak()
	assert.Less(t, s.growth(), s.rest)
}

func TestGoalsOfPHPAreNamedWithWhatWasMeasured(t *testing.T) {
	us, fresh, kept := figures("warmcgi-php", "php-form-4", 15000, 1, 0), figures("nginx-fpm", "php-form-4", 16000, 1, 0), figures("nginx-fpm-keepalive", "php-form-4", 20000, 1, 0)
	us.Rounds[0].Longest = 20 * time.Millisecond
	kept.Rounds[0].Longest, kept.Rounds[0].Starving, kept.Rounds[0].Unanswered = 5*time.Second, 12, 11
	large := figures("warmcgi-php", "php-100mib", 10, 1, 0)
	large.Rounds[0].Growth = 9 << 20
	results := []*result{us, fresh, kept, large, figures("nginx-fpm", "php-100mib", 10, 1, 0), figures("door-fastcgi", "doors", 79, 1, 0), figures("door-http", "doors", 100, 1, 0)}
	var out strings.Builder
	printGoals(&out, options{Workloads: []string{"php-form-4", "php-100mib", "doors"}}, results)
	for _, want := range []string{
		"warmcgi-php php-form-4: 0.94 times the requests/s of nginx-fpm, at 1.067 of its CPU (goal: at least 1): MISSED\n",
		"warmcgi-php php-form-4: 0 connections starve, the longest wait was 20ms; with nginx-fpm-keepalive 12 (11 unanswered) and 5s (goal: none, at most 1s): met\n",
		"warmcgi-php php-100mib: 1.00 times the requests/s of nginx-fpm, at 1.000 of its CPU (goal: at least 1): met\n",
		"warmcgi-php php-100mib: 9.0 MiB over its memory with small requests (goal: at most 8 MiB): MISSED\n",
		"door-fastcgi doors: 0.79 times the requests/s of door-http, at 1.266 of its CPU (goal: at least 0.8): MISSED\n",
		"warmcgi-php-max php-form-4: not measured\n",
	} {
		assert.Contains(t, out.String(), want)
	}
}
