package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// shutdownWithin begins a shutdown that waits for requests so long.
func (g *testGateway) shutdownWithin(d time.Duration) <-chan error {
	g.t.Helper()
	g.stopped = true
	down := make(chan error, 1)
	go func() { // ends with Shutdown
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		down <- g.Shutdown(ctx)
	}()
	eventually(g.t, g.isStopping, "it is stopping")
	return down
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello+"hello", "touch up", "await go", "out , world\n")
	s.script("cgi-bin/reason", "out Status: 200 Fine, really\nContent-Type: text/plain\n\nhello", "touch up", "await go", "out , world\n")
	s.script("cgi-bin/before", "touch up", "await go", hello+"hello, world\n")
	s.certificate("localhost")
	for _, c := range []struct{ how, name string }{
		{"HTTP/1.1", "p"}, {"HTTP/1.1", "reason"}, {"HTTP/1.1", "before"}, {"HTTP/2.0", "p"}, {"HTTP/2.0", "before"}, {"HTTPS", "p"},
	} {
		os.Remove(s.path("cgi-bin/up"))
		os.Remove(s.path("cgi-bin/go"))
		g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
		var client *http.Client
		url := g.url("/cgi-bin/" + c.name)
		if c.how == "HTTPS" {
			client, url = g.clientOf("HTTP/2.0"), "https://"+g.Listeners()[1].String()+"/cgi-bin/"+c.name
		} else {
			client = g.clientOf(c.how)
		}
		got := make(chan *answer, 1)
		go func() { // ends with the answer
			r, _ := newURLRequest(url)
			res, err := client.Do(r)
			if assert.NoError(t, err, c) {
				got <- readAnswer(res)
			} else {
				close(got)
			}
		}()
		s.started("cgi-bin/up")
		down := g.shutdownWithin(patience)
		eventually(t, func() bool {
			conn, err := net.Dial("tcp", g.addr())
			if err == nil {
				conn.Close()
			}
			return err != nil
		}, "the door is closed")
		select {
		case <-down:
			require.Fail(t, "it did not wait", "%v", c)
		default:
		}
		s.touch("cgi-bin/go")
		a := <-got
		require.NotNil(t, a)
		assert.NoError(t, a.err, c)
		assert.Equal(t, "hello, world\n", a.body, c)
		assert.NoError(t, <-down, c)
		assert.NoError(t, <-g.served, c)
	}
}

func TestShutdownEndsTheScriptsThatDoNot(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello+"part", "touch up", "hang")
	s.script("cgi-bin/stubborn", "ignore SIGTERM", hello+"part", "touch up", "hang")
	s.script("cgi-bin/finish", hello+"part", "touch up", "hang")
	s.script("cgi-bin/behind", "ignore SIGTERM", hello+"part", "close 1", "touch up", "hang")
	for _, name := range []string{"p", "stubborn", "finish", "behind"} {
		os.Remove(s.path("cgi-bin/up"))
		more := ""
		if name == "finish" {
			more = "    on_disconnect: finish\n"
		}
		g := s.serve(scripts + "    timeout: {grace: 200ms}\n" + more)
		c := g.dial().send("GET /cgi-bin/" + name + " HTTP/1.1\r\nHost: x\r\n\r\n")
		pid := s.started("cgi-bin/up")
		if name == "behind" {
			assert.Equal(t, "part", c.answer("GET").body)
		}
		began := time.Now()
		assert.NoError(t, <-g.shutdownWithin(100*time.Millisecond), name)
		assert.NoError(t, <-g.served, name)
		assert.False(t, lives(pid), name)
		assert.Less(t, time.Since(began), 15*time.Second, name)
		if name != "behind" {
			assert.Error(t, c.answer("GET").err, "%s: it does not look whole", name)
		}
		assert.Zero(t, g.metric("warmcgi_processes"), name)
	}
}

func TestShutdownDoesNotWaitForIdleConnections(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 127.0.0.1:0}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	c := g.dial()
	c.send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET")
	tls := g.dialSecond()
	tls.send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n").answer("GET")
	assert.Equal(t, 200, doWith(t, g.clientOf("HTTP/2.0"), g.request("GET", "/cgi-bin/p", nil)).StatusCode)
	began := time.Now()
	assert.NoError(t, <-g.shutdownWithin(patience))
	assert.Less(t, time.Since(began), patience/2)
	assert.NoError(t, <-g.served)
	c.ended()
	tls.ended()
}

