package fcgi

import (
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkIdleConnections prints what a kept connection costs that has had a request: of
// the FastCGI server, and of net/http for comparison.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 1000
	request := params(1, "QUERY_STRING", "a=b", "REQUEST_METHOD", "GET", "SCRIPT_NAME", "/cgi-bin/hello", "REQUEST_URI", "/cgi-bin/hello?a=b",
		"DOCUMENT_ROOT", "/var/www/html", "SERVER_PROTOCOL", "HTTP/1.1", "GATEWAY_INTERFACE", "CGI/1.1", "REMOTE_ADDR", "127.0.0.1",
		"HTTP_HOST", "localhost", "HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101", "HTTP_ACCEPT", "*/*")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })
	measure := func(b *testing.B, network, addr string, request []byte) {
		var conns []net.Conn
		answer := make([]byte, 64<<10)
		before := memory()
		for range n {
			c, err := net.Dial(network, addr)
			require.NoError(b, err)
			conns = append(conns, c)
			c.Write(request)
			_, err = c.Read(answer)
			require.NoError(b, err)
		}
		after := memory()
		b.ReportMetric(float64(after.heap-before.heap)/n, "heap-B/conn")
		b.ReportMetric(float64(after.stack-before.stack)/n, "stack-B/conn")
		b.ReportMetric(float64(after.goroutines-before.goroutines)/n, "goroutines/conn")
		b.ReportMetric(0, "ns/op")
		for _, c := range conns {
			c.Close()
		}
	}
	b.Run("fcgi", func(b *testing.B) {
		s := serve(b, "unix", handler)
		measure(b, "unix", s.addr.String(), append(append(begin(1, true), request...), stdinEnd(1)...))
	})
	b.Run("http", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		s := &http.Server{Handler: handler}
		served := make(chan struct{})
		go func() { defer close(served); s.Serve(l) }() // ends with Close
		measure(b, "tcp", l.Addr().String(), []byte("GET /cgi-bin/hello?a=b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\nAccept: */*\r\n\r\n"))
		s.Close()
		<-served
	})
}

type usage struct{ heap, stack, goroutines int }

func memory() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int(m.HeapInuse), int(m.StackInuse), runtime.NumGoroutine()}
}
