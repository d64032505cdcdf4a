package deploy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

const (
	patience = 30 * time.Second
	token    = "0123456789abcdef0123456789abcdef"
)

// A pod is the command of a Deployment's container, with this machine's folders and ports for its own.
type pod struct {
	t     *testing.T
	admin string // URL
	cmd   *exec.Cmd
}

// ground is what pods stand on: a folder for /etc/warmcgi and /srv/cgi-bin, ports, and the programs.
type ground struct {
	dir                           string
	http, fastcgi, admin1, admin2 string
}

func newGround(t *testing.T) *ground {
	t.Helper()
	g := &ground{dir: t.TempDir()}
	for _, p := range []*string{&g.http, &g.fastcgi, &g.admin1, &g.admin2} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		*p = l.Addr().String()
		defer l.Close() // all at once, so that they differ
	}
	cmd := exec.Command("go", "build", "-o", g.dir+"/", "./cmd/gateway", "./cmd/shim")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	g.write(t, "etc-gateway/admin/token", token)
	g.write(t, "etc-scripts/admin/token", token)
	return g
}

func (g *ground) write(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join(g.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
}

// mount lays files out as kubelet does: a change is a change of one link.
func (g *ground) mount(t *testing.T, name, version string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(g.dir, name)
	for file, content := range files {
		g.write(t, filepath.Join(name, ".."+version, file), content)
		require.NoError(t, os.Chmod(filepath.Join(dir, ".."+version, file), 0o555))
		os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file))
	}
	require.NoError(t, os.Symlink(".."+version, filepath.Join(dir, "..next")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")))
}

// start runs a Deployment's container.
func (g *ground) start(t *testing.T, d *apps.Deployment, name, admin string) *pod {
	t.Helper()
	k := container(t, d)
	here := strings.NewReplacer("/etc/warmcgi/", g.dir+"/etc-"+d.Name+"/", "/srv/cgi-bin", g.dir+"/cgi-bin", "0.0.0.0:9000", g.fastcgi, "0.0.0.0:9180", admin, "$(POD)", name)
	args := append(k.Command[:len(k.Command):len(k.Command)], k.Args...)
	for i := range args {
		args[i] = here.Replace(args[i])
	}
	p := &pod{t: t, admin: "http://" + admin, cmd: exec.Command(filepath.Join(g.dir, args[0]), args[1:]...)}
	p.cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + g.dir}
	out := &strings.Builder{}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(t, p.cmd.Wait(), "%s:\n%s", d.Name, out)
	})
	for _, probe := range []*core.Probe{k.StartupProbe, k.ReadinessProbe, k.LivenessProbe} {
		assert.Eventually(t, func() bool { return p.status(probe.HTTPGet.Path, "") == http.StatusOK }, patience, 10*time.Millisecond, "%s: %s", d.Name, probe.HTTPGet.Path)
	}
	return p
}

func (p *pod) get(path, bearer string) (int, string) {
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", p.admin+path, nil)
	require.NoError(p.t, err)
	r.Host = "10.1.2.3:9180" // a pod's address
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (p *pod) status(path, bearer string) int {
	code, _ := p.get(path, bearer)
	return code
}

// certificates are the Secrets of the component mutual-tls.
func (g *ground) certificates(t *testing.T) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "warmcgi"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	sign := func(c *x509.Certificate, key *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	authority := sign(ca, caKey)
	for i, name := range []string{"gateway.warmcgi.svc", "scripts.warmcgi.svc"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		side, _, _ := strings.Cut(name, ".")
		dir := "etc-" + side + "/tls"
		g.write(t, dir+"/ca.crt", authority)
		g.write(t, dir+"/tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		g.write(t, dir+"/tls.crt", sign(&x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, key))
	}
}

// The manifests without a cluster: what they would start, with the ConfigMaps' files, probes and a request.
func TestTheProgramsRunAsTheManifestsSay(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		g := newGround(t)
		hosts, gateways := one[*apps.Deployment](c, "scripts"), one[*apps.Deployment](c, "gateway")
		secret := strings.Contains(gatewayConfig(t, c), "tls:")
		if secret {
			g.certificates(t)
		}
		for _, v := range hosts.Spec.Template.Spec.Volumes {
			if v.ConfigMap != nil {
				require.EqualValues(t, 0o555, *v.ConfigMap.DefaultMode, "scripts are executable")
				g.mount(t, "cgi-bin", "1", one[*core.ConfigMap](c, v.ConfigMap.Name).Data)
			}
		}
		_, port, err := net.SplitHostPort(g.fastcgi)
		require.NoError(t, err)
		_, web, err := net.SplitHostPort(g.http)
		require.NoError(t, err)
		conf := strings.NewReplacer("http: :8080", "http: 127.0.0.1:"+web, `":9180"`, g.admin2, "dns: scripts:9000", "dns: localhost:"+port, "/etc/warmcgi/", g.dir+"/etc-gateway/").Replace(gatewayConfig(t, c))
		g.write(t, "etc-gateway/gateway.yaml", conf)
		gateway := g.start(t, gateways, "gateway-1", g.admin2)
		host := g.start(t, hosts, "scripts-1", g.admin1)

		get := func() string {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.http+"/cgi-bin/hello.sh", nil)
			require.NoError(t, err)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				return err.Error()
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			return fmt.Sprint(res.StatusCode, " ", string(b))
		}
		require.Eventually(t, func() bool { return get() == "200 hello from scripts-1\n" }, patience, 100*time.Millisecond, "the gateway finds the host by name: %s", get())

		g.mount(t, "cgi-bin", "2", map[string]string{"hello.sh": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nedited\\n'\n"})
		assert.Equal(t, "200 edited\n", get(), "a changed ConfigMap takes effect with the next request")

		for _, p := range []*pod{gateway, host} {
			assert.Equal(t, http.StatusUnauthorized, p.status("/metrics", ""))
			code, page := p.get("/metrics", token)
			require.Equal(t, http.StatusOK, code)
			assertDocumented(t, page)
		}
		if secret { // once is enough: it takes the rules' interval
			assertAnswered(t, g, gateway, host)
			_, page := gateway.get("/metrics", token)
			assert.Contains(t, page, `warmcgi_certificate_expiry_timestamp_seconds{file="`+g.dir+`/etc-gateway/tls/tls.crt"}`)
			conn, err := net.Dial("tcp", g.fastcgi)
			require.NoError(t, err)
			defer conn.Close()
			conn.Write([]byte{1, 9, 0, 0, 0, 0, 0, 0}) // FCGI_GET_VALUES, without TLS
			conn.SetReadDeadline(time.Now().Add(patience))
			b, _ := io.ReadAll(conn)
			assert.NotContains(t, string(b), "FCGI_", "no FastCGI without a certificate")
		}
	})
}

// assertDocumented: what a program shows is in docs/metrics.md, as what it is.
func assertDocumented(t *testing.T, page string) {
	t.Helper()
	docs, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	n := 0
	for in := bufio.NewScanner(strings.NewReader(page)); in.Scan(); {
		if f := strings.Fields(in.Text()); len(f) == 4 && f[1] == "TYPE" && strings.HasPrefix(f[2], "warmcgi_") {
			assert.Contains(t, string(docs), "\n| "+f[2]+" | "+f[3]+" |")
			n++
		}
	}
	assert.Greater(t, n, 10)
}
