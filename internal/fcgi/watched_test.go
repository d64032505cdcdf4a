package fcgi

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bytesConn is a connection that brings some octets, and ends.
type bytesConn struct {
	net.Conn // only its deadlines are set
	r        io.Reader
	wrote    bytes.Buffer
}

func newBytesConn(t testing.TB, b []byte) *bytesConn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return &bytesConn{Conn: ours, r: bytes.NewReader(b)}
}

func (c *bytesConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *bytesConn) Write(b []byte) (int, error) { return c.wrote.Write(b) }

func TestAWatchedConnectionIsNotKept(t *testing.T) {
	c := newBytesConn(t, nil)
	w := Watch(c)
	begin := appendBegin(nil, requestID, roleResponder, flagKeepConn)
	more := appendRecord(nil, typeParams, requestID, []byte{1, 1, 1, 1})
	for _, b := range [][]byte{begin, more} {
		n, err := w.Write(b)
		require.NoError(t, err)
		assert.Equal(t, len(b), n)
	}
	assert.Equal(t, append(appendBegin(nil, requestID, roleResponder, 0), more...), c.wrote.Bytes())
	assert.EqualValues(t, flagKeepConn, begin[headerLen+2], "what the client has is its own")
}

func FuzzWatched(f *testing.F) {
	out := appendRecord(nil, typeStdout, requestID, []byte("Status: 200\n\nx"))
	for _, end := range []protocolStatus{statusRequestComplete, statusOverloaded, 9} {
		f.Add(appendEnd(out[:len(out):len(out)], requestID, 3, end))
	}
	f.Add(out)
	f.Add(appendEnd(nil, 7, 0, 0))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := Watch(newBytesConn(t, b))
		passed, err := io.ReadAll(w)
		_, end := w.End()
		assert.Equal(t, err == nil, w.isOver(), "it ends with END_REQUEST, or with an error")
		assert.True(t, end != nil || w.isOver(), "and is whole only then")
		// What has passed are whole records of the one request, and its own head first.
		head := appendRecord(nil, typeStdout, requestID, []byte(watchedHead))
		require.True(t, bytes.HasPrefix(passed, head))
		for r := passed[len(head):]; len(r) > 0; {
			h, err := parseHeader(r)
			require.NoError(t, err)
			require.EqualValues(t, requestID, h.id)
			r = r[headerLen+h.length+h.padding:]
		}
	})
}
