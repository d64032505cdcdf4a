package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheDocumentationQuotesTheConfigurationsThatAreTested(t *testing.T) {
	for file, names := range map[string][]string{
		"../README.md": {
			"apache-scriptalias.conf.tmpl", "apache-scriptalias.yaml.tmpl", "apache-fcgi.conf.tmpl",
			"nginx-fcgiwrap.conf.tmpl", "nginx-fcgiwrap.yaml.tmpl", "nginx-proxy.conf.tmpl",
		},
		"../docs/script-host.md": {"nginx-host.conf.tmpl", "apache-host.conf.tmpl"},
	} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range names {
			quoted, err := os.ReadFile("testdata/" + name)
			require.NoError(t, err)
			assert.Contains(t, string(text), "\n"+strings.TrimRight(string(quoted), "\n")+"\n```", name)
		}
	}
	door, err := os.ReadFile("../docs/fastcgi-door.md")
	require.NoError(t, err)
	quoted, err := os.ReadFile("testdata/haproxy-fcgi.conf.tmpl")
	require.NoError(t, err)
	assert.Contains(t, string(door), "\n"+string(quoted)+"```")
}
