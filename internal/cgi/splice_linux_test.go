package cgi

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A splicer is a body that can move itself to a socket.
type splicer interface {
	Body
	CanSplice() bool
	Splice(dst syscall.RawConn, stall func()) (int64, error)
}

// socketPair is a connection's two ends: over TCP, or of a Unix socket.
func socketPair(t testing.TB, network string) (ours, client net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "cgi") // a socket's path has to be short
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		address = dir + "/s"
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	ours, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { ours.Close(); client.Close() })
	if u, ok := ours.(*net.UnixConn); ok {
		// A small buffer lets the client be slow. TCP would crawl: loopback's segments
		// are larger.
		require.NoError(t, u.SetWriteBuffer(16<<10))
	}
	return ours, client
}

func rawOf(t testing.TB, c net.Conn) syscall.RawConn {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	return raw
}

// spliceTo moves an answer to a socket as the gateway does: what came with the head
// is copied first.
func spliceTo(t testing.TB, body Body, ours net.Conn, stall func()) (int64, error) {
	t.Helper()
	b := body.(splicer)
	for !b.CanSplice() {
		var buf [4 << 10]byte
		n, err := b.Read(buf[:])
		require.NoError(t, err)
		_, err = ours.Write(buf[:n])
		require.NoError(t, err)
	}
	return b.Splice(rawOf(t, ours), stall)
}

func noStall() {}

func TestAnAnnouncedAnswerCanBeMovedByTheKernel(t *testing.T) {
	s := newSpawn(t)
	const size = 5<<20 + 3
	want := pattern(size)
	for _, network := range []string{"tcp", "unix"} {
		for name, test := range map[string]struct {
			script, client time.Duration // the pauses of each
		}{
			"both fast":     {0, 0},
			"a slow script": {50 * time.Millisecond, 0},
			"a slow client": {0, 10 * time.Millisecond},
			"both slow":     {50 * time.Millisecond, 10 * time.Millisecond},
		} {
			t.Run(network+", "+name, func(t *testing.T) {
				t.Parallel()
				ours, client := socketPair(t, network)
				steps := []string{fmt.Sprintf("out Content-Length: %d\n\n", size)}
				if test.script == 0 {
					steps = append(steps, fmt.Sprint("outn ", size))
				} else {
					// The first pause comes before any of the body.
					steps = append(steps, "sleep "+test.script.String(), fmt.Sprint("outn ", size))
				}
				c := s.call(append(steps, "exit 6")...)
				received := make(chan []byte)
				go func() {
					var got bytes.Buffer
					for i := 0; ; i++ {
						if i < 20 {
							time.Sleep(test.client)
						}
						if n, err := io.CopyN(&got, client, 64<<10); n == 0 || err != nil {
							break
						}
					}
					received <- got.Bytes()
				}()
				res := c.start()
				require.EqualValues(t, size, res.Length)
				stalls := 0
				_, err := spliceTo(t, res.Body, ours, func() { stalls++ })
				require.NoError(t, err)
				ours.Close()
				assert.True(t, bytes.Equal(want, <-received))
				if network == "unix" {
					assert.Positive(t, stalls)
				}
				n, err := res.Body.Read(make([]byte, 1))
				assert.Equal(t, []any{0, io.EOF}, []any{n, err})
				res.Body.Close()
				assert.Equal(t, 6, c.wait().Code)
			})
		}
	}
}

func TestNothingBehindTheAnnouncedLengthIsMoved(t *testing.T) {
	s := newSpawn(t)
	ours, client := socketPair(t, "tcp")
	c := s.call("out Content-Length: 100000\n\n", "outn 1000000", "exit 6")
	received := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(client)
		received <- b
	}()
	res := c.start()
	_, err := spliceTo(t, res.Body, ours, noStall)
	require.NoError(t, err)
	ours.Close()
	res.Body.Close()
	assert.True(t, bytes.Equal(pattern(1000000)[:100000], <-received))
	assert.Equal(t, 6, c.wait().Code, "and the script comes to its end")
}

func TestAScriptThatGoesOnBehindAMovedAnswerIsLeftAlone(t *testing.T) {
	s := newSpawn(t)
	ours, client := socketPair(t, "tcp")
	dir := t.TempDir()
	c := s.call("out Content-Length: 100000\n\n", "outn 100000", "await "+dir+"/go", "exit 6")
	go io.Copy(io.Discard, client)
	res := c.start()
	_, err := spliceTo(t, res.Body, ours, noStall)
	require.NoError(t, err)
	res.Body.Close()
	ours.Close()
	assert.False(t, c.hasEnded())
	touch(t, dir+"/go")
	e := c.wait()
	assert.Equal(t, []any{6, ""}, []any{e.Code, e.Killed})
}

