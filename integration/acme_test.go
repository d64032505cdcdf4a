//go:build linux

package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificatePatience is patience for what takes a dozen requests and as many signatures.
const certificatePatience = 5 * patience

// acmeSite is a gateway's folder, and what pebble knows of its doors.
type acmeSite struct {
	*pebble
	dir     string
	storage string
}

func newACMESite(t *testing.T, h pebbleHow) *acmeSite {
	t.Helper()
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "hello.txt"), "hello\n", 0o644)
	return &acmeSite{startPebble(t, h), dir, filepath.Join(dir, "acme")}
}

// configuration is one with an http door that redirects. doors may replace it; more stands in acme.
func (s *acmeSite) configuration(hosts, more string) string {
	return fmt.Sprintf(`
listen:
  - {http: "%s", redirect: https}
  - {https: "%s", tls: {acme: {hosts: [%s], accept_terms: true, directory: "%s", ca: "%s", storage: "%s"%s}}}
routes:
  - {path: /, files: {root: "%s"}}
`, local(s.http), local(s.tls), hosts, s.directory, filepath.Join(s.pebble.dir, "ca.pem"), s.storage, more, s.dir)
}

// fetch asks for hello.txt of a host at an https door with curl, which must believe the certificate.
func (s *acmeSite) fetch(t *testing.T, host string, port int) {
	t.Helper()
	at := host + ":" + strconv.Itoa(port)
	assert.Equal(t, "hello\n", curl(t, "--cacert", filepath.Join(s.pebble.dir, "root.pem"), "--resolve", at+":127.0.0.1", "https://"+at+"/hello.txt"), host)
}

// shown is the certificate that a client gets who wants a host.
func (s *acmeSite) shown(t *testing.T, host string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", local(s.tls), &tls.Config{ServerName: host, InsecureSkipVerify: true})
	require.NoError(t, err, host)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// issued counts the certificates that pebble has issued.
func (s *acmeSite) issued() int { return strings.Count(s.out.String(), "Issued certificate serial") }

// awaitCertificates waits until so many had an outcome, and are shown.
func (g *gateway) awaitCertificates(t *testing.T, outcome string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return g.metric(t, "warmcgi_acme_certificates_total", `outcome="`+outcome+`"`) >= float64(n) &&
			(outcome == "failed" || g.metric(t, "warmcgi_certificate_expiry_timestamp_seconds", ".crt") >= float64(n)*float64(time.Now().Unix()))
	}, certificatePatience, 20*time.Millisecond, "%d certificates %s", n, outcome)
}

func TestCertificatesAreObtainedAtTheHTTPDoorAlsoWhereItRedirects(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	g := startGateway(t, s.dir, s.configuration("www.example.test, example.test", ", challenges: [http-01]"))
	_, err := tls.Dial("tcp", local(s.tls), &tls.Config{ServerName: "www.example.test"})
	require.ErrorContains(t, err, "unrecognized name", "there is none yet")
	assert.Equal(t, 1.0, g.metric(t, "warmcgi_tls_handshakes_refused_total", `why="pending"`))
	assert.Contains(t, g.out.String(), `level=WARN msg="a TLS handshake was refused" host=www.example.test err="the certificate is not there yet"`)

	g.awaitCertificates(t, "obtained", 2)
	s.fetch(t, "www.example.test", s.tls)
	s.fetch(t, "example.test", s.tls)
	assert.Contains(t, s.out.String(), "validate w/ HTTP: http://example.test")
	_, err = tls.Dial("tcp", local(s.tls), &tls.Config{ServerName: "other.test"})
	assert.ErrorContains(t, err, "unrecognized name")
	assert.Equal(t, 1.0, g.metric(t, "warmcgi_tls_handshakes_refused_total", `why="unknown"`))
	assert.Equal(t, []string{"www.example.test"}, s.shown(t, "").DNSNames, "to a client that names none")

	for _, host := range []string{"www.example.test", "example.test"} {
		end := g.metric(t, "warmcgi_certificate_expiry_timestamp_seconds", "/"+host+".crt")
		assert.Equal(t, float64(s.shown(t, host).NotAfter.Unix()), end, host)
	}
	// What no authority has asked for is a request as any other.
	a := newClient(t, "http://"+local(s.http)).get(t, "/.well-known/acme-challenge/x")
	assert.Equal(t, http.StatusMovedPermanently, a.status)

	assert.NoError(t, filepath.Walk(s.storage, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			assert.Zero(t, info.Mode().Perm()&0o077, path)
		}
		return err
	}))
	// Another start finds them.
	g.end(t)
	n := s.issued()
	startGateway(t, s.dir, s.configuration("www.example.test, example.test", ", challenges: [http-01]"))
	s.fetch(t, "example.test", s.tls)
	assert.Equal(t, n, s.issued())
}

