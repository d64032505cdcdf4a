package fcgi

import (
	"net/http"
	"strconv"
	"strings"
)

// head writes the head of the answer. The caller must hold mu.
func (r *response) head(code int, reason string) {
	r.wroteHead = true
	r.left = -1
	if r.ex.req != nil && r.ex.req.Method == http.MethodHead {
		r.noBody = errHead
	} else if code == http.StatusNoContent || code == http.StatusNotModified {
		r.noBody = http.ErrBodyNotAllowed
	} else if cl := r.header["Content-Length"]; len(cl) == 1 {
		if n, err := strconv.ParseUint(cl[0], 10, 63); err == nil {
			r.left = int64(n)
		}
	}
	if reason == "" || !isText(reason) {
		if reason = http.StatusText(code); reason == "" {
			reason = "Status " + strconv.Itoa(code)
		}
	}
	var digits [3]byte
	put(r, "Status: ")
	put(r, strconv.AppendInt(digits[:0], int64(code), 10))
	put(r, " ")
	put(r, reason)
	put(r, "\r\n")
	for name, values := range r.header {
		if !passes(name) {
			continue
		}
		for _, v := range values {
			if !isText(v) {
				v = oneLine.Replace(v)
			}
			put(r, name)
			put(r, ": ")
			put(r, v)
			put(r, "\r\n")
		}
	}
	put(r, "\r\n")
}

// passes reports whether a field may go to the front: not Status, which is ours, and
// none that belongs to a connection (RFC 3875 section 6.3.4). Trailers can't be sent.
func passes(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Status", "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer":
		return false
	}
	return isToken(name)
}

// oneLine keeps a value from ending its line, as net/http does.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func isText(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }
