package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"warmcgi/internal/gateway"
)

// requestFlags are a request for a script.
type requestFlags struct {
	Path   string   `placeholder:"/x?y=1" help:"Extra path and query behind the script's name."`
	Method string   `default:"GET" help:"Request method."`
	Body   string   `placeholder:"FILE" help:"File with the request's body; - is standard input."`
	Header []string `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"Request field; may be given again."`
}

// request is one for the script of that name.
func (c *requestFlags) request(script string) (*http.Request, error) {
	if err := checkExtra(c.Path); err != nil {
		return nil, err
	}
	header, err := parseHeader(c.Header)
	if err != nil {
		return nil, err
	}
	target := (&urlPath{script}).String() + c.Path
	var body io.Reader
	size := int64(0)
	switch c.Body {
	case "":
	case "-":
		body, size = os.Stdin, -1
	default:
		f, err := os.Open(c.Body)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		body, size = f, info.Size()
	}
	r, err := newRequest(c.Method, target, body, size)
	if err != nil {
		return nil, err
	}
	r.Header = header
	if h := r.Header.Get("Host"); h != "" {
		r.Host = h
		r.Header.Del("Host")
	}
	return r, nil
}

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