func TestCertificatesAreObtainedByTLSAlsoWhereClientsNeedACertificate(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	newAuthority(t, s.dir, "clients")
	newCertificate(t, s.dir, "clients", "me", "DNS:me")
	yaml := strings.Replace(s.configuration("one.test", ""), `  - {http: "`+local(s.http)+`", redirect: https}`+"\n", "", 1)
	g := startGateway(t, s.dir, strings.Replace(yaml, "tls: {acme:", "tls: {client_ca: clients.pem, acme:", 1))
	g.awaitCertificates(t, "obtained", 1)
	at := "one.test:" + strconv.Itoa(s.tls)
	args := []string{"--cacert", filepath.Join(s.pebble.dir, "root.pem"), "--resolve", at + ":127.0.0.1", "https://" + at + "/hello.txt"}
	assert.Equal(t, "hello\n", curl(t, append(args, "--cert", filepath.Join(s.dir, "me.pem"), "--key", filepath.Join(s.dir, "me.key"))...))
	assert.Error(t, exec.Command("curl", append(args, "-s", "--noproxy", "*")...).Run(), "without a certificate")
	assert.NotContains(t, s.out.String(), "validate w/ HTTP")
}

func TestWhereOneWayIsClosedCertificatesAreObtainedByTheOther(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	s.http = freePort(t) // the authority finds nobody at port 80
	g := startGateway(t, s.dir, s.configuration("one.test, two.test, three.test", ""))
	g.awaitCertificates(t, "obtained", 3)
	s.fetch(t, "three.test", s.tls)
}

func TestCertificatesAreRenewedBeforeTheyEnd(t *testing.T) {
	s := newACMESite(t, pebbleHow{life: 15 * time.Second})
	g := startGateway(t, s.dir, s.configuration("one.test", ""))
	g.awaitCertificates(t, "obtained", 1)
	first := s.shown(t, "one.test")
	require.Eventually(t, func() bool {
		return s.shown(t, "one.test").SerialNumber.Cmp(first.SerialNumber) != 0
	}, certificatePatience, 50*time.Millisecond)
	orders := regexp.MustCompile(`Pebble (\S+ \S+) Added order`).FindAllStringSubmatch(s.out.String(), -1)
	require.Greater(t, len(orders), 1)
	asked, err := time.ParseInLocation("2006/01/02 15:04:05", orders[1][1], time.Local)
	require.NoError(t, err)
	assert.True(t, asked.Before(first.NotAfter), "asked at %s, when the first ends at %s", asked, first.NotAfter)
	g.awaitCertificates(t, "renewed", 1)
	s.fetch(t, "one.test", s.tls)
	assert.Zero(t, g.metric(t, "warmcgi_acme_certificates_total", `outcome="failed"`))
}

