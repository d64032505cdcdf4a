package cgi

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readOtherwise reports what net/http/cgi reads otherwise, on purpose:
//   - it knows no folded lines (RFC 9110 section 5.2), and drops them;
//   - a line of its has 1,023 octets at most;
//   - Status is a name like others to us, in any case (RFC 3875 section 6.3);
//   - an empty Status is none to us, and it gives up without an answer.
func readOtherwise(head string) bool {
	return folded.MatchString(head) || longLine.MatchString(head) ||
		len(anyStatus.FindAllString(head, -1)) != len(plainStatus.FindAllString(head, -1))
}

var (
	folded      = regexp.MustCompile(`\n[ \t]`)
	longLine    = regexp.MustCompile(`[^\n]{1000}`)
	anyStatus   = regexp.MustCompile(`(?im)^status:`)
	plainStatus = regexp.MustCompile(`(?m)^Status:[ \t]*[0-9]`)
)

// FuzzHeadAsNetHTTPHasIt: a head that we accept has the status, fields and body that
// net/http/cgi finds in it. What breaks the framing is an error to us alone.
func FuzzHeadAsNetHTTPHasIt(f *testing.F) {
	for _, in := range []string{
		"Content-Type: text/plain\n\nhello", "Content-Type: text/plain\r\n\r\nhello", "Status: 404 Not Found\r\nA: b\n\n", "Location: http://a/\nStatus: 301\n\n",
		"Content-Type: a/b\nSet-Cookie: a\nset-cookie: b\n\nx", "Content-Type: a/b\nX:\n\n", "Content-Type:a/b \t\n\n\n", "Content-Type: a/b\nX: \xff\n\n", "Location: http://a/\n\n",
	} {
		f.Add([]byte(in))
	}
	quiet := log.New(io.Discard, "", 0)
	f.Fuzz(func(t *testing.T, in []byte) {
		res, n, err := ParseHead(in)
		if err != nil || n == 0 || res.LocalRedirect() != "" {
			return
		}
		head := string(in[:n])
		if readOtherwise(head) {
			return
		}
		r := httptest.NewRequest("POST", "/", bytes.NewReader(in))
		w := httptest.NewRecorder()
		(&cgi.Handler{Path: "/bin/cat", Logger: quiet, Stderr: io.Discard}).ServeHTTP(w, r)
		if res.Header.Get("Content-Type") == "" && w.Code == http.StatusInternalServerError {
			return // which it wants, where there is no Status (RFC 3875 section 6.3.1)
		}
		require.Equal(t, res.Status, w.Code, "%q", head)
		got := w.Header()
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length"} {
			got.Del(name) // those of the connection; the length is a field of Response
		}
		ours := res.Header.Clone()
		ours.Del("Content-Length")
		assert.Equal(t, ours, got, "%q", head)
		assert.Equal(t, string(in[n:]), w.Body.String(), "%q", head)
	})
}
