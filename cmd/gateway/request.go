package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"warmcgi/internal/gateway"
)

// newRequest is a request as a door would make it, from 127.0.0.1.
func newRequest(method, target string, body io.Reader, size int64) (*http.Request, error) {
	r, err := http.NewRequest(method, target, body)
	if err != nil {
		return nil, err
	}
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	r.ContentLength = size
	if r.Host == "" {
		r.Host = "localhost"
	}
	return r, nil
}

// urlPath is a file's name as a URL's path.
type urlPath struct{ name string }

func (p *urlPath) String() string { return (&url.URL{Path: "/" + p.name}).EscapedPath() }

func shutdown(s *gateway.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}