func TestACertificateThatEndedWhileTheGatewayWasOffIsRenewedAtTheStart(t *testing.T) {
	s := newACMESite(t, pebbleHow{life: 4 * time.Second})
	g := startGateway(t, s.dir, s.configuration("one.test", ""))
	g.awaitCertificates(t, "obtained", 1)
	g.end(t)
	file, err := filepath.Glob(filepath.Join(s.storage, "certificates", "*", "one.test", "one.test.crt"))
	require.NoError(t, err)
	require.Len(t, file, 1)
	block, _ := pem.Decode([]byte(readFile(t, file[0])))
	require.NotNil(t, block)
	last, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	time.Sleep(time.Until(last.NotAfter.Add(time.Second)))
	g = startGateway(t, s.dir, s.configuration("one.test", ""))
	g.awaitCertificates(t, "renewed", 1)
	require.Eventually(t, func() bool { return s.shown(t, "one.test").NotAfter.After(last.NotAfter) }, certificatePatience, 20*time.Millisecond)
}

func TestAnExternalAccountIsBound(t *testing.T) {
	key := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	s := newACMESite(t, pebbleHow{more: map[string]any{"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{"me": key}}})
	g := startGatewayAs(t, s.dir, s.configuration("one.test", `, email: me@one.test, external_account: {id: me, key: "${ACME_KEY}"}`), how{env: []string{"ACME_KEY=" + key}})
	g.awaitCertificates(t, "obtained", 1)
}

func TestAnAuthorityThatIsNotTrustedOrNotThereHoldsUpNothingElse(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	newAuthority(t, s.dir, "other")
	yaml := strings.Replace(s.configuration("one.test", ""), ", redirect: https", "", 1)
	for why, changed := range map[string]string{
		"certificate signed by unknown authority": strings.Replace(yaml, filepath.Join(s.pebble.dir, "ca.pem"), "other.pem", 1),
		"connection refused":                      strings.Replace(yaml, s.directory, "https://"+local(freePort(t))+"/dir", 1),
	} {
		s.storage = filepath.Join(s.dir, "acme")
		g := startGateway(t, s.dir, changed)
		g.awaitCertificates(t, "failed", 1)
		assert.Regexp(t, `level=ERROR msg="no certificate" host=one\.test directory=https://\S+ err=".*`+why, g.out.String())
		assert.Equal(t, "hello\n", newClient(t, "http://"+local(s.http)).get(t, "/hello.txt").body)
		began := time.Now()
		g.end(t)
		assert.Less(t, time.Since(began), patience, why)
	}
}

func TestAReloadThatMendsWhatWasWrongDoesNotWaitForTheNextTry(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	yaml := s.configuration("one.test", "")
	g := startGateway(t, s.dir, strings.Replace(yaml, s.directory, "https://"+local(freePort(t))+"/dir", 1))
	g.awaitCertificates(t, "failed", 1) // the next try is in a minute, and the lock is held until then
	writeFile(t, filepath.Join(s.dir, "gateway.yaml"), yaml+"admin: 127.0.0.1:0\n", 0o644)
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGHUP))
	g.awaitCertificates(t, "obtained", 1)
	s.fetch(t, "one.test", s.tls)
}

func TestAStorageThatCannotBeUsedIsAnErrorAtTheStart(t *testing.T) {
	dir := tempDir(t)
	binary, err := raceGateway()
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "file"), "", 0o644)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "open"), 0o755))
	s := &acmeSite{pebble: &pebble{dir: dir, directory: "https://ca.test/", http: freePort(t), tls: freePort(t)}, dir: dir}
	newAuthority(t, dir, "ca")
	for storage, why := range map[string]string{"file/acme": "not a directory", "open": "open to others"} {
		s.storage = filepath.Join(dir, storage)
		file := writeFile(t, filepath.Join(dir, "gateway.yaml"), s.configuration("one.test", ""), 0o644)
		out, err := exec.Command(binary, "serve", "--config", file).CombinedOutput()
		assert.Error(t, err)
		assert.Regexp(t, "door https .*: acme: the folder for certificates \\(storage\\) can't be used: .*"+why, string(out))
		out, err = exec.Command(binary, "check", file).CombinedOutput()
		assert.Error(t, err, storage)
		assert.Contains(t, string(out), "listen[1].tls.acme.storage", storage)
	}
}

