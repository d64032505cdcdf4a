package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
	"warmcgi/internal/urlpath"
)

// FuzzPHPSplit: whatever is asked for, what PHP gets is a .php file of its folder that is
// there, named by the beginning of the path; PATH_INFO is all that stands behind it.
func FuzzPHPSplit(f *testing.F) {
	for _, in := range []string{
		"/index.php", "/index.php/a/b", "/index.php/a%0ab", "/index.php%0a/b", "/picture.jpg/x.php", "/picture.jpg%00.php", "/a.php/b.php/c", "/%C8%BA.php/%C8%BA%C8%BA", "/sub/index.php//x//", "/sub/",
		"/folder.php/index.php/x", "/..%2findex.php", "/sub/../index.php/x", "/index.php/..%2f..", "/index.PHP/x", "/index.ph%C5%BF/x", "/none/at/all", "/.hidden.php", "/index.php~", "/%ff.php/%ff", "/link.php/x", "//index.php", "/index.php/%2e%2e/x",
	} {
		f.Add(in)
	}
	root := filepath.Join(f.TempDir(), "root")
	for _, name := range []string{"index.php", "a.php", "sub/index.php", "folder.php/index.php", "picture.jpg", "Ⱥ.php", "\xff.php", ".hidden.php", "index.PHP", "x.phtml"} {
		require.NoError(f, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(f, os.WriteFile(filepath.Join(root, name), nil, 0o644))
	}
	require.NoError(f, os.Symlink("a.php", filepath.Join(root, "link.php")))
	require.NoError(f, os.Symlink("/etc/passwd", filepath.Join(root, "leak.php")))
	yaml := "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /, php: {root: " + root + ", index: [index.php], fastcgi: {servers: ['unix:/none']}}}]\n"
	c, err := config.Parse(filepath.Join(root, "gateway.yaml"), []byte(yaml), config.Options{})
	require.NoError(f, err)
	routing, err := NewRouting(c)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, in string) {
		u, err := http.NewRequest("GET", "http://x/", nil)
		require.NoError(t, err)
		if u.URL, err = u.URL.Parse(in); err != nil || !strings.HasPrefix(in, "/") || u.URL.Host != "x" {
			return
		}
		e := routing.Explain(u)
		if e.Script == nil {
			return
		}
		v := map[string]string{}
		for _, pair := range e.Script.Vars {
			name, value, _ := strings.Cut(pair, "=")
			v[name] = value
		}
		file, name := v["SCRIPT_FILENAME"], v["SCRIPT_NAME"]
		info, has := v["PATH_INFO"]
		require.Equal(t, ".php", filepath.Ext(file), "%q", in)
		stat, err := os.Lstat(file)
		require.NoError(t, err, "%q", in)
		require.True(t, stat.Mode().IsRegular(), "%q", in)
		require.True(t, strings.HasPrefix(file, root+"/") && !strings.Contains(file, "/."), "%q runs %q", in, file)
		require.NotContains(t, v, "PATH_TRANSLATED")
		if has {
			require.True(t, strings.HasPrefix(info, "/"), "%q: %q", in, info)
		}
		p, err := urlpath.Parse(u.URL.EscapedPath())
		require.NoError(t, err)
		whole := p.String()
		require.True(t, strings.HasSuffix(whole, info), "%q: %q", in, info)
		before := strings.TrimSuffix(whole, info)
		if strings.HasSuffix(before, "/") { // a folder's index
			before += "index.php"
		}
		for strings.Contains(before, "//") {
			before = strings.ReplaceAll(before, "//", "/")
		}
		require.Equal(t, before, name, "%q: %q and %q", in, name, info)
	})
}

// FuzzRange: an answer to a request for parts of a file, under conditions, has the parts
// that it says it has, and never much more than the file.
func FuzzRange(f *testing.F) {
	for _, in := range []string{
		"bytes=0-0", "bytes=-1", "bytes=5-", "bytes=0-9,20-29", "bytes=0-0,0-0,0-0", "bytes=99999-", "bytes=5-1", "bytes=-0", "bytes=a-b", "bytes=", "lines=0-1", "bytes= 1 - 2 , 3-4", "bytes=0-18446744073709551616", "bytes=9223372036854775807-", "bytes=-9223372036854775808", "bytes=0-\x00",
	} {
		f.Add(in, "", "", "", false)
	}
	f.Add("bytes=0-1", `"x"`, "*", "", true)
	f.Add("bytes=0-1", "Thu, 01 Jan 1970 00:00:00 GMT", `W/"a", "b`, "Mon, 02 Jan 2006 15:04:05 GMT", false)
	root := f.TempDir()
	body := pattern(1000)
	require.NoError(f, os.WriteFile(filepath.Join(root, "a.bin"), body, 0o644))
	require.NoError(f, os.WriteFile(filepath.Join(root, "a.bin.gz"), body[:700], 0o644))
	c, err := config.Parse(filepath.Join(root, "gateway.yaml"), []byte("listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /, files: {root: .}, compress: {}}]\n"), config.Options{})
	require.NoError(f, err)
	routes, err := newRouteTable(c)
	require.NoError(f, err)
	st := newState(c)
	st.routes = routes
	s := &Server{watch: newWatch(false), metrics: newMetrics(), ids: newIDs(), stall: time.Minute}
	f.Fuzz(func(t *testing.T, ranges, ifRange, match, since string, zipped bool) {
		r := httptest.NewRequest("GET", "/a.bin", nil)
		for name, value := range map[string]string{"Range": ranges, "If-Range": ifRange, "If-None-Match": match, "If-Match": match, "If-Modified-Since": since, "If-Unmodified-Since": since} {
			if value != "" && (name != "If-Match" || len(match)%2 == 1) {
				r.Header[name] = []string{value}
			}
		}
		want := body
		if zipped {
			r.Header.Set("Accept-Encoding", "gzip")
			want = body[:700]
		}
		w := httptest.NewRecorder()
		x := &exchange{ResponseWriter: w, s: s, st: st, r: r, first: r}
		require.NoError(t, x.dispatch())
		got := w.Body.Bytes()
		switch w.Code {
		case http.StatusOK:
			require.Equal(t, want, got)
		case http.StatusPartialContent:
			ctype, p, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
			require.NoError(t, err)
			if ctype != "multipart/byteranges" {
				requirePart(t, w.Header().Get("Content-Range"), got, want)
				return
			}
			sum := 0
			for mr := multipart.NewReader(bytes.NewReader(got), p["boundary"]); ; {
				part, err := mr.NextPart()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				b, err := io.ReadAll(part)
				require.NoError(t, err)
				requirePart(t, part.Header.Get("Content-Range"), b, want)
				sum += len(b)
			}
			require.LessOrEqual(t, sum, len(want))
		case http.StatusNotModified, http.StatusPreconditionFailed:
			require.Empty(t, got)
		default:
			require.Equal(t, http.StatusRequestedRangeNotSatisfiable, w.Code)
		}
	})
}

