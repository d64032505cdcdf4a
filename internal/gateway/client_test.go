package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// seen is what a script and the log hear of a client.
type seen struct{ addr, host, port, scheme, server string }

func (g *testGateway) seenFrom(t *testing.T, fields ...string) seen {
	t.Helper()
	v := g.get("/cgi-bin/p", fields...).variables(t)
	assert.Equal(t, v["REQUEST_SCHEME"] == "https", v["HTTPS"] == "on")
	return seen{v["REMOTE_ADDR"], v["HTTP_HOST"], v["SERVER_PORT"], v["REQUEST_SCHEME"], v["SERVER_NAME"]}
}

func TestATrustedProxySaysWhoTheClientIs(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1, 10.0.0.0/8, \"2001:db8:1::/48\"]\n")
	_, port, _ := strings.Cut(g.addr(), ":")
	direct := seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}
	assert.Equal(t, direct, g.seenFrom(t))
	from := func(addr string) seen { s := direct; s.addr = addr; return s }

	cases := []struct {
		fields string
		want   string
	}{
		{"X-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7"},
		{"X-Forwarded-For: 2001:db8::7", "2001:db8::7"},
		{"X-Forwarded-For: [2001:db8::7]:80", "2001:db8::7"},
		{"X-Forwarded-For: [2001:db8::7]", "2001:db8::7"},
		{"X-Forwarded-For: ::ffff:203.0.113.7", "::ffff:203.0.113.7"},
		// What stands left of the first that is not a proxy's is whatever the client made up.
		{"X-Forwarded-For: 6.6.6.6, 203.0.113.7", "203.0.113.7"},
		{"X-Forwarded-For: 127.0.0.1, 203.0.113.7", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7, 10.1.2.3", "203.0.113.7"},
		{"X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.2.3 ,\t10.9.9.9", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7, 2001:db8:1::5", "203.0.113.7"},
		{"X-Forwarded-For: 203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7"},
		{"X-Forwarded-For: 10.1.2.3, 10.1.2.4", "10.1.2.3"},
		{"X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		// Nonsense, and what is not to be told, ends the chain.
		{"X-Forwarded-For: ", "127.0.0.1"},
		{"X-Forwarded-For: unknown", "127.0.0.1"},
		{"X-Forwarded-For: 203.0.113.7, ", "127.0.0.1"},
		{"X-Forwarded-For: 203.0.113.7, evil.example", "127.0.0.1"},
		{"X-Forwarded-For: 203.0.113.7, <script>, 10.1.2.3", "10.1.2.3"},
		{"X-Forwarded-For: 203.0.113.999", "127.0.0.1"},
		// RFC 7239
		{"Forwarded: for=203.0.113.7", "203.0.113.7"},
		{"Forwarded: For=\"203.0.113.7:4711\"", "203.0.113.7"},
		{"Forwarded: for=\"[2001:db8::7]:4711\"", "2001:db8::7"},
		{"Forwarded: for=\"[2001:db8::7]\"", "2001:db8::7"},
		{"Forwarded: by=10.0.0.1 ; for=203.0.113.7", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6, for=203.0.113.7;by=x, for=10.0.0.1", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6\nForwarded: for=203.0.113.7", "203.0.113.7"},
		{"Forwarded: for=203.0.113.7, for=unknown", "127.0.0.1"},
		{"Forwarded: for=203.0.113.7, for=_hidden, for=10.0.0.1", "10.0.0.1"},
		{"Forwarded: for=203.0.113.7, by=10.0.0.1", "127.0.0.1"},
		{"Forwarded: ", "127.0.0.1"},
		// A client's unfinished quotes don't swallow what the proxy adds.
		{"Forwarded: for=\"6.6.6.6, for=203.0.113.7", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6;x=\"\\\", for=203.0.113.7", "203.0.113.7"},
		// Fields that are none of these.
		{"X-Real-IP: 6.6.6.6\nClient-IP: 6.6.6.6\nX-Client-IP: 6.6.6.6\nTrue-Client-IP: 6.6.6.6\nX_Forwarded_For: 6.6.6.6", "127.0.0.1"},
		// Nearly every proxy writes X-Forwarded-For, and passes Forwarded on as the client wrote it.
		{"Forwarded: for=6.6.6.6;proto=https;host=evil.example\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		{"Forwarded: for=6.6.6.6\nX-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"},
	}
	for _, c := range cases {
		var fields []string
		for f := range strings.SplitSeq(c.fields, "\n") {
			name, value, _ := strings.Cut(f, ":")
			fields = append(fields, name, value)
		}
		assert.Equal(t, from(c.want), g.seenFrom(t, fields...), c.fields)
	}
	list := g.logged(1 + len(cases))
	assert.Equal(t, "203.0.113.7", list[1].Client, "in the log too")
	assert.Equal(t, "2001:db8::7", list[4].Client)
}

func TestATrustedProxySaysHowItWasAsked(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1, 10.0.0.0/8]\n")
	_, port, _ := strings.Cut(g.addr(), ":")
	for _, c := range []struct {
		fields []string
		want   seen
	}{
		{[]string{"X-Forwarded-Proto", "https"}, seen{"127.0.0.1", g.addr(), "443", "https", "127.0.0.1"}},
		{[]string{"X-Forwarded-Proto", "HTTPS"}, seen{"127.0.0.1", g.addr(), "443", "https", "127.0.0.1"}},
		{[]string{"X-Forwarded-Proto", "http"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Proto", "https, http"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Proto", "javascript"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Host", "www.example.org"}, seen{"127.0.0.1", "www.example.org", "80", "http", "www.example.org"}},
		{[]string{"X-Forwarded-Host", "evil.example, www.example.org:81"}, seen{"127.0.0.1", "www.example.org:81", "80", "http", "www.example.org"}},
		{[]string{"X-Forwarded-Host", "www.example.org", "X-Forwarded-Port", "8443", "X-Forwarded-Proto", "https", "X-Forwarded-For", "203.0.113.7"},
			seen{"203.0.113.7", "www.example.org", "8443", "https", "www.example.org"}},
		{[]string{"X-Forwarded-Port", "8080"}, seen{"127.0.0.1", g.addr(), "8080", "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Port", "8080; rm"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Port", "808080"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Port", "-1"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		// What no Host could be is not one by a proxy's word either.
		{[]string{"X-Forwarded-Host", "<script>"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Host", "www.example.org/x"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"X-Forwarded-Host", "user@www.example.org"}, seen{"127.0.0.1", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"Forwarded", `for=203.0.113.7;host="a b"`}, seen{"203.0.113.7", g.addr(), port, "http", "127.0.0.1"}},
		{[]string{"Forwarded", `for=203.0.113.7;proto=https;host=www.example.org`}, seen{"203.0.113.7", "www.example.org", "443", "https", "www.example.org"}},
		{[]string{"Forwarded", `for=6.6.6.6;host=evil.example;proto=http, for=203.0.113.7;proto=HTTPS;host="www.example.org:8443"`},
			seen{"203.0.113.7", "www.example.org:8443", "443", "https", "www.example.org"}},
		{[]string{"Forwarded", `for=203.0.113.7;proto=https;host=www.example.org, for=10.0.0.1;proto=http`},
			seen{"203.0.113.7", "www.example.org", "443", "https", "www.example.org"}},
	} {
		assert.Equal(t, c.want, g.seenFrom(t, c.fields...), c.fields)
	}
}

func TestWhoIsNotTrustedIsNotBelieved(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	for _, yaml := range []string{"", "trusted_proxies: [10.0.0.0/8, unix]\n"} {
		g := s.serve(scripts + yaml)
		_, port, _ := strings.Cut(g.addr(), ":")
		v := g.get("/cgi-bin/p", "X-Forwarded-For", "6.6.6.6", "Forwarded", "for=6.6.6.6;host=evil.example;proto=https",
			"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example", "X-Forwarded-Port", "1").variables(t)
		assert.Equal(t, "127.0.0.1", v["REMOTE_ADDR"])
		assert.Equal(t, g.addr(), v["HTTP_HOST"])
		assert.Equal(t, port, v["SERVER_PORT"])
		assert.NotContains(t, v, "HTTPS")
		assert.Equal(t, "6.6.6.6", v["HTTP_X_FORWARDED_FOR"], "a script may judge for itself")
	}
}

func TestThePeerOfAUnixSocketIsTrustedByName(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	for _, c := range []struct{ trusted, want string }{
		{"", "127.0.0.1"},
		{"trusted_proxies: [127.0.0.0/8]\n", "127.0.0.1"},
		{"trusted_proxies: [unix]\n", "203.0.113.7"},
		{"trusted_proxies: [unix, 127.0.0.1]\n", "203.0.113.7"},
	} {
		g := s.serve(scripts + "listen: [{http: 'unix:s'}]\n" + c.trusted)
		a := http1(t, g.raw("GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"))
		assert.Equal(t, c.want, a.variables(t)["REMOTE_ADDR"], c.trusted)
		g.shutdown()
	}
}

func TestTheHostOfAnAbsoluteTargetIsTheHost(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts)
	v := http1(t, g.raw("GET http://www.example.org:81/cgi-bin/p?x=y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")).variables(t)
	assert.Equal(t, "www.example.org:81", v["HTTP_HOST"])
	assert.Equal(t, "www.example.org", v["SERVER_NAME"])
	assert.Equal(t, "/cgi-bin/p?x=y", v["REQUEST_URI"])
}
