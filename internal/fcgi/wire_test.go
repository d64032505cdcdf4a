package fcgi

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wirePair is a wire, and its other side.
func wirePair(t *testing.T, stall time.Duration) (*wire, net.Conn) {
	t.Helper()
	a, b := socketPair(t)
	t.Cleanup(func() { a.Close(); b.Close() })
	return newWire(a, stall), b
}

func TestAReadEndsAtTheDeadlineThatIsSetLast(t *testing.T) {
	w, other := wirePair(t, 0)
	read := func() chan error {
		c := make(chan error, 1)
		go func() { // ends with a deadline
			_, err := w.Read(make([]byte, 1))
			c <- err
		}()
		return c
	}
	waits := func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.read.waiting }

	w.SetReadDeadline(time.Now().Add(shortly))
	assert.ErrorIs(t, await(t, read()), os.ErrDeadlineExceeded)

	w.SetReadDeadline(time.Time{})
	c := read()
	require.Eventually(t, waits, patience, time.Millisecond)
	w.SetReadDeadline(past)
	assert.ErrorIs(t, await(t, c), os.ErrDeadlineExceeded)

	// The old one passes, and is not the one any more: whether set before the read or during it.
	for _, later := range []time.Time{{}, time.Now().Add(time.Hour)} {
		w.SetReadDeadline(time.Now().Add(shortly))
		c = read()
		require.Eventually(t, waits, patience, time.Millisecond)
		w.SetReadDeadline(later)
		select {
		case err := <-c:
			require.NoError(t, err, "the old deadline has ended it")
		case <-time.After(3 * shortly):
		}
		_, err := other.Write([]byte("x"))
		require.NoError(t, err)
		assert.NoError(t, await(t, c))
	}
}

func TestAWriteEndsAtItsDeadlineOrWhenNothingIsTaken(t *testing.T) {
	large := make([]byte, 10<<20)
	w, _ := wirePair(t, shortly)
	n, err := w.Write(large)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Positive(t, n)

	w, _ = wirePair(t, 0)
	w.SetWriteDeadline(time.Now().Add(shortly))
	assert.ErrorIs(t, w.writeBoth(large[:5], large), os.ErrDeadlineExceeded)

	w, other := wirePair(t, time.Hour)
	c := make(chan error, 1)
	go func() { // ends with the deadline
		_, err := w.Write(large)
		c <- err
	}()
	require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.write.waiting }, patience, time.Millisecond)
	w.SetWriteDeadline(past)
	assert.ErrorIs(t, await(t, c), os.ErrDeadlineExceeded)
	_, err = w.Write(large[:1])
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing follows")
	w.SetWriteDeadline(time.Time{})
	go io.Copy(io.Discard, other) // ends with the connection
	_, err = w.Write(large)
	assert.NoError(t, err, "a deadline that has passed is not for the next write")
}

func TestEverythingWorksOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	require.NoError(t, err)
	name, content := newFile(t, 300_000)
	s := &Server{ReadTimeout: time.Second, WriteTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.RequestURI {
		case "/file":
			f, err := os.Open(name)
			assert.NoError(t, err)
			defer f.Close()
			io.CopyN(w, f, 300_000)
		case "/broken":
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 100_000)); err != nil {
					return
				}
			}
		default:
			io.Copy(w, r.Body)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }() // ends with Close
	dial := func() *front {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		f := &front{Conn: c, t: t}
		f.br = bufio.NewReader(c)
		return f
	}
	f := dial()
	f.send(get(1, true, "/file"))
	out, _ := f.answer(1)
	assert.True(t, out == okHead+string(content))
	body := strings.Repeat("b", 200_000)
	f.send(post(1, true, "200000"), stream(typeStdin, 1, []byte(body)), stdinEnd(1))
	out, _ = f.answer(1)
	assert.True(t, out == okHead+body)
	f.send(get(1, true, "/broken"))
	_, _, err = f.tryAnswer(1)
	assert.Error(t, err)
	f = dial()
	f.send(get(1, true, "/endless"), abort(1))
	_, _, err = f.tryAnswer(1)
	assert.NoError(t, err)
	f = dial()
	f.send(get(1, true, "/endless")) // and nothing is read
	silent, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, silent) // no handshake, either
	assert.NoError(t, err)
	silent.Close()
	require.Eventually(t, func() bool { return s.Conns() == 1 }, patience, time.Millisecond) // the one with the abort is kept
	s.Close()
	assert.ErrorIs(t, <-served, ErrServerClosed)
	require.Eventually(t, func() bool { return s.Conns() == 0 }, patience, time.Millisecond)
}
