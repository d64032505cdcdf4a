package config

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/confine"
)

func TestLimitsOfAScriptThatCannotBeKeptAreNotedAndThoseThatNobodyWantsAreNot(t *testing.T) {
	c, err := Parse("g.yaml", []byte(`listen: [{http: ":8080"}]
routes:
  - {path: /a/, cgi: {dir: .}, limits: {core: 0, script: {memory: 1GiB, processors: 1.5}}}
  - {path: /b/, cgi: {dir: .}, limits: {script: {processes: 5}}}
`), Options{Groups: func() map[string]error {
		none := errors.New("there is none")
		return map[string]error{confine.ScriptMemory: none, confine.ScriptProcesses: nil, confine.ScriptProcessors: nil}
	}})
	require.NoError(t, err)
	require.Len(t, c.Notes, 1)
	assert.Equal(t, "g.yaml:3:67: routes[0].limits.script.memory: is not kept: there is none", c.Notes[0].Summary())
	assert.Equal(t, confine.ScriptLimits{Memory: 1 << 30, Processors: 1.5}, c.Routes[0].Limits.Together())
	assert.Equal(t, confine.Core{Set: true}, c.Routes[0].Limits.Confine().Core)
	assert.Equal(t, confine.Core{}, c.Routes[1].Limits.Confine().Core, "without the key, dumps are as the gateway's own")
	assert.Equal(t, "core 0B", c.Routes[0].Limits.Confine().String())
}

func TestANumberOfProcessorsIsOne(t *testing.T) {
	for _, text := range []string{"0.001", "-1", "x", "1e9", "NaN", "Inf", "50%"} {
		_, err := Parse("g.yaml", []byte("listen: [{http: \":8080\"}]\nroutes:\n  - {path: /, cgi: {dir: .}, limits: {script: {processors: "+text+"}}}\n"), Options{})
		assert.ErrorContains(t, err, "is not a number of processors (write it like 2 or 0.5)", text)
	}
}
