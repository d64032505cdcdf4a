package gateway

import (
	"math/rand"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The site sees that neither processes, descriptors nor goroutines are left.
func TestNothingIsLeftOfFrontServersThatLeaveAtAnyTime(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/hang", hello, "out x", "hang")
	s.script("cgi-bin/sum", hello, "sum")
	s.script("cgi-bin/p", hello, "env")
	require.NoError(t, os.MkdirAll(s.path("html"), 0o755))
	require.NoError(t, os.WriteFile(s.path("html/large.bin"), make([]byte, 4<<20), 0o644))
	g := s.serve(scripts + "  - {path: /, files: {root: html}}\ndefaults: {timeout: {grace: 100ms}}\nlisten: [{fastcgi: 127.0.0.1:0}]\n")
	abort := string(record(2, nil))
	leaves := func(i int) {
		f := g.front()
		switch i % 6 {
		case 0: // a script that never ends
			f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/cgi-bin/hang")
			f.body(nil)
		case 1: // in the middle of a body
			f.begin("REQUEST_METHOD=POST", "REQUEST_URI=/cgi-bin/sum", "CONTENT_LENGTH=1000000")
			f.send(string(record(5, make([]byte, 60_000))))
		case 2: // in the middle of a file
			f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/large.bin")
			f.body(nil)
			f.br.Discard(1000)
		case 3: // by ABORT_REQUEST
			f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/cgi-bin/hang")
			f.send(string(record(5, nil)) + abort)
			f.whatever()
		case 4: // as soon as the request is sent
			f.begin("REQUEST_METHOD=GET", "REQUEST_URI=/cgi-bin/p")
			f.body(nil)
			f.Conn.(*net.TCPConn).SetLinger(0)
		case 5: // by ABORT_REQUEST in the middle of a body
			f.begin("REQUEST_METHOD=POST", "REQUEST_URI=/cgi-bin/sum", "CONTENT_LENGTH=1000000")
			f.send(string(record(5, make([]byte, 60_000))) + abort)
			f.whatever()
		}
		time.Sleep(time.Duration(rand.Intn(20)) * time.Millisecond) // whatever it is doing then
		f.Close()
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				leaves(i + j)
			}
		})
	}
	for range 20 {
		assert.Equal(t, 200, g.ask(nil, "REQUEST_URI=/cgi-bin/p").StatusCode)
	}
	wg.Wait()
	g.awaitMetric(0, "warmcgi_fastcgi_door_connections")
	g.awaitMetric(0, "warmcgi_processes")
	assert.Positive(t, g.metric("warmcgi_fastcgi_door_aborts_total", "how=abort"))
	assert.Positive(t, g.metric("warmcgi_fastcgi_door_aborts_total", "how=gone"))
}
