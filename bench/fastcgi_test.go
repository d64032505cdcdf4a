package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// askFastCGI measures a handler for a moment, through Go's own FastCGI server.
func askFastCGI(t *testing.T, h http.HandlerFunc) *client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go fcgi.Serve(l, h) // ends with the listener
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var c client
	w := &workload{file: "x", query: strings.Repeat("q", 200), body: hello, wait: 5 * time.Second}
	c.run(ctx, &server{addr: l.Addr().String(), speaks: language{fastcgiRequest, readFastCGI}}, w)
	return &c
}

func TestTheLoadGeneratorSpeaksFastCGI(t *testing.T) {
	c := askFastCGI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.RawQuery != strings.Repeat("q", 200) || r.URL.Path != "/cgi-bin/x" {
			w.WriteHeader(400)
		}
		io.WriteString(w, hello)
	})
	assert.Greater(t, len(c.times), 1, "the connection is kept")
	assert.Zero(t, c.wrong)
}

func TestWrongFastCGIAnswersAreCountedAsWrong(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"other body":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello, wurld\n") },
		"longer body":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hello+hello) },
		"shorter body": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, hello[:5]) },
		"status":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); io.WriteString(w, hello) },
	} {
		t.Run(name, func(t *testing.T) {
			c := askFastCGI(t, h)
			assert.Empty(t, c.times)
			assert.NotZero(t, c.wrong)
		})
	}
}

func TestAFastCGIAnswerIsReadToTheEndOfItsRequest(t *testing.T) {
	head := "Status: 200 OK\r\n\r\n"
	record := func(typ byte, content string) string { return string(appendRecord(nil, typ, content)) }
	end := record(fcgiEnd, "\x00\x00\x00\x00\x00\x00\x00\x00")
	for name, c := range map[string]struct {
		answer string
		ok     bool
	}{
		"one record":        {record(fcgiStdout, head+hello) + record(fcgiStdout, "") + end, true},
		"no empty record":   {record(fcgiStdout, head+hello) + end, true},
		"many records":      {record(fcgiStdout, head[:9]) + record(fcgiStdout, head[9:]+"Hello") + record(fcgiStdout, hello[5:]) + end, true},
		"broken off":        {record(fcgiStdout, head+hello), false},
		"standard error":    {record(7, "oops") + record(fcgiStdout, head+hello) + end, false},
		"overloaded":        {record(fcgiEnd, "\x00\x00\x00\x00\x02\x00\x00\x00"), false},
		"of nobody's asked": {"\x01\x06\x00\x02\x00\x00\x00\x00" + end, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(c.answer))
			_, err := readFastCGI(r, whole(hello))
			assert.Equal(t, c.ok, err == nil, "%v", err)
			assert.True(t, !c.ok || r.Buffered() == 0)
		})
	}
}

func TestTheGatewayAnswersAtBothDoorsAlike(t *testing.T) {
	servers := []string{"door-http", "door-fastcgi", "door-http-nginx", "door-fastcgi-nginx"}
	for _, workload := range []string{"doors", "doors-c"} {
		t.Run(workload, func(t *testing.T) {
			assertMeasured(t, workload, servers)
		})
	}
}
