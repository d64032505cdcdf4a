package config

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheManualInTheDocsIsTheOneThatTheStructsMake(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	assert.True(t, string(b) == Reference(), "run: go run ./cmd/gateway config --reference > docs/configuration.md")
}
