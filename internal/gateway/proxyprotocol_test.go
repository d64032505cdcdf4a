package gateway

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// proxyV2 is a PROXY protocol header of version 2 for TCP.
func proxyV2(command byte, src, dst string) string {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	family := byte(0x11)
	if s.Addr().Is6() {
		family = 0x21
	}
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	addrs := append(s.Addr().AsSlice(), d.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addrs)+4))
	b = append(b, addrs...)
	b = binary.BigEndian.AppendUint16(b, s.Port())
	b = binary.BigEndian.AppendUint16(b, d.Port())
	return string(b)
}

const plainGet = "GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

func TestTheProxyProtocolOfATrustedProxyIsBelieved(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	for _, c := range []struct{ listen, peer string }{
		{"http: 127.0.0.1:0", "127.0.0.1"},
		{"http: 'unix:s'", "127.0.0.1"},
	} {
		g := s.serve(scripts + "trusted_proxies: [127.0.0.1, unix]\nlisten: [{" + c.listen + "}]\n")
		for _, h := range []struct{ name, header, addr, port, server string }{
			{"none", "", c.peer, "", ""},
			{"v1", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", "203.0.113.7", "4711", "192.0.2.1"},
			{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7", "4711", "2001:db8::1"},
			{"v2", proxyV2(1, "203.0.113.7:4711", "192.0.2.1:443"), "203.0.113.7", "4711", "192.0.2.1"},
			{"v2 IPv6", proxyV2(1, "[2001:db8::7]:4711", "[2001:db8::1]:443"), "2001:db8::7", "4711", "2001:db8::1"},
			{"v1 without an address", "PROXY UNKNOWN\r\n", c.peer, "", ""},
			{"v2 without an address", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", c.peer, "", ""},
			{"v2 health check of the proxy itself", proxyV2(0, "203.0.113.7:4711", "192.0.2.1:443"), c.peer, "", ""},
		} {
			v := http1(t, g.raw(h.header+plainGet+"\r\n")).variables(t)
			assert.Equal(t, h.addr, v["REMOTE_ADDR"], "%s: %s", c.listen, h.name)
			if h.port != "" {
				assert.Equal(t, h.port, v["REMOTE_PORT"], "%s: %s", c.listen, h.name)
				assert.Equal(t, h.server, v["SERVER_ADDR"], "%s: %s", c.listen, h.name)
				assert.Equal(t, "443", v["SERVER_PORT"], "%s: %s", c.listen, h.name)
			}
			// What the client itself says is not the proxy's word.
			v = http1(t, g.raw(h.header+plainGet+"X-Forwarded-For: 6.6.6.6\r\n\r\n")).variables(t)
			if h.port != "" {
				assert.Equal(t, h.addr, v["REMOTE_ADDR"], "%s: %s, with X-Forwarded-For", c.listen, h.name)
			} else {
				assert.Equal(t, "6.6.6.6", v["REMOTE_ADDR"], "%s: %s, with X-Forwarded-For", c.listen, h.name)
			}
		}
		g.shutdown()
	}
}

func TestTheProxyProtocolOfAnybodyElseIsABrokenRequest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	for _, trusted := range []string{"", "trusted_proxies: [10.0.0.0/8, unix]\n"} {
		g := s.serve(scripts + trusted)
		for _, header := range []string{"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", proxyV2(1, "203.0.113.7:4711", "192.0.2.1:443")} {
			assert.Equal(t, 400, http1(t, g.dial().send(header+plainGet+"\r\n").whatever()).StatusCode)
		}
		assert.Zero(t, g.metric("warmcgi_requests_total"))
	}
}

func TestABrokenProxyProtocolHeaderIsNotARequest(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1]\n")
	for _, header := range []string{
		"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n", "PROXY TCP4 x y 1 2\r\n", "PROXY " + strings.Repeat("x", 300) + "\r\n",
		proxyV2(2, "203.0.113.7:4711", "192.0.2.1:443"), "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n",
	} {
		assert.NotContains(t, g.dial().send(header+plainGet+"\r\n").whatever(), " 200 ", header)
	}
	assert.Zero(t, g.metric("warmcgi_requests_total"))
	// A request that is like a header at first is none.
	assert.Equal(t, 404, http1(t, g.raw("PROPFIND /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).StatusCode)
}

func TestTheProxyProtocolStandsBeforeTLS(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	s.certificate("localhost")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1]\n" + https)
	c := g.dial().send("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n")
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	_, err := io.WriteString(tc, plainGet+"\r\n")
	require.NoError(t, err)
	v := newRawClient(t, tc).answer("GET").variables(t)
	assert.Equal(t, "203.0.113.7", v["REMOTE_ADDR"])
	assert.Equal(t, "on", v["HTTPS"])
}
