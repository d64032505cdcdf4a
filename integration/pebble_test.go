//go:build linux

package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// acmeTools builds pebble and its DNS server, which are a module of their own.
var acmeTools = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-C", "tools", "-o", binDir+"/", "github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
	}
	return nil
})

// A pebble is an ACME server of Let's Encrypt's for tests. To it all names lead to 127.0.0.1.
type pebble struct {
	*server
	dir       string // with ca.pem, which the certificate of its own is signed by, and root.pem, which those are that it issues
	directory string // URL
	http, tls int    // ports that it looks for the gateway's doors at, in place of 80 and 443
}

// pebbleHow is how one differs from the usual.
type pebbleHow struct {
	life  time.Duration // of certificates
	more  map[string]any
	ports [2]int // http and tls; 0: free ones
}

func startPebble(t *testing.T, h pebbleHow) *pebble {
	t.Helper()
	require.NoError(t, acmeTools())
	p := &pebble{dir: tempDir(t), http: h.ports[0], tls: h.ports[1]}
	if p.http == 0 {
		p.http, p.tls = freePort(t), freePort(t)
	}
	newAuthority(t, p.dir, "ca")
	newCertificate(t, p.dir, "ca", "pebble", "IP:127.0.0.1")
	api, management, dns := freePort(t), freePort(t), freePort(t)
	names := startServer(t, "pebble-challtestsrv", exec.Command(filepath.Join(binDir, "pebble-challtestsrv"), "-dnsserver", local(dns),
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", local(freePort(t)), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""))
	names.awaitDial(t, "tcp", local(dns))

	if h.life == 0 {
		h.life = 90 * 24 * time.Hour
	}
	c := map[string]any{
		"listenAddress": local(api), "managementListenAddress": local(management), "httpPort": p.http, "tlsPort": p.tls,
		"certificate": filepath.Join(p.dir, "pebble.pem"), "privateKey": filepath.Join(p.dir, "pebble.key"),
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "the usual", "validityPeriod": int(h.life.Seconds())}},
	}
	for k, v := range h.more {
		c[k] = v
	}
	file, err := json.Marshal(map[string]any{"pebble": c})
	require.NoError(t, err)
	cmd := exec.Command(filepath.Join(binDir, "pebble"), "-config", writeFile(t, filepath.Join(p.dir, "pebble.json"), string(file), 0o644), "-dnsserver", local(dns))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	p.server = startServer(t, "pebble", cmd)
	p.directory = "https://" + local(api) + "/dir"
	p.awaitDial(t, "tcp", local(api))
	p.awaitDial(t, "tcp", local(management))

	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(readFile(t, filepath.Join(p.dir, "ca.pem")))))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + local(management) + "/roots/0")
	require.NoError(t, err)
	defer res.Body.Close()
	root, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	writeFile(t, filepath.Join(p.dir, "root.pem"), string(root), 0o644)
	return p
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
