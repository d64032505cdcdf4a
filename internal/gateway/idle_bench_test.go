//go:build linux

package gateway

import (
	"bufio"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkIdleClients is what a client costs that was answered once and keeps its
// connection. The client's end is in it, which is some 500 octets.
func BenchmarkIdleClients(b *testing.B) {
	s := newSite(b)
	s.write("html/small.txt", "hello\n")
	g := s.serve("routes: [{path: /, files: {root: html}}]\nlog: {access: {format: off}}")
	const clients = 2000
	request := []byte("GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
	for b.Loop() {
		c := benchmarkClient{b: b, br: bufio.NewReader(nil)}
		conns := make([]net.Conn, clients)
		before := memory()
		for i := range conns {
			var err error
			conns[i], err = net.Dial("tcp", g.addr())
			require.NoError(b, err)
			c.Conn = conns[i]
			c.br.Reset(c.Conn)
			c.exchange(request, nil, 6)
		}
		after := memory()
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/clients, "heap-B/client")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/clients, "stack-B/client")
		b.ReportMetric(0, "ns/op")
		for _, c := range conns {
			c.Close()
		}
	}
}

// memory is what is in use when all garbage has gone.
func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC() // pools let go in the second
	runtime.ReadMemStats(&m)
	return m
}
