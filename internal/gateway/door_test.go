package gateway

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAllDoorsServeTheSameRoutes(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.certificate("localhost")
	g := s.serve(scripts + `
listen:
  - http: 127.0.0.1:0
  - https: 127.0.0.1:0
    tls: {cert: cert.pem, key: key.pem}
  - http: unix:s.sock
  - fastcgi: 127.0.0.1:0
  - http: "[::1]:0"
`)
	names := g.Addrs()
	require.Len(t, names, 5)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/$`, names[0])
	assert.Regexp(t, `^https://127\.0\.0\.1:\d+/$`, names[1])
	assert.Equal(t, "http unix:"+s.path("s.sock"), names[2])
	assert.Regexp(t, `^fastcgi tcp:127\.0\.0\.1:\d+$`, names[3])
	assert.Regexp(t, `^http://\[::1\]:\d+/$`, names[4])
	for i, server := range map[int]string{0: "127.0.0.1", 2: "localhost", 4: "[::1]"} {
		v := g.dialAddr(g.Listeners()[i]).send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").variables(t)
		assert.Equal(t, server, v["SERVER_NAME"], names[i])
		if i == 2 {
			assert.Equal(t, "127.0.0.1", v["REMOTE_ADDR"], "the peer of a Unix socket is on this machine")
			assert.Equal(t, "80", v["SERVER_PORT"])
			assert.NotContains(t, v, "SERVER_ADDR")
			assert.NotContains(t, v, "REMOTE_PORT")
		}
	}
	assert.Equal(t, "::1", g.dialAddr(g.Listeners()[4]).send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").variables(t)["REMOTE_ADDR"])
	assert.Equal(t, "on", g.dialSecond().send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").variables(t)["HTTPS"])
}

func TestADoorOnAllInterfacesIsShownAsLocalhost(t *testing.T) {
	s := newSite(t)
	g := s.serve(scripts + "listen: [{http: ':0'}]\n")
	assert.Regexp(t, `^http://localhost:\d+/$`, g.Addrs()[0])
}

func TestTheModeOfAUnixSocket(t *testing.T) {
	s := newSite(t)
	for yaml, mode := range map[string]os.FileMode{"": 0o660, ", socket_mode: \"0600\"": 0o600, ", socket_mode: \"0666\"": 0o666} {
		g := s.serve(scripts + "listen: [{http: 'unix:s'" + yaml + "}]\n")
		info, err := os.Stat(s.path("s"))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), yaml)
		g.shutdown()
		assert.False(t, exists(s.path("s")), "it is gone with the gateway")
	}
}

func TestAStaleUnixSocketIsReplaced(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	l, err := net.Listen("unix", s.path("s"))
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	require.True(t, exists(s.path("s")))
	g := s.serve(scripts + unixDoor)
	assert.Equal(t, "hello, world\n", g.dial().send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").body)
}

func TestAUnixSocketThatSomebodyListensAtIsLeftAlone(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + unixDoor)
	_, err := New(s.config(scripts+unixDoor), Options{})
	assert.ErrorContains(t, err, "somebody listens there already")
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.Equal(t, "hello, world\n", g.dial().send("GET /cgi-bin/p HTTP/1.0\r\n\r\n").answer("GET").body)
}

func TestAFileInTheWayOfAUnixSocketIsLeftAlone(t *testing.T) {
	s := newSite(t)
	s.write("s", "precious")
	_, err := New(s.config(scripts+unixDoor), Options{})
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	b, err := os.ReadFile(s.path("s"))
	require.NoError(t, err)
	assert.Equal(t, "precious", string(b))
	_, err = New(s.config(scripts+"listen: [{http: 'unix:none/s'}]\n"), Options{})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestAPortThatIsTakenStopsTheStartAndClosesTheOtherDoors(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = New(s.config(scripts+"listen: [{http: 'unix:s'}, {http: '"+l.Addr().String()+"'}]\n"), Options{})
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.ErrorContains(t, err, "door http "+l.Addr().String())
	assert.False(t, exists(s.path("s")))
	_, err = New(s.config(scripts+"admin: "+l.Addr().String()+"\n"), Options{})
	assert.ErrorContains(t, err, "admin door")
}

func TestASocketThatSystemdHasNotPassedStopsTheStart(t *testing.T) {
	s := newSite(t)
	_, err := New(s.config(scripts+"listen: [{http: systemd:web}]\n"), Options{})
	assert.ErrorContains(t, err, `systemd has passed no socket named "web"`)
}

// Those are for another process: systemd-run, or a wrapper, has not exec'ed us.
func TestSocketsForAnotherProcessAreNotTaken(t *testing.T) {
	s := newSite(t)
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "web")
	_, err := New(s.config(scripts+"listen: [{http: systemd:web}]\n"), Options{})
	assert.ErrorContains(t, err, "systemd has passed no socket")
	assert.Empty(t, os.Getenv("LISTEN_FDS"), "and no child believes that they are its own")
}
