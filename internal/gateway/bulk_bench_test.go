//go:build linux

package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bulk is what BenchmarkUpload and BenchmarkAnswer move 16 MiB through a CGI script in mode spawn. Its
// start is in the time, and takes little of it; allocations are the gateway's alone.
const bulk = 16 << 20

func BenchmarkUpload(b *testing.B) {
	c := benchmarkGateway(b, "#!/bin/sh\nn=$(wc -c)\nprintf 'Content-Type: text/plain\\n\\n%s' $n\n")
	head := fmt.Appendf(nil, "POST /cgi-bin/script HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", bulk)
	body := make([]byte, bulk)
	b.SetBytes(bulk)
	b.ReportAllocs()
	for b.Loop() {
		c.exchange(head, body, int64(len(fmt.Sprint(bulk))))
	}
}

func BenchmarkAnswer(b *testing.B) {
	c := benchmarkGateway(b, fmt.Sprintf("#!/bin/sh\nprintf 'Content-Type: text/plain\\nContent-Length: %d\\n\\n'\nexec head -c %d /dev/zero\n", bulk, bulk))
	request := []byte("GET /cgi-bin/script HTTP/1.1\r\nHost: a\r\n\r\n")
	b.SetBytes(bulk)
	b.ReportAllocs()
	for b.Loop() {
		c.exchange(request, nil, bulk)
	}
}

// BenchmarkSmallAnswer is a file of 1,000 octets: what every request costs, whatever
// answers it.
func BenchmarkSmallAnswer(b *testing.B) {
	s := newSite(b)
	s.write("html/small.txt", string(make([]byte, 1000)))
	c := s.serve("routes: [{path: /, files: {root: html}}]\nlog: {access: {format: off}}").benchmarkClient()
	request := []byte("GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		c.exchange(request, nil, 1000)
	}
}

func benchmarkGateway(b *testing.B, script string) *benchmarkClient {
	s := newSite(b)
	file := s.write("cgi-bin/script", script)
	require.NoError(b, os.Chmod(file, 0o755))
	return s.serve(scripts + "log: {access: {format: off}}\n").benchmarkClient()
}

// benchmarkClient allocates nothing for a request.
type benchmarkClient struct {
	net.Conn
	b  testing.TB
	br *bufio.Reader
}

func (g *testGateway) benchmarkClient() *benchmarkClient {
	c, err := net.Dial("tcp", g.addr())
	require.NoError(g.t, err)
	g.t.Cleanup(func() { c.Close() })
	require.NoError(g.t, c.SetDeadline(time.Now().Add(10*time.Minute)))
	return &benchmarkClient{c, g.t, bufio.NewReaderSize(c, 64<<10)}
}

var lengthField = []byte("Content-Length: ")

// exchange sends a request, and wants an answer of so many octets.
func (c *benchmarkClient) exchange(head, body []byte, want int64) {
	if _, err := c.Write(head); err != nil {
		c.b.Fatal(err)
	}
	if _, err := c.Write(body); err != nil {
		c.b.Fatal(err)
	}
	if n := c.skipAnswer(); n != want {
		c.b.Fatalf("%d octets", n)
	}
}

// skipAnswer returns the length of its body.
func (c *benchmarkClient) skipAnswer() (length int64) {
	line, err := c.br.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		c.b.Fatalf("%q: %v", line, err)
	}
	for len(line) > 2 {
		if line, err = c.br.ReadSlice('\n'); err != nil {
			c.b.Fatal(err)
		}
		if v, ok := bytes.CutPrefix(line, lengthField); ok {
			for _, digit := range bytes.TrimSpace(v) {
				length = 10*length + int64(digit-'0')
			}
		}
	}
	for left := length; left > 0; {
		n, err := c.br.Discard(int(min(left, 32<<10)))
		if err != nil {
			c.b.Fatal(io.ErrUnexpectedEOF)
		}
		left -= int64(n)
	}
	return length
}
