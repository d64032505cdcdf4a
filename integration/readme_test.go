package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheReadmeQuotesTheConfigurationsThatAreTested(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, name := range []string{
		"apache-scriptalias.conf.tmpl", "apache-scriptalias.yaml.tmpl", "apache-fcgi.conf.tmpl",
		"nginx-fcgiwrap.conf.tmpl", "nginx-fcgiwrap.yaml.tmpl", "nginx-proxy.conf.tmpl",
	} {
		quoted, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		assert.Contains(t, string(readme), "\n"+strings.TrimRight(string(quoted), "\n")+"\n```", name)
	}
}