// requirePart requires that a part is the one of the whole that it says it is.
func requirePart(t *testing.T, says string, part, whole []byte) {
	t.Helper()
	span, size, _ := strings.Cut(strings.TrimPrefix(says, "bytes "), "/")
	from, to, _ := strings.Cut(span, "-")
	first, err := strconv.Atoi(from)
	require.NoError(t, err, says)
	last, err := strconv.Atoi(to)
	require.NoError(t, err, says)
	require.Equal(t, strconv.Itoa(len(whole)), size)
	require.True(t, first <= last && last < len(whole), says)
	require.Equal(t, whole[first:last+1], part, says)
}

// oneConn is a listener with one connection, from an address.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

// said is a connection by which a client has said all that it will.
type said struct {
	net.Conn
	in   *bytes.Reader
	from net.Addr
}

func (s *said) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *said) Close() error                     { return nil }
func (s *said) RemoteAddr() net.Addr             { return s.from }
func (s *said) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (s *said) SetDeadline(time.Time) error      { return nil }
func (s *said) SetReadDeadline(time.Time) error  { return nil }
func (s *said) SetWriteDeadline(time.Time) error { return nil }

// FuzzProxyProtocol: to who is not trusted the header is the request's beginning, octet by
// octet. Behind one of who is trusted comes all that was sent behind it, and REMOTE_ADDR is
// an address.
func FuzzProxyProtocol(f *testing.F) {
	v2 := func(command, family byte, addr string) []byte {
		b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family, byte(len(addr)>>8), byte(len(addr)))
		return append(b, addr+"GET / HTTP/1.1\r\n"...)
	}
	for _, in := range [][]byte{
		[]byte("PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n"), []byte("PROXY TCP6 2001:db8::7 ::1 4711 80\r\nx"), []byte("PROXY UNKNOWN\r\nx"), []byte("PROXY TCP4 203.0.113.7"),
		[]byte("PROXY TCP4 evil 127.0.0.1 1 2\r\nx"), []byte("PROXY TCP4 203.0.113.7 127.0.0.1 99999 -1\r\n"), []byte("PROXY \r\n"), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		v2(1, 0x11, "\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x67\x00\x50"), v2(0, 0, ""), v2(1, 0x31, strings.Repeat("/evil<script>\x00", 20)[:216]), v2(1, 0x11, "short"), v2(1, 0x21, strings.Repeat("\xff", 36)+"\x03\x00\x04abcd"), v2(1, 0x12, strings.Repeat("a", 12)),
	} {
		f.Add(in)
	}
	c := &config.Config{TrustedProxies: trustingLoopback}
	s := &Server{}
	s.state.Store(newState(c))
	d := &door{}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, from := range []string{"203.0.113.9:1", "127.0.0.1:1"} {
			conn := &said{in: bytes.NewReader(in), from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
			l := connListener{&proxyproto.Listener{Listener: &oneConn{conn: conn}, ConnPolicy: s.proxyPolicy(d), ReadHeaderTimeout: time.Minute}, time.Minute}
			a, err := l.Accept()
			require.NoError(t, err)
			got, err := io.ReadAll(a)
			addr := a.RemoteAddr()
			a.Close()
			if from != "127.0.0.1:1" {
				require.NoError(t, err)
				require.Equal(t, string(in), string(got))
				require.Equal(t, from, addr.String())
				continue
			}
			require.True(t, bytes.HasSuffix(in, got), "%q", got)
			r := httptest.NewRequest("GET", "/", nil)
			if r.RemoteAddr = ""; addr != nil { // as net/http has it
				r.RemoteAddr = addr.String()
			}
			who := clientOf(r, c.TrustedProxies, !hasAddr(r)).addr
			_, err = netip.ParseAddr(hostOf(who))
			require.NoError(t, err, who)
		}
	})
}

// A proxy whose own client came by a Unix socket, or by nothing that it knows, may say so.
func TestAClientThatHasNoAddressByAProxysWordIsOnThisMachine(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "trusted_proxies: [127.0.0.1]\n")
	for what, family := range map[string]string{"a Unix socket": "\x31\x00\xd8" + strings.Repeat("/evil<script>\x00", 20)[:216], "IPv6 of no kind": "\x20\x00\x24" + strings.Repeat("0", 36)} {
		v := http1(t, g.raw("\r\n\r\n\x00\r\nQUIT\n\x21"+family+"GET /cgi-bin/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")).variables(t)
		assert.Equal(t, "127.0.0.1", v["REMOTE_ADDR"], what)
	}
}
