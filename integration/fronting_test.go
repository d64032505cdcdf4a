//go:build linux

package integration

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// curl runs curl, and returns what it wrote to standard output.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	needs(t, "curl")
	cmd := exec.CommandContext(bounded(t), "curl", append([]string{"-sS", "--noproxy", "*"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "curl %v: %s", args, errs.String())
	return string(out)
}

// fronted is a configuration of sites on one machine. @DIR@ is the folder.
const fronted = `
listen:
  - {http: 127.0.0.1:0, redirect: https}
  - {https: 127.0.0.1:0, tls: {cert: site.pem, key: site.key}}
headers: {set: {Strict-Transport-Security: max-age=31536000}, remove: [X-Powered-By]}
defaults: {compress: {with: [zstd, gzip]}}
routes:
  - path: /
    host: [example.test, "*.example.test"]
    redirect: {to: "https://www.example.test:@PORT@/", status: 301}
  - path: /gitweb
    host: www.example.test
    cgi: {program: /usr/share/gitweb/gitweb.cgi}
    env: {GITWEB_CONFIG: "@DIR@/gitweb.conf"}
  - path: /cgi-bin/
    host: www.example.test
    cgi: {dir: "@DIR@/cgi-bin"}
`

func TestCurlGoesFromPlainHTTPAtAnyNameToTheSiteAndUnpacksGitweb(t *testing.T) {
	needs(t, "curl")
	s := newSite(t)
	newAuthority(t, s.dir, "ca")
	newCertificate(t, s.dir, "ca", "site", "DNS:example.test,DNS:*.example.test")
	port := strconv.Itoa(freePort(t))
	yaml := strings.NewReplacer("@DIR@", s.dir, "@PORT@", port, "https: 127.0.0.1:0", "https: 127.0.0.1:"+port).Replace(fronted)
	g := startGateway(t, s.dir, yaml)
	plain := g.doors[0][strings.LastIndexByte(g.doors[0], ':')+1:]
	common := []string{"-L", "--cacert", filepath.Join(s.dir, "ca.pem"), "--connect-to", "example.test::127.0.0.1:", "--connect-to", "www.example.test::127.0.0.1:"}
	ask := func(args ...string) string { return curl(t, append(common, args...)...) }

	whole := ask("http://example.test:" + plain + "/gitweb?p=museum.git;a=summary")
	assert.Contains(t, whole, "<!-- git web interface")
	for _, coding := range []string{"gzip", "zstd"} {
		got := ask("--compressed", "-H", "Accept-Encoding: "+coding, "-D", filepath.Join(s.dir, "head"), "http://example.test:"+plain+"/gitweb?p=museum.git;a=summary")
		assert.Equal(t, withoutTimes(whole), withoutTimes(got), coding)
		head := readFile(t, filepath.Join(s.dir, "head"))
		assert.Equal(t, 3, strings.Count(head, "HTTP/"), "to TLS, to the site, and there:\n%s", head)
		assert.Contains(t, strings.ToLower(head), "content-encoding: "+coding)
		assert.Contains(t, strings.ToLower(head), "strict-transport-security: max-age=31536000")
	}
	if _, err := exec.LookPath("zstd"); err == nil {
		file := filepath.Join(s.dir, "answer.zst")
		ask("-H", "Accept-Encoding: zstd", "-o", file, "https://www.example.test:"+port+"/gitweb?p=museum.git;a=summary")
		out, err := exec.Command("zstd", "-dc", file).Output()
		require.NoError(t, err)
		assert.Equal(t, withoutTimes(whole), withoutTimes(string(out)))
	}
	assert.Contains(t, ask("-d", "a=b", "http://www.example.test:"+plain+"/cgi-bin/vars.sh"), "REQUEST_METHOD=POST\n", "a POST stays one on its way to TLS")
	assert.Equal(t, "421", curl(t, "-k", "-o", "/dev/null", "-w", "%{http_code}", "https://127.0.0.1:"+port+"/"))
}

// withoutTimes leaves out what gitweb counts itself.
func withoutTimes(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if !ago.MatchString(line) && !strings.Contains(line, "generating_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestBehindNginxCompressedAnswersOfBothProtocolsComeWhole(t *testing.T) {
	needs(t, "nginx", "curl", "perl")
	s := newSite(t)
	socket := filepath.Join(s.dir, "door.sock")
	g := startGateway(t, s.dir, strings.NewReplacer("@DIR@", s.dir, "@SOCKET@", socket).Replace(`
listen: [{http: 127.0.0.1:0}, {fastcgi: "unix:@SOCKET@"}]
trusted_proxies: [127.0.0.0/8]
routes:
  - path: /cgi-bin/
    host: www.example.org
    cgi: {dir: "@DIR@/cgi-bin"}
    compress: {with: [gzip]}
`))
	s.write(t, "large.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", \"$ENV{QUERY_STRING}\\n\" x 200_000;\n")
	proxy := startNginx(t, filepath.Join(s.dir, "proxy"), func(port string) string {
		return configured(t, "nginx-proxy.conf.tmpl", "listen 80;", "listen 127.0.0.1:"+port+"; proxy_buffering off;", "http://127.0.0.1:8080", g.url())
	})
	fastcgi := startNginx(t, filepath.Join(s.dir, "fcgi"), func(port string) string {
		return "server { listen 127.0.0.1:" + port + "; location / { include fastcgi_params; fastcgi_buffering off; fastcgi_pass unix:" + socket + "; } }"
	})
	for _, base := range []string{proxy, fastcgi, g.url()} {
		for range 2 {
			got := curl(t, "--compressed", "-H", "Host: www.example.org", "-D", filepath.Join(s.dir, "head"), base+"/cgi-bin/large.pl?q")
			assert.True(t, got == strings.Repeat("q\n", 200_000), "%d octets from %s", len(got), base)
			assert.Contains(t, readFile(t, filepath.Join(s.dir, "head")), "Content-Encoding: gzip", base)
		}
		assertPackedEvents(t, s.dir, base)
	}
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

// assertPackedEvents requires that events come as they are written also when they are compressed.
func assertPackedEvents(t *testing.T, dir, base string) {
	t.Helper()
	file := filepath.Join(dir, "events-"+filepath.Base(base))
	r, err := request{path: "/cgi-bin/events.pl?" + file, header: map[string]string{"Host": "www.example.org", "Accept-Encoding": "gzip"}}.make(base)
	require.NoError(t, err)
	res, err := newClient(t, base).http.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "gzip", res.Header.Get("Content-Encoding"), base)
	body, err := gzip.NewReader(res.Body)
	require.NoError(t, err)
	for i := range 3 {
		event := make([]byte, len("data: 0\n\n"))
		_, err := io.ReadFull(body, event)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("data: %d\n\n", i), string(event), base)
		writeFile(t, file, strings.Repeat("\n", i+2), 0o644) // only now there is another
	}
	rest, err := io.ReadAll(body)
	assert.NoError(t, err)
	assert.Empty(t, rest)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func TestBehindHAProxyThePROXYProtocolTellsTheClient(t *testing.T) {
	needs(t, "haproxy", "curl")
	s := newSite(t)
	newAuthority(t, s.dir, "ca")
	newCertificate(t, s.dir, "ca", "site", "IP:127.0.0.1")
	g := startGateway(t, s.dir, strings.NewReplacer("@DIR@", s.dir).Replace(`
listen:
  - {http: 127.0.0.1:0}
  - {https: 127.0.0.1:0, tls: {cert: site.pem, key: site.key}}
trusted_proxies: [127.0.0.1]
routes:
  - {path: /cgi-bin/, cgi: {dir: "@DIR@/cgi-bin"}}
`))
	at := func(door int) string { return g.doors[door][strings.LastIndexByte(g.doors[door], '/')+1:] }
	for _, version := range []string{"send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id"} {
		for door, scheme := range []string{"http", "https"} {
			front, url := startHAProxy(t, s.dir, `
listen front
    mode tcp
    bind 127.0.0.1:@PORT@
    unique-id-format id-%pid
    server gateway `+at(door)+` `+version+` check check-send-proxy inter 100ms
`)
			url = scheme + strings.TrimPrefix(url, "http")
			for range 3 {
				// Its client is 127.0.0.9, which the gateway trusts in nothing.
				out := curl(t, "--interface", "127.0.0.9", "--cacert", filepath.Join(s.dir, "ca.pem"), "-H", "X-Forwarded-For: 6.6.6.6", url+"/cgi-bin/vars.sh")
				assert.Contains(t, out, "REMOTE_ADDR=127.0.0.9\n", "%s %s", version, scheme)
				assert.NotContains(t, out, "REMOTE_ADDR=6.6.6.6")
			}
			front.kill()
			<-front.gone
		}
	}
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}
