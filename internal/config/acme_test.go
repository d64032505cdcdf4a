package config

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func acmeOf(t *testing.T, yaml string, env map[string]string) *ACME {
	t.Helper()
	c, err := Parse("/etc/gateway/gateway.yaml", []byte(yaml), Options{LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	require.NoError(t, err)
	for _, l := range c.Listen {
		if l.TLS != nil {
			return l.TLS.ACME
		}
	}
	return nil
}

func TestWhatACMELeavesOutIsTakenFromTheRestOfTheFile(t *testing.T) {
	const routes = `
routes:
  - {path: /, host: [example.org, "*.example.org", 192.0.2.1], files: {root: a}}
  - {path: /b, host: Example.ORG, files: {root: a}}
  - {path: /, host: münchen.example, files: {root: a}}
  - {path: /, files: {root: a}}
`
	assert.Equal(t, &ACME{
		Hosts: Hosts{"example.org", "xn--mnchen-3ya.example"}, AcceptTerms: true, Directory: LetsEncrypt, Storage: "/var/lib/warmcgi/acme",
		Challenges: []Challenge{ChallengeTLSALPN},
	}, acmeOf(t, `listen: [{https: ":443", tls: {acme: {accept_terms: true}}}]`+routes, nil))

	assert.Equal(t, &ACME{
		Hosts: Hosts{"a.example"}, Email: "me@a.example", AcceptTerms: true, Directory: "https://ca.example/dir", CA: "/etc/gateway/ca.pem", Storage: "/var/lib/mine/acme",
		Challenges: []Challenge{ChallengeTLSALPN, ChallengeHTTP}, Profile: "short", ExternalAccount: &ExternalAccount{ID: "x", Key: "secret"},
	}, acmeOf(t, `listen: [{http: ":80"}, {https: ":443", tls: {acme: {hosts: a.example, accept_terms: true, email: me@a.example, directory: "https://ca.example/dir",
  ca: ca.pem, profile: short, external_account: {id: x, key: "${KEY}"}}}}]`+routes, map[string]string{"KEY": "secret", "STATE_DIRECTORY": "/var/lib/mine:/var/lib/other"}))

	a := acmeOf(t, `listen: [{http: ":80"}, {https: ":443", tls: {acme: {accept_terms: true, storage: certificates, challenges: [http-01]}}}]`+routes, nil)
	assert.Equal(t, "/etc/gateway/certificates", a.Storage)
	assert.Equal(t, []Challenge{ChallengeHTTP}, a.Challenges)
}

func TestTheFolderOfCertificatesIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "open"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "own"), 0o700))
	for storage, want := range map[string]string{
		"own": "", "none": "", "none/more": "", "own/none": "",
		"file": "is not a folder", "file/none": "not a directory", "open": "is open to others (0755), and private keys lie there: chmod 700",
	} {
		c, err := Parse(filepath.Join(dir, "gateway.yaml"), []byte("listen: [{https: ':1', tls: {acme: {accept_terms: true, hosts: a.example, ca: file, storage: "+storage+"}}}]\nroutes: [{path: /, files: {root: .}}]\n"), Options{})
		require.NoError(t, err)
		errs := c.CheckFiles()
		if want == "" {
			assert.Empty(t, errs, storage)
		} else if assert.Len(t, errs, 1, storage) {
			assert.Equal(t, "listen[0].tls.acme.storage", errs[0].Key)
			assert.Contains(t, errs[0].Msg, want)
		}
	}
}
