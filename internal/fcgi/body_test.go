package fcgi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reading is what a handler saw of a body.
type reading struct {
	body   string
	err    error
	length int64
	none   bool
}

// readBody tells what it reads.
func readBody(c chan<- reading) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		c <- reading{string(b), err, r.ContentLength, r.Body == http.NoBody}
	}
}

func TestABodyIsWhatItsLengthAndItsStreamSay(t *testing.T) {
	for name, test := range map[string]struct {
		length, body string
		want         reading
	}{
		"known":                {"4", "body", reading{"body", nil, 4, false}},
		"unknown":              {"", "body", reading{"body", nil, -1, false}},
		"none":                 {"", "", reading{"", nil, 0, true}},
		"zero":                 {"0", "", reading{"", nil, 0, true}},
		"zero but there is":    {"0", "body", reading{"", nil, 0, true}},
		"longer than it says":  {"2", "body", reading{"bo", nil, 2, false}},
		"shorter than it says": {"5", "body", reading{"body", io.ErrUnexpectedEOF, 5, false}},
		"empty but announced":  {"5", "", reading{"", io.ErrUnexpectedEOF, 5, false}},
	} {
		t.Run(name, func(t *testing.T) {
			saw := make(chan reading, 1)
			f := serve(t, "unix", readBody(saw)).dial()
			for range 2 { // the connection is as good as new
				f.send(post(1, true, test.length), stream(typeStdin, 1, []byte(test.body)), stdinEnd(1))
				assert.Equal(t, test.want, await(t, saw))
				f.answer(1)
			}
		})
	}
}

func TestABodyOfUnknownLengthComesInPieces(t *testing.T) {
	saw := make(chan string)
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			if err != nil {
				assert.Equal(t, io.EOF, err)
				return
			}
			saw <- string(b[:n])
		}
	}).dial()
	f.send(post(1, false, ""))
	for _, piece := range []string{"one", "two", "three"} {
		f.send(stream(typeStdin, 1, []byte(piece)))
		assert.Equal(t, piece, await(t, saw))
	}
	f.send(stdinEnd(1))
	f.answer(1)
}

func TestABodyThatBreaksOffIsAnError(t *testing.T) {
	for name, rest := range map[string][]byte{
		"between records": nil,
		"in a header":     {1, 5, 0},
		"in a record":     appendRecord(nil, typeStdin, 1, []byte("more"))[:10],
	} {
		t.Run(name, func(t *testing.T) {
			saw := make(chan reading, 1)
			f := serve(t, "unix", readBody(saw)).dial()
			f.send(post(1, true, ""), stream(typeStdin, 1, []byte("body")), rest)
			f.Close()
			got := await(t, saw)
			assert.Equal(t, io.ErrUnexpectedEOF, got.err)
			assert.True(t, strings.HasPrefix(got.body, "body"))
		})
	}
}

func TestAnUnreadBodyDoesNotDestroyTheAnswer(t *testing.T) {
	big := make([]byte, 1<<20)
	for _, network := range []string{"unix", "tcp"} {
		for _, keep := range []bool{true, false} {
			for _, closeBody := range []bool{true, false} {
				s := serve(t, network, func(w http.ResponseWriter, r *http.Request) {
					if closeBody {
						r.Body.Close()
						_, err := r.Body.Read(make([]byte, 1))
						assert.ErrorIs(t, err, http.ErrBodyReadAfterClose)
					}
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				})
				f := s.dial()
				// All of it before the answer is looked at: the worst of fronts.
				f.send(post(1, keep, "1048576"), stream(typeStdin, 1, big), stdinEnd(1))
				time.Sleep(20 * time.Millisecond)
				out, status := f.answer(1)
				assert.True(t, strings.HasPrefix(out, "Status: 413 "), out)
				assert.Equal(t, statusRequestComplete, status)
				if !closeBody || !keep {
					f.requireClosed() // more than is worth to be taken in
				}
			}
		}
	}
}

func TestASmallUnreadBodyLeavesTheConnectionKept(t *testing.T) {
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {}).dial()
	for range 3 {
		f.send(post(1, true, "100000"), stream(typeStdin, 1, make([]byte, 40_000)))
		out, _ := f.answer(1) // although the body has not come
		assert.Equal(t, okHead, out)
		f.send(stream(typeStdin, 1, make([]byte, 60_000)), stdinEnd(1))
	}
	f.send(post(1, true, "100000"))
	f.answer(1)
	f.send(get(2, true, "/")) // a new request ends the old one's body, too
	f.answer(2)
}

func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {}).dial()
	f.send(post(1, true, "100000"))
	f.answer(1)
	f.requireClosed() // after drainTime
}

func TestAHandlerThatDoesNotReadHoldsTheFrontServerBack(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) { <-release }).dial()
	defer close(release)
	f.send(post(1, true, ""))
	f.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	sent, piece := 0, stream(typeStdin, 1, make([]byte, 8000))
	for {
		n, err := f.Write(piece)
		sent += n
		if err != nil {
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	assert.Less(t, sent, 1<<20, "what the kernel holds and bodySize")
}

func TestEightMegabytesGoBothWaysAtOnce(t *testing.T) {
	const size = 8 << 20
	for _, length := range []string{"8388608", ""} {
		f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, http.NewResponseController(w).EnableFullDuplex())
			_, err := io.Copy(w, r.Body)
			assert.NoError(t, err)
		}).dial()
		in := make([]byte, size)
		src := rand.NewChaCha8([32]byte{1})
		src.Read(in)
		sent := make(chan error, 1)
		go func() {
			_, err := f.Write(bytes.Join([][]byte{post(1, true, length), stream(typeStdin, 1, in), stdinEnd(1)}, nil))
			sent <- err
		}()
		out, _ := f.answer(1)
		require.NoError(t, await(t, sent))
		require.Len(t, out, len(okHead)+size)
		assert.Equal(t, sha256.Sum256(in), sha256.Sum256([]byte(out[len(okHead):])))
	}
}

func TestAReadDeadlineEndsAReadAndNotTheRequest(t *testing.T) {
	late := make(chan struct{})
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := r.Body.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		go func() { // as a watchdog would
			time.Sleep(10 * time.Millisecond)
			rc.SetReadDeadline(past)
		}()
		rc.SetReadDeadline(time.Time{})
		_, err = r.Body.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		close(late)
		rc.SetReadDeadline(time.Time{})
		io.Copy(w, r.Body)
	}).dial()
	f.send(post(1, true, "4"))
	await(t, late)
	f.send(stream(typeStdin, 1, []byte("late")), stdinEnd(1))
	out, _ := f.answer(1)
	assert.Equal(t, okHead+"late", out)
}

func TestAFrontServerThatGoesWhileNothingIsReadIsNoticed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs poll(2) with POLLRDHUP")
	}
	ended := make(chan error, 1)
	f := serve(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	}).dial()
	f.send(post(1, true, ""))
	f.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = f.Write(stream(typeStdin, 1, make([]byte, 8000)))
	}
	f.Close()
	assert.True(t, errors.Is(await(t, ended), ErrGone))
}
