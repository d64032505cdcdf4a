package fcgi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"warmcgi/internal/cgi"
)

// BenchmarkUpstream is what a request costs that has 20 variables, on a kept connection
// to an application that answers with 1 KiB. The application's part is in it, without
// allocations.
func BenchmarkUpstream(b *testing.B) {
	dir, err := os.MkdirTemp("", "fcgi")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	vars := []string{"REQUEST_METHOD=GET"}
	for len(vars) < 20 {
		vars = append(vars, "SOME_VARIABLE=with a value of some length")
	}
	request := appendRecord(appendVars(appendBegin(nil, requestID, roleResponder, flagKeepConn), vars), typeStdin, requestID, nil)
	answer := appendEnd(appendStream(nil, typeStdout, append([]byte("Content-Type: text/plain\r\n\r\n"), make([]byte, 1024)...)), requestID, 0, statusRequestComplete)
	go func() { // ends with the connection
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for buf := make([]byte, len(request)); ; {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			c.Write(answer)
		}
	}()
	u, err := NewUpstream(UpstreamConfig{Servers: []TransportConfig{{Network: "unix", Address: filepath.Join(dir, "s"), MaxConns: 1, Keep: time.Hour}}, Log: slog.Default()})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close(context.Background())
	buf := make([]byte, 4<<10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var req cgi.Request // whatever answers it, there is one
	b.ReportAllocs()
	for b.Loop() {
		req = cgi.Request{Script: cgi.Script{Name: "/a"}, Vars: vars}
		res, err := u.RoundTrip(ctx, &req)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = res.Body.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		res.Body.Close()
	}
}