func TestARequestOnAKeptConnectionAfterShutdownIsNotStarted(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	g := s.serve(scripts)
	c := g.dial().send("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	down := g.shutdownWithin(patience)
	require.NoError(t, os.Remove(s.path("cgi-bin/up")))
	s.touch("cgi-bin/go")
	assert.Equal(t, "hello, world\n", c.answer("GET").body)
	assert.NoError(t, <-down)
	c.whatever()
	assert.False(t, exists(s.path("cgi-bin/up")))
	assert.NoError(t, <-g.served)
}

func TestAGatewayThatNeverServedCanBeShutDown(t *testing.T) {
	s := newSite(t)
	g, err := New(s.config(scripts+"log: {access: {format: \"off\"}}\n"), Options{})
	require.NoError(t, err)
	addr := g.Listeners()[0].String()
	require.NoError(t, g.Shutdown(context.Background()))
	_, err = net.Dial("tcp", addr)
	assert.Error(t, err, "the door is closed")
	assert.NoError(t, g.Serve(), "and stays so")
}

func TestShutdownSaysOnHTTP2WhichRequestWasTheLast(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", "touch up", "await go", helloWorld)
	g := s.serve(scripts)
	c := g.dial()
	c.send(http2.ClientPreface)
	f := http2.NewFramer(c, c)
	require.NoError(t, f.WriteSettings())
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/cgi-bin/p"}} {
		require.NoError(t, enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}))
	s.started("cgi-bin/up")
	down := g.shutdownWithin(patience)
	var body, order string
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			assert.ErrorIs(t, err, io.EOF)
			break
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			if order == "" {
				s.touch("cgi-bin/go")
			}
			order += "goodbye "
			assert.Equal(t, http2.ErrCodeNo, frame.ErrCode)
		case *http2.DataFrame:
			body += string(frame.Data())
			if frame.StreamEnded() {
				order += "answer "
			}
		}
	}
	assert.Equal(t, "hello, world\n", body)
	assert.True(t, strings.HasPrefix(order, "goodbye "), order)
	assert.Contains(t, order, "answer")
	assert.NoError(t, <-down)
	assert.NoError(t, <-g.served)
}

func TestLeavingClientsMayAskOnceMore(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", helloWorld)
	s.script("cgi-bin/slow", hello+"part", "touch up", "await go", "out , and rest")
	s.certificate("localhost")
	g := s.serve(scripts + "listen: [{http: 'unix:s'}, {https: 127.0.0.1:0, tls: {cert: cert.pem, key: key.pem}}]\n")
	const ask = "GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n\r\n"
	plain, secret, silent := g.dial(), g.dialSecond(), g.dial()
	for _, c := range []*rawClient{plain, secret, silent} {
		assert.Equal(t, 200, c.send(ask).answer("GET").StatusCode)
	}
	streams := g.dial().send("GET /cgi-bin/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	two := g.clientOf("HTTP/2.0")
	r, err := newURLRequest("https://" + g.Listeners()[1].String() + "/cgi-bin/p")
	require.NoError(t, err)
	assert.Equal(t, 200, doWith(t, two, r).StatusCode)

	sockets, err := g.Sockets() // another process has them
	require.NoError(t, err)
	require.Len(t, sockets, 3, "with the admin door's")
	other, err := ListenerOf(sockets[0].Descriptor)
	require.NoError(t, err)
	defer other.Close()
	for _, k := range sockets[1:] {
		syscall.Close(k.Descriptor)
	}
	g.stopped = true
	down := make(chan error, 1)
	go func() { // ends with Leave
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		down <- g.Leave(ctx)
	}()
	for _, c := range []*rawClient{plain, secret} {
		eventually(t, g.isStopping, "it leaves")
		eventually(t, func() bool { return g.openDoors()[0].isDraining() && g.openDoors()[1].isDraining() }, "the doors drain")
		a := c.send(ask).answer("GET")
		assert.Equal(t, 200, a.StatusCode)
		assert.True(t, a.Close, "Connection: close")
		c.ended()
	}
	assert.Equal(t, 200, doWith(t, two, r).StatusCode)
	silent.ended() // it had its time
	s.touch("cgi-bin/go")
	assert.Equal(t, "part, and rest", streams.answer("GET").body)
	assert.NoError(t, <-down)
	assert.NoError(t, <-g.served)
	assert.True(t, exists(s.path("s")), "the socket's file is the other's")
	late, err := net.Dial("unix", s.path("s"))
	require.NoError(t, err, "and so are those who come now")
	late.Close()
}