func TestAReloadAsksForWhatIsNewOnly(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	r := upgradable(t, "")
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "hello.txt"), []byte("hello\n"), 0o644))
	s.dir = r.dir
	reload := func(hosts, more string) {
		t.Helper()
		r.write(t, s.configuration(hosts, more)+"admin: 127.0.0.1:0\n")
		out, err := r.command("reload")
		require.NoError(t, err, out)
	}
	reload("one.test", "")
	r.awaitCertificates(t, "obtained", 1)
	one := s.shown(t, "one.test")
	reload("one.test", "") // the same
	assert.Equal(t, one, s.shown(t, "one.test"))
	reload("one.test, two.test", "")
	assert.Equal(t, one, s.shown(t, "one.test"), "there is no moment without it")
	r.awaitCertificates(t, "obtained", 2)
	s.fetch(t, "one.test", s.tls)
	s.fetch(t, "two.test", s.tls)

	// A refused reload leaves who gets certificates as he is.
	r.write(t, strings.Replace(s.configuration("one.test, three.test", "")+"admin: 127.0.0.1:0\n", "routes:", "routes:\n  - {path: /x, auth: {basic: {htpasswd: none}}, files: {root: .}}", 1))
	out, err := r.command("reload")
	require.Error(t, err, out)
	s.fetch(t, "two.test", s.tls)

	// The process that takes over has them, too.
	r.write(t, s.configuration("one.test, two.test", "")+"admin: 127.0.0.1:0\n")
	r.upgrade(t)
	s.fetch(t, "two.test", s.tls)
	assert.Equal(t, one, s.shown(t, "one.test"))
	assert.Equal(t, 2, s.issued())

	reload("two.test", "")
	_, err = tls.Dial("tcp", local(s.tls), &tls.Config{ServerName: "one.test"})
	assert.ErrorContains(t, err, "unrecognized name")
	assert.Zero(t, r.metric(t, "warmcgi_certificate_expiry_timestamp_seconds", "/one.test.crt"))
}

func TestGatewaysThatShareAFolderGetOneCertificateTogether(t *testing.T) {
	s := newACMESite(t, pebbleHow{})
	hosts := "one.test, two.test, three.test"
	other := *s
	other.pebble = &pebble{dir: s.pebble.dir, directory: s.directory, http: freePort(t), tls: freePort(t)}
	other.dir = tempDir(t)
	writeFile(t, filepath.Join(other.dir, "hello.txt"), "hello\n", 0o644)
	// The authority asks only one of them, whichever has begun.
	a := startGateway(t, s.dir, s.configuration(hosts, ""))
	b := startGateway(t, other.dir, other.configuration(hosts, ""))
	for _, host := range strings.Split(hosts, ", ") {
		for _, g := range []*gateway{a, b} {
			require.Eventually(t, func() bool { return g.metric(t, "warmcgi_certificate_expiry_timestamp_seconds", "/"+host+".crt") > 0 }, certificatePatience, 20*time.Millisecond, host)
		}
		s.fetch(t, host, s.tls)
		s.fetch(t, host, other.tls)
	}
	assert.Equal(t, 3, s.issued())
	assert.Equal(t, 3.0, a.metric(t, "warmcgi_acme_certificates_total", "obtained")+b.metric(t, "warmcgi_acme_certificates_total", "obtained"))
}

func TestSIGTERMEndsAGatewayThatWaitsForACertificate(t *testing.T) {
	// The authority comes to a door that says nothing, so what was begun does not end.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s := newACMESite(t, pebbleHow{ports: [2]int{l.Addr().(*net.TCPAddr).Port, freePort(t)}})
	s.http = freePort(t)
	g := startGateway(t, s.dir, s.configuration("one.test", ", challenges: [http-01]"))
	c, err := l.Accept()
	require.NoError(t, err)
	defer c.Close()
	began := time.Now()
	require.NoError(t, syscall.Kill(g.pid, syscall.SIGTERM))
	<-g.gone
	assert.Less(t, time.Since(began), patience)
	locks, err := os.ReadDir(filepath.Join(s.storage, "locks"))
	require.NoError(t, err)
	assert.Empty(t, locks, "others need not wait")
}
