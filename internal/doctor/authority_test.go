package doctor

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

func TestWhatAnAuthorityWantsIsFoundOutBeforeItIsAskedForACertificate(t *testing.T) {
	answers := map[string]string{
		"/good":  `{"newOrder": "https://ca.test/order", "meta": {"profiles": {"short": "", "classic": ""}}}`,
		"/bound": `{"newOrder": "https://ca.test/order", "meta": {"externalAccountRequired": true}}`,
		"/page":  "<html>",
		"/json":  `{"hello": "world"}`,
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers[r.URL.Path] == "" {
			w.WriteHeader(404)
		}
		io.WriteString(w, answers[r.URL.Path])
	}))
	defer s.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644))
	look := func(directory, more string) Patient {
		t.Helper()
		c, err := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte(`
listen: [{https: 127.0.0.1:0, tls: {acme: {hosts: localhost, accept_terms: true, directory: "`+directory+`"`+more+`}}}]
routes: [{path: /, files: {root: .}}]
`), config.Options{})
		require.NoError(t, err)
		return byName(t, c, Options{})[directory]
	}
	trusted := ", ca: " + ca
	assert.Empty(t, look(s.URL+"/good", trusted).Findings)
	assert.Empty(t, look(s.URL+"/good", trusted+", profile: short").Findings)
	assert.Empty(t, look(s.URL+"/bound", trusted+", external_account: {id: x, key: y}").Findings)
	for _, c := range []struct{ path, more, text string }{
		{"/good", "", "is not trusted: "},
		{"/good", trusted + ", profile: tall", `has no profile "tall"; it has: classic, short`},
		{"/bound", trusted, "wants to know whose account it is"},
		{"/page", trusted, "can't be asked: what is there is no directory of an ACME authority"},
		{"/json", trusted, "can't be asked: what is there is no directory of an ACME authority"},
		{"/none", trusted, "can't be asked: it answers 404 Not Found"},
	} {
		p := look(s.URL+c.path, c.more)
		require.Len(t, p.Findings, 1, c.path)
		assert.Contains(t, p.Findings[0].Text, c.text)
		assert.True(t, p.Fails())
	}
	p := look("https://127.0.0.1:1/", trusted)
	require.Len(t, p.Findings, 1)
	assert.Contains(t, p.Findings[0].Text, "connection refused")
}

func TestAHostThatLeadsNowhereIsAWarning(t *testing.T) {
	p := authority{&config.ACME{Directory: "https://127.0.0.1:1/", Hosts: config.Hosts{"no.such.name.invalid"}}}.examine(t.Context(), Options{})
	require.Len(t, p.Findings, 2)
	assert.Equal(t, Warning, p.Findings[1].Level)
	assert.Contains(t, p.Findings[1].Text, "host no.such.name.invalid leads nowhere")
}
