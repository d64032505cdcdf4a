package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"warmcgi/internal/cgi"
)

// workerAnswer is how one request of `gateway worker` went.
type workerAnswer struct {
	status int
	header http.Header
	body   []byte
	mode   cgi.Mode
	exit   cgi.Exit
	took   time.Duration
	err    error
}

func (a workerAnswer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("status %d, %d octets, %s, %.1f ms", a.status, len(a.body), a.ended(), float64(a.took)/float64(time.Millisecond))
}

func (a workerAnswer) ended() string {
	if a.exit.Signal != "" {
		return a.exit.Signal
	}
	return fmt.Sprintf("exit status %d", a.exit.Code)
}

// differs says in what a worker's answer is not that of plain CGI; "" is in nothing.
func (a workerAnswer) differs(w workerAnswer) string {
	const prefix = "differs from plain CGI"
	switch {
	case a.err != nil && w.err != nil && a.err.Error() == w.err.Error():
		return ""
	case a.err != nil && w.err == nil:
		return "plain CGI has no answer to compare with"
	case a.err != nil || w.err != nil:
		return prefix
	case a.status != w.status:
		return fmt.Sprintf("%s: not status %d", prefix, a.status)
	case a.ended() != w.ended():
		return fmt.Sprintf("%s: not %s", prefix, a.ended())
	}
	for _, name := range slices.Sorted(maps.Keys(union(a.header, w.header))) {
		if want, got := a.header[name], w.header[name]; !slices.Equal(want, got) {
			return fmt.Sprintf("%s in %s: %s, not %s", prefix, name, brieflyAll(got), brieflyAll(want))
		}
	}
	if bytes.Equal(a.body, w.body) {
		return ""
	}
	want, got := bytes.Split(a.body, []byte{'\n'}), bytes.Split(w.body, []byte{'\n'})
	n := 0
	for n < min(len(want), len(got)) && bytes.Equal(want[n], got[n]) {
		n++
	}
	return fmt.Sprintf("%s in line %d: %s, not %s", prefix, n+1, lineAt(got, n), lineAt(want, n))
}

func union(a, b http.Header) http.Header {
	all := maps.Clone(a)
	if all == nil {
		all = http.Header{}
	}
	maps.Copy(all, b)
	return all
}

func lineAt(lines [][]byte, n int) string {
	if n >= len(lines) {
		return "nothing"
	}
	return briefly(string(lines[n]))
}

func brieflyAll(values []string) string {
	if len(values) == 0 {
		return "nothing"
	}
	return briefly(values[0])
}

// briefly quotes what may be long.
func briefly(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%q…", s[:60])
	}
	return fmt.Sprintf("%q", s)
}
