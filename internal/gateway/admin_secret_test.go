package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/user"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drainsBy has the admin door drain the gateway, by a client of its own.
func (g *testGateway) drainsBy(c *http.Client, url string) (*http.Response, error) {
	r, err := http.NewRequest("PUT", url+"/api/v1/drain", strings.NewReader(drainBody))
	require.NoError(g.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Warmcgi-Control", "1")
	res, err := c.Do(r)
	if err == nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return res, err
}

func TestTheAdminDoorOverTLSLetsInWhoHasACertificate(t *testing.T) {
	s := newSite(t)
	ca := s.authority("ca.pem")
	ca.files(ca.issue("localhost", x509.ExtKeyUsageServerAuth))
	g := s.serve(scripts + "admin: {listen: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem, client_ca: ca.pem}}\n")
	drain := func(certs ...tls.Certificate) (*http.Response, error) {
		return g.drainsBy(g.client(func(tr *http.Transport) { tr.TLSClientConfig.Certificates = certs }), "https://"+g.AdminAddr().String())
	}
	res, err := drain(ca.issue("anna", x509.ExtKeyUsageClientAuth))
	require.NoError(t, err)
	assert.Equal(t, 200, res.StatusCode)
	g.awaitLog("control: done", "action=drain", `by="anna at 127.0.0.1"`)
	for name, certs := range map[string][]tls.Certificate{
		"none": nil, "of another authority": {s.authority("other.pem").issue("anna", x509.ExtKeyUsageClientAuth)},
	} {
		_, err := drain(certs...)
		assert.Error(t, err, name)
	}
	res, err = g.drainsBy(g.http, "http://"+g.AdminAddr().String())
	require.NoError(t, err)
	assert.Equal(t, 400, res.StatusCode, "plain HTTP is told that this is no place for it")
	assert.Equal(t, 1, strings.Count(g.log.String(), "control: done"))
}

func TestWhoControlsTheGatewayByAUnixSocketIsKnown(t *testing.T) {
	s := newSite(t)
	g := s.serve(scripts + "admin: unix:admin.sock\n")
	c := g.client(func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.path("admin.sock"))
		}
	})
	res, err := g.drainsBy(c, "http://localhost")
	require.NoError(t, err)
	assert.Equal(t, 200, res.StatusCode)
	me, err := user.Current()
	require.NoError(t, err)
	g.awaitLog("control: done", "action=drain", `by="unix socket of `+me.Username+`"`)
}

func TestTheLogLevelIsChangedByTheAdminDoor(t *testing.T) {
	level := new(slog.LevelVar)
	g := newSite(t).serve(scripts+"admin: 127.0.0.1:0\n", func(s *Server) { s.control.level = level })
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelError, slog.LevelInfo} {
		name := strings.ToLower(l.String())
		a := g.control("PUT", "/api/v1/log-level", `{"level": "`+name+`"}`, "X-Warmcgi-Control", "1")
		assert.Equal(t, 200, a.StatusCode, a.body)
		assert.Equal(t, l, level.Level())
		assert.Contains(t, g.admin("/api/v1/live").body, `"log_level":"`+name+`"`)
	}
	g.awaitLog("control: done", "action=log_level", "the log shows info and above")
}
