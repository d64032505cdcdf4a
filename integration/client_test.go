//go:build linux

package integration

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client asks one server. It follows no redirects and unpacks nothing.
type client struct {
	http *http.Client
	base string
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func newClient(t *testing.T, base string) *client {
	t.Helper()
	tr := &http.Transport{
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		DialContext:         (&net.Dialer{}).DialContext,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{
		http: &http.Client{
			Transport:     tr,
			Timeout:       2 * time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: base,
	}
}

// request is what is asked; zero fields are a plain GET.
type request struct {
	method, path   string
	header         map[string]string
	user, password string
	body           string
	chunked        bool
}

func (q request) make(base string) (*http.Request, error) {
	method := q.method
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
		if q.chunked {
			body = struct{ io.Reader }{body}
		}
	}
	r, err := http.NewRequestWithContext(context.Background(), method, base+q.path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "warmcgi-test")
	for name, value := range q.header {
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	if q.user != "" {
		r.SetBasicAuth(q.user, q.password)
	}
	return r, nil
}

// try asks, and reads the answer to its end. An answer that breaks off is an error,
// with what there was of it.
func (c *client) try(q request) (answer, error) {
	r, err := q.make(c.base)
	if err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func (c *client) do(t *testing.T, q request) answer {
	t.Helper()
	a, err := c.try(q)
	require.NoError(t, err, "%s %s", q.method, q.path)
	return a
}

func (c *client) get(t *testing.T, path string) answer {
	t.Helper()
	return c.do(t, request{path: path})
}

// open asks and leaves the body to be read.
func (c *client) open(t *testing.T, path string) *http.Response {
	t.Helper()
	r, err := request{path: path}.make(c.base)
	require.NoError(t, err)
	res, err := c.http.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// a field of a form; with a file name it is a file.
type field struct{ name, value, file, ctype string }

// multipartForm is a form as a browser sends it.
func multipartForm(t *testing.T, fields []field) (body, ctype string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	quote := strings.NewReplacer("\\", "\\\\", `"`, "%22").Replace
	for _, f := range fields {
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", `form-data; name="`+quote(f.name)+`"`)
		if f.file != "" {
			h.Set("Content-Disposition", `form-data; name="`+quote(f.name)+`"; filename="`+quote(f.file)+`"`)
			h.Set("Content-Type", f.ctype)
		}
		part, err := w.CreatePart(h)
		require.NoError(t, err)
		_, err = io.WriteString(part, f.value)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

// copyFiles puts the files of a folder of testdata into dst, as programs.
func copyFiles(t *testing.T, src, dst string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dst, 0o755))
	entries, err := os.ReadDir(filepath.Join("testdata", src))
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join("testdata", src, e.Name()))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dst, e.Name()), b, 0o755))
	}
	return dst
}

// writeFile writes a file, and the folders to it.
func writeFile(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), mode))
	require.NoError(t, os.Chmod(name, mode))
	return name
}

// configured is a file of testdata with other paths and ports in the place of those
// that the documentation shows.
func configured(t *testing.T, name string, places ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	for i := 0; i < len(places); i += 2 {
		require.Contains(t, string(b), places[i], "%s", name)
	}
	return strings.NewReplacer(places...).Replace(string(b))
}
