package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeysThatSayNothingAboutHowARouteIsRunAreNoted(t *testing.T) {
	c, err := Parse("g.yaml", []byte(`listen: [{http: ":8080"}]
defaults:
  workers: {max: 2, spare: 3}
routes:
  - {path: /a/, cgi: {dir: .}, mode: spawn, preload: [JSON], runner: r, reuse: {requests: 1}, workers: {max: 3}}
  - {path: /b/, cgi: {dir: .}, mode: warm, preload: [JSON], reuse: {requests: 1}}
  - {path: /c/, cgi: {dir: .}, mode: reuse, preload: [JSON], reuse: {requests: 1}, workers: {spare: 5}}
  - {path: /d/, files: {root: .}, mode: warm}
  - {path: /e/, files: {root: ., scripts: [.cgi]}, mode: warm, preload: [JSON]}
  - {path: /f/, fastcgi: {program: /bin/true}, reuse: {requests: 5}}
  - {path: /g/, php: {root: ., fastcgi: {program: /bin/true}}, reuse: {requests: 5}}
  - {path: /h/, files: {root: .}, authorize: {fastcgi: {program: /bin/true}}, reuse: {requests: 5}}
`), Options{})
	require.NoError(t, err)
	var got []string
	for _, n := range c.Notes {
		got = append(got, n.Summary())
	}
	assert.ElementsMatch(t, []string{
		"g.yaml:3:28: defaults.workers.spare: no more than 2 are kept, as that is the most that workers.max allows",
		"g.yaml:5:45: routes[0].preload: has no effect in mode spawn",
		"g.yaml:5:62: routes[0].runner: has no effect in mode spawn",
		"g.yaml:5:73: routes[0].reuse: has no effect in mode spawn",
		"g.yaml:6:61: routes[1].reuse: has no effect in mode warm",
		"g.yaml:7:101: routes[2].workers.spare: no more than 2 are kept, as that is the most that workers.max allows",
		"g.yaml:8:35: routes[3].mode: has no effect: the route starts no script",
	}, got)
}
