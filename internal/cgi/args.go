package cgi

import (
	"net/url"
	"strings"
)

// IndexedArgs are the command-line words of an indexed query (RFC 3875 section
// 4.4): GET or HEAD, no unencoded "=". A query that can't be decoded, or whose
// words no program could be given, has none.
//
// The words go behind the script's own name, so they can't become options of an
// interpreter.
func IndexedArgs(method, query string) []string {
	if query == "" || (method != "GET" && method != "HEAD") || strings.IndexByte(query, '=') >= 0 {
		return nil
	}
	words := strings.Split(query, "+")
	for i, w := range words {
		d, err := url.PathUnescape(w)
		if err != nil || strings.IndexByte(d, 0) >= 0 {
			return nil
		}
		words[i] = d
	}
	return words
}
