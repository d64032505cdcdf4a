package gateway

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Client sends what it likes over HTTP/2, as no library would.
type h2Client struct {
	t  testing.TB
	fr *http2.Framer
	id uint32
}

func (g *testGateway) h2() *h2Client {
	c := g.dial().send(http2.ClientPreface)
	h := &h2Client{t: g.t, fr: http2.NewFramer(c, c.br), id: 1}
	h.fr.AllowIllegalWrites = true
	h.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(g.t, h.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
	require.NoError(g.t, h.fr.WriteSettingsAck())
	return h
}

// encode writes fields, NAME and value by turns, as they are.
func encode(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// ask sends a request with a body, if that is not "", and returns its answer's status and
// body. Status 0 is that the stream or the connection was ended.
func (h *h2Client) ask(body string, fields ...string) (status, text string) {
	h.t.Helper()
	id := h.id
	h.id += 2
	h.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encode(fields...), EndHeaders: true, EndStream: body == ""})
	for body != "" {
		piece := body[:min(len(body), 16<<10)]
		body = body[len(piece):]
		h.fr.WriteData(id, body == "", []byte(piece))
	}
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			return "0", text
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "0", text
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id && f.ErrCode != http2.ErrCodeNo {
				return "0", text
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			if status = f.PseudoValue("status"); f.StreamEnded() {
				return status, text
			}
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			if text += string(f.Data()); f.StreamEnded() {
				return status, text
			}
		}
	}
}

// plain2 is a request of HTTP/2 with other fields in the place of its own.
func plain2(change ...string) []string {
	fields := []string{":method", "GET", ":scheme", "http", ":authority", "www.example.org", ":path", "/cgi-bin/p"}
next:
	for i := 0; i < len(change); i += 2 {
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == change[i] {
				fields[j+1] = change[i+1]
				continue next
			}
		}
		fields = append(fields, change[i:i+2]...)
	}
	return fields
}

