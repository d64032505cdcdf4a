package fcgi

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// socketPair is a connected pair of Unix sockets.
func socketPair(t testing.TB) (a, b net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	conns := make([]net.Conn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		conns[i], err = net.FileConn(file)
		require.NoError(t, err)
		file.Close()
	}
	return conns[0], conns[1]
}

// BenchmarkSmallRequest is a GET with nginx's variables on a kept connection, answered
// with 1 KiB. The allocations are the server's; the client makes none.
func BenchmarkSmallRequest(b *testing.B) {
	body := make([]byte, 1024)
	s := &Server{
		ErrorLog: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(body)
		}),
	}
	s.mu.Lock()
	s.init()
	s.mu.Unlock()
	client, server := socketPair(b)
	served := make(chan struct{})
	go func() { defer close(served); newConn(s, server, b.Context()).serve() }()
	defer func() { client.Close(); <-served; s.Close() }()

	request := append(begin(1, true), params(1,
		"QUERY_STRING", "a=b", "REQUEST_METHOD", "GET", "CONTENT_TYPE", "", "CONTENT_LENGTH", "",
		"SCRIPT_NAME", "/cgi-bin/hello", "REQUEST_URI", "/cgi-bin/hello?a=b", "DOCUMENT_URI", "/cgi-bin/hello",
		"DOCUMENT_ROOT", "/var/www/html", "SERVER_PROTOCOL", "HTTP/1.1", "REQUEST_SCHEME", "http",
		"GATEWAY_INTERFACE", "CGI/1.1", "SERVER_SOFTWARE", "nginx/1.22.1", "REMOTE_ADDR", "127.0.0.1",
		"REMOTE_PORT", "40000", "SERVER_ADDR", "127.0.0.1", "SERVER_PORT", "80", "SERVER_NAME", "localhost",
		"HTTP_HOST", "localhost", "HTTP_USER_AGENT", "bench", "HTTP_ACCEPT", "*/*")...)
	request = append(request, stdinEnd(1)...)
	br := bufio.NewReader(client)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(request); err != nil {
			b.Fatal(err)
		}
		for end := false; !end; {
			h, err := readHeader(br)
			if err != nil {
				b.Fatal(err)
			}
			br.Discard(h.length + h.padding)
			end = h.typ == typeEndRequest
		}
	}
}