func TestAMovedAnswerThatBreaksOffIsAnError(t *testing.T) {
	s := newSpawn(t)
	for name, test := range map[string]struct {
		steps  []string
		limits Timeouts
		is     error
		says   string
	}{
		"short":        {[]string{"exit 0"}, Timeouts{}, ErrTruncated, "100000 octets of its Content-Length are missing"},
		"a crash":      {[]string{"kill SIGSEGV"}, Timeouts{}, ErrTruncated, "the script died of SIGSEGV"},
		"a late crash": {[]string{"sleep 200ms", "kill SIGKILL"}, Timeouts{}, ErrTruncated, "the script died of SIGKILL"},
		"closed":       {[]string{"close 1", "sleep 300ms"}, Timeouts{}, ErrTruncated, "100000 octets of its Content-Length are missing"},
		"idle":         {[]string{"hang"}, Timeouts{Idle: 200 * time.Millisecond}, ErrTimeout, ReasonIdle},
		"too long":     {[]string{"drip 10000 10ms x"}, Timeouts{Idle: patience, Total: 1500 * time.Millisecond}, ErrTimeout, ReasonTotal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, client := socketPair(t, "tcp")
			c := s.call(append([]string{"out Content-Length: 200000\n\n", "outn 100000"}, test.steps...)...)
			c.Timeout = test.limits
			c.Timeout.Grace = patience
			received := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(client)
				received <- b
			}()
			res := c.start()
			_, err := spliceTo(t, res.Body, ours, noStall)
			assert.ErrorIs(t, err, test.is)
			require.Error(t, err)
			assert.NotErrorIs(t, err, ErrGone)
			if name != "too long" {
				assert.Contains(t, err.Error(), test.says)
			}
			_, again := res.Body.Read(make([]byte, 1))
			assert.Equal(t, err, again, "the error stays")
			ours.Close()
			assert.True(t, bytes.HasPrefix(<-received, pattern(100000)), "what there was is delivered")
			res.Body.Close()
			c.wait()
		})
	}
}

func TestAClientThatTakesNoMoreOfAMovedAnswerIsToBlame(t *testing.T) {
	s := newSpawn(t)
	for name, leave := range map[string]func(ours, client net.Conn){
		"hung up":  func(_, client net.Conn) { client.Close() },
		"stalled":  func(ours, _ net.Conn) { ours.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) },
		"our side": func(ours, _ net.Conn) { ours.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, client := socketPair(t, "tcp")
			c := s.call("out Content-Length: 10000000\n\n", "outn 10000000")
			res := c.start()
			first := true
			_, err := spliceTo(t, res.Body, ours, func() {
				if first { // the socket is full
					leave(ours, client)
				}
				first = false
			})
			assert.ErrorIs(t, err, ErrGone)
			if name == "stalled" {
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
			res.Body.Close()
			assert.Equal(t, ReasonDisconnect, c.wait().Killed)
		})
	}
}

func TestASlowClientOfAMovedAnswerIsNotTheScriptsIdleTime(t *testing.T) {
	s := newSpawn(t)
	const limit = 300 * time.Millisecond
	ours, client := socketPair(t, "unix")
	c := s.call("out Content-Length: 1000000\n\n", "outn 1000000")
	c.Timeout.Idle = limit
	received := make(chan []byte)
	go func() {
		time.Sleep(3 * limit)
		b, _ := io.ReadAll(client)
		received <- b
	}()
	res := c.start()
	_, err := spliceTo(t, res.Body, ours, noStall)
	require.NoError(t, err)
	ours.Close()
	res.Body.Close()
	assert.True(t, bytes.Equal(pattern(1000000), <-received))
	assert.Equal(t, "", c.wait().Killed)
}

func TestOnlyAnAnnouncedAnswerThatIsStillInThePipeCanBeMoved(t *testing.T) {
	s := newSpawn(t)
	canSplice := func(b Body) bool { return b.(splicer).CanSplice() }
	res := s.call(helloWorld).start()
	assert.False(t, canSplice(res.Body), "of unknown length")
	res.Body.Close()
	res = s.call("out Content-Length: 0\n\n").start()
	assert.False(t, canSplice(res.Body), "there is nothing to move")
	res.Body.Close()
	res = s.call("out Content-Length: 10\n\nhello", "hang").start()
	assert.False(t, canSplice(res.Body), "some of it came with the head")
	_, err := io.ReadFull(res.Body, make([]byte, 5))
	require.NoError(t, err)
	assert.True(t, canSplice(res.Body))
	res.Body.Close()
	res = s.call("out Content-Length: 10\n\n", "exit 1").start()
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, ErrTruncated)
	assert.False(t, canSplice(res.Body), "it has failed")
	res.Body.Close()
}
