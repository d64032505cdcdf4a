package config

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheManualInTheDocsIsTheOneThatTheStructsMake(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	assert.True(t, string(b) == Reference(), "run: go run ./cmd/gateway config --reference > docs/configuration.md")
}

func TestTheExampleInTheDocsOfFrontingLoads(t *testing.T) {
	b, err := os.ReadFile("../../docs/fronting.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "```yaml\n")
	yaml, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	c := parse(t, yaml)
	assert.Len(t, c.Routes, 4)
	assert.NotNil(t, c.Tracing.Export)
}
