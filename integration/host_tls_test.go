//go:build linux

package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openssl runs in a folder.
func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	needs(t, "openssl")
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "openssl %v: %s", args, out)
}

// newAuthority makes NAME.pem and NAME.key, which sign.
func newAuthority(t *testing.T, dir, name string) {
	openssl(t, dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN="+name,
		"-keyout", name+".key", "-out", name+".pem")
}

// newCertificate makes NAME.pem and NAME.key, signed by an authority.
func newCertificate(t *testing.T, dir, authority, name, host string) {
	openssl(t, dir, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN="+name, "-keyout", name+".key", "-out", name+".csr")
	ext := writeFile(t, filepath.Join(dir, name+".ext"), "subjectAltName="+host+"\n", 0o644)
	openssl(t, dir, "x509", "-req", "-in", name+".csr", "-CA", authority+".pem", "-CAkey", authority+".key", "-CAcreateserial", "-days", "2", "-extfile", ext, "-out", name+".pem")
}

func TestAGatewayAndAScriptHostKnowEachOtherByCertificates(t *testing.T) {
	dir, bin := hostSite(t)
	newAuthority(t, dir, "ours")
	newAuthority(t, dir, "theirs")
	newCertificate(t, dir, "ours", "host", "DNS:scripts.test,IP:127.0.0.1")
	newCertificate(t, dir, "ours", "gateway", "DNS:gateway.test")
	newCertificate(t, dir, "theirs", "stranger", "DNS:gateway.test")
	in := func(name string) string { return filepath.Join(dir, name) }
	h := startHost(t, dir, bin, "--listen", "tls:127.0.0.1:0", "--tls-cert", in("host.pem"), "--tls-key", in("host.key"), "--tls-client-ca", in("ours.pem"))

	for tls, status := range map[string]int{
		"{ca: ours.pem, cert: gateway.pem, key: gateway.key}":                     200,
		"{ca: ours.pem, cert: gateway.pem, key: gateway.key, name: scripts.test}": 200,
		"{ca: ours.pem, cert: gateway.pem, key: gateway.key, name: other.test}":   502,
		"{ca: theirs.pem, cert: gateway.pem, key: gateway.key}":                   502,
		"{ca: ours.pem, cert: stranger.pem, key: stranger.key}":                   502,
		"{ca: ours.pem}": 502,
	} {
		g := startGateway(t, dir, fmt.Sprintf(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /cgi-bin, fastcgi: {servers: ["%s"], tls: %s}}
`, h.url(), tls))
		c := newClient(t, g.url())
		for range 2 { // the second on the connection that was kept
			a := c.get(t, "/cgi-bin/vars.sh/info")
			assert.Equal(t, status, a.status, "%s: %s", tls, a.body)
			if status == 200 {
				assert.Equal(t, "/info", varsOf(t, a)["PATH_INFO"])
			}
		}
		g.end(t)
	}
}