// What HTTP/1.1 could not say must not reach a script by HTTP/2: who writes it on as text
// would write something else.
func TestWhatOnlyHTTP2CanSayIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env", "touch ran")
	g := s.serve(scripts)
	status, text := g.h2().ask("", plain2()...)
	require.Equal(t, "200", status)
	require.Contains(t, text, "HTTP_HOST=www.example.org")
	for name, fields := range map[string][]string{
		"CRLF in a value":                 plain2("x-a", "b\r\nX-Forwarded-For: 6.6.6.6"),
		"CR in a value":                   plain2("x-a", "b\rc"),
		"LF in a value":                   plain2("x-a", "b\nc"),
		"NUL in a value":                  plain2("x-a", "b\x00c"),
		"CRLF in a cookie":                plain2("cookie", "a=b\r\nx: y"),
		"CRLF in a name":                  plain2("x-a\r\nx-b", "c"),
		"a colon in a name":               plain2("x-a:b", "c"),
		"a space in a name":               plain2("x-a b", "c"),
		"an empty name":                   plain2("", "c"),
		"an upper-case name":              plain2("X-A", "b"),
		"transfer-encoding":               plain2("transfer-encoding", "chunked"),
		"connection":                      plain2("connection", "x-a", "x-a", "b"),
		"keep-alive":                      plain2("keep-alive", "1"),
		"upgrade":                         plain2("upgrade", "h2c"),
		"proxy-connection":                plain2("proxy-connection", "keep-alive"),
		"te":                              plain2("te", "gzip"),
		"a space in the path":             plain2(":path", "/cgi-bin/p/a HTTP/1.1"),
		"a space in the query":            plain2(":path", "/cgi-bin/p?a HTTP/1.1"),
		"CRLF in the path":                plain2(":path", "/cgi-bin/p HTTP/1.1\r\nX-A: b"),
		"CRLF in the query":               plain2(":path", "/cgi-bin/p?a HTTP/1.1\r\nX-A: b"),
		"a tab in the path":               plain2(":path", "/cgi-bin/p/a\tb"),
		"a tab in the query":              plain2(":path", "/cgi-bin/p?a\tb"),
		"DEL in the query":                plain2(":path", "/cgi-bin/p?a\x7fb"),
		"a fragment":                      plain2(":path", "/cgi-bin/p#/../q"),
		"a fragment behind the query":     plain2(":path", "/cgi-bin/p?a#b"),
		"no path":                         plain2(":path", ""),
		"a path that is no path":          plain2(":path", "cgi-bin/p"),
		"a space in the method":           plain2(":method", "GET /evil HTTP/1.1"),
		"CRLF in the method":              plain2(":method", "GET / HTTP/1.1\r\nX-A: b"),
		"a colon in the method":           plain2(":method", "GET:"),
		"another scheme":                  plain2(":scheme", "file"),
		"a text for a scheme":             plain2(":scheme", "http://x/"),
		"a space in the authority":        plain2(":authority", "a b"),
		"markup in the authority":         plain2(":authority", "<script>"),
		"a slash in the authority":        plain2(":authority", "www.example.org/x"),
		"a user in the authority":         plain2(":authority", "user@www.example.org"),
		"two hosts":                       plain2("host", "evil.example"),
		"two hosts, one of them empty":    plain2("host", ""),
		"a host twice":                    plain2("host", "www.example.org", "host ", "x"),
		"the path twice":                  append(plain2(), ":path", "/cgi-bin/q"),
		"the authority twice":             append(plain2(), ":authority", "evil.example"),
		"a pseudo-field behind a field":   append(plain2("x-a", "b"), ":path", "/cgi-bin/q"),
		"a pseudo-field of an answer":     plain2(":status", "200"),
		"a pseudo-field of no kind":       plain2(":x", "y"),
		"a length of a body that is none": plain2("content-length", "5"),
		"a length that is none":           plain2(":method", "POST", "content-length", "x"),
	} {
		status, text := g.h2().ask("", fields...)
		assert.Contains(t, []string{"0", "400", "501"}, status, "%s: %s", name, strings.ReplaceAll(text, "\x00", " "))
	}
	for name, c := range map[string]struct{ body, length string }{
		"more than its length": {"0123456789", "5"},
		"less than its length": {"0123", "5"},
		"two lengths":          {"01234", "5, 6"},
		"signed":               {"01234", "+5"},
		"hexadecimal":          {"01234", "0x5"},
	} {
		status, text := g.h2().ask(c.body, plain2(":method", "POST", "content-length", c.length)...)
		assert.Contains(t, []string{"0", "400"}, status, "%s: %s", name, strings.ReplaceAll(text, "\x00", " "))
	}

}

// The same over HTTP/1.1, as far as it can be said there.
func TestATargetOrHostThatNoURLCouldHaveIsRefused(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "touch ran")
	g := s.serve(scripts)
	for _, head := range []string{
		"GET /cgi-bin/p#/../q HTTP/1.1\r\nHost: x\r\n",
		"GET /cgi-bin/p?a#b HTTP/1.1\r\nHost: x\r\n",
		"GET http://x/cgi-bin/p#a HTTP/1.1\r\nHost: x\r\n",
		"GET http://<script>/cgi-bin/p HTTP/1.1\r\nHost: x\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: <script>\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: user@x\r\n",
		"GET /cgi-bin/p HTTP/1.1\r\nHost: x/y\r\n",
		"GET /cgi-bin/p a HTTP/1.1\r\nHost: x\r\n",
		"G:ET /cgi-bin/p HTTP/1.1\r\nHost: x\r\n",
	} {
		assert.Equal(t, 400, http1(t, g.raw(head+"Connection: close\r\n\r\n")).StatusCode, head)
	}
	assert.False(t, exists(s.path("cgi-bin/ran")))
	g.requireFailure("malformed", 400)
	g.requireFailure("bad_host", 400)
}
