package fcgi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheVariablesOfNginxBecomeARequest(t *testing.T) {
	r, err := newRequest(t.Context(), Params{
		{"QUERY_STRING", "q=1"}, {"REQUEST_METHOD", "POST"},
		{"CONTENT_TYPE", "text/plain"}, {"CONTENT_LENGTH", "12"},
		{"SCRIPT_NAME", "/cgi-bin/a b"}, {"REQUEST_URI", "/cgi-bin/a%20b/x%2Fy?q=1"},
		{"SERVER_PROTOCOL", "HTTP/2.0"}, {"HTTPS", "on"},
		{"REMOTE_ADDR", "2001:db8::1"}, {"REMOTE_PORT", "4711"}, {"SERVER_NAME", "other.example"},
		{"HTTP_HOST", "www.example:8080"}, {"HTTP_USER_AGENT", "curl"}, {"HTTP_X_SOME_thing", "v"},
		{"HTTP_CONTENT_LENGTH", "12"}, {"HTTP_CONTENT_TYPE", "text/plain"},
		{"HTTP_", "none"}, {"HTTP_BAD NAME", "none"},
	})
	require.NoError(t, err)
	assert.Equal(t, "POST", r.Method)
	assert.Equal(t, "/cgi-bin/a%20b/x%2Fy?q=1", r.RequestURI)
	assert.Equal(t, "/cgi-bin/a b/x/y", r.URL.Path)
	assert.Equal(t, "q=1", r.URL.RawQuery)
	assert.Empty(t, r.URL.Host)
	assert.Equal(t, "www.example:8080", r.Host)
	assert.Equal(t, "[2001:db8::1]:4711", r.RemoteAddr)
	assert.Equal(t, 2, r.ProtoMajor)
	assert.EqualValues(t, 12, r.ContentLength)
	assert.True(t, r.TLS.HandshakeComplete)
	assert.Equal(t, http.Header{
		"Content-Type": {"text/plain"}, "Content-Length": {"12"}, "User-Agent": {"curl"}, "X-Some-Thing": {"v"},
	}, r.Header)
}

func TestATargetIsMadeOfWhatThereIs(t *testing.T) {
	for name, test := range map[string]struct {
		p               Params
		uri, path, host string
	}{
		"no REQUEST_URI":  {Params{{"SCRIPT_NAME", "/a b"}, {"PATH_INFO", "/c?d%"}, {"QUERY_STRING", "x=%20"}}, "/a%20b/c%3Fd%25?x=%20", "/a b/c?d%", "s"},
		"nothing":         {nil, "/", "/", "s"},
		"no slash":        {Params{{"SCRIPT_NAME", "a"}}, "/a", "/a", "s"},
		"two slashes":     {Params{{"REQUEST_URI", "//h/p"}}, "//h/p", "//h/p", "s"},
		"bad escape":      {Params{{"REQUEST_URI", "/%zz?q"}, {"SCRIPT_NAME", "/%zz"}, {"QUERY_STRING", "q"}}, "/%25zz?q", "/%zz", "s"},
		"absolute form":   {Params{{"REQUEST_URI", "http://h/p"}, {"HTTP_HOST", "other"}}, "http://h/p", "/p", "h"},
		"asterisk":        {Params{{"REQUEST_URI", "*"}}, "*", "*", "s"},
		"host":            {Params{{"REQUEST_URI", "/"}, {"HTTP_HOST", "h"}}, "/", "/", "h"},
		"octets as such":  {Params{{"REQUEST_URI", "/\xff"}}, "/\xff", "/\xff", "s"},
		"empty HTTP_HOST": {Params{{"REQUEST_URI", "/"}, {"HTTP_HOST", ""}}, "/", "/", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := newRequest(t.Context(), append(Params{{"REQUEST_METHOD", "GET"}, {"SERVER_NAME", "s"}}, test.p...))
			require.NoError(t, err)
			assert.Equal(t, test.uri, r.RequestURI)
			assert.Equal(t, test.path, r.URL.Path)
			assert.Equal(t, test.host, r.Host)
		})
	}
}

func TestVariablesThatCannotBeMeantAreRefused(t *testing.T) {
	for name, p := range map[string]Params{
		"no method":             {},
		"method is no token":    {{"REQUEST_METHOD", "G ET"}},
		"length is no number":   {{"REQUEST_METHOD", "GET"}, {"CONTENT_LENGTH", "12x"}},
		"length is negative":    {{"REQUEST_METHOD", "GET"}, {"CONTENT_LENGTH", "-1"}},
		"length overflows":      {{"REQUEST_METHOD", "GET"}, {"CONTENT_LENGTH", "9223372036854775808"}},
		"target is no path":     {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "x:%zz"}},
		"line feed in a target": {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "/a\nb"}},
		"line feed in a query":  {{"REQUEST_METHOD", "GET"}, {"QUERY_STRING", "a\nb"}},
		"space in the host":     {{"REQUEST_METHOD", "GET"}, {"HTTP_HOST", "a b"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRequest(t.Context(), p)
			assert.ErrorIs(t, err, ErrParams)
		})
	}
}

func TestSmallThingsOfARequestAreForgiven(t *testing.T) {
	r, err := newRequest(t.Context(), Params{
		{"REQUEST_METHOD", "GET"}, {"SERVER_PROTOCOL", "nonsense"}, {"REMOTE_ADDR", "unix:"},
		{"CONTENT_LENGTH", ""}, {"CONTENT_TYPE", ""}, {"HTTPS", "off"},
	})
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1", r.Proto)
	assert.Equal(t, "unix:", r.RemoteAddr)
	assert.EqualValues(t, -1, r.ContentLength)
	assert.Empty(t, r.Header)
	assert.Nil(t, r.TLS)

	r, err = newRequest(t.Context(), Params{{"REQUEST_METHOD", "GET"}, {"SERVER_PROTOCOL", "INCLUDED"}, {"REMOTE_ADDR", "192.0.2.1"}})
	require.NoError(t, err)
	assert.True(t, r.ProtoMajor == 1 && r.ProtoMinor == 0)
	assert.Equal(t, "192.0.2.1:0", r.RemoteAddr)
}

func TestHeaderNamesAreCanonical(t *testing.T) {
	for param, key := range commonHeaders {
		assert.Equal(t, http.CanonicalHeaderKey(key), key, param)
		assert.Equal(t, key, headerName(param + "_X")[:len(key)], "the table and the rule agree")
	}
	assert.Equal(t, "X-1-A", headerName("HTTP_X_1_A"))
	assert.Empty(t, headerName("HTTP_A:B"))
	assert.Empty(t, headerName("REMOTE_USER"))
}
