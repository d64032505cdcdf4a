package cgi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
)

func TestTheHeadEndsAtTheFirstEmptyLine(t *testing.T) {
	for name, test := range map[string]struct {
		in           string
		fields, body int // -1: no end
	}{
		"LF":                     {"A: b\n\nbody", 5, 6},
		"CRLF":                   {"A: b\r\n\r\nbody", 6, 8},
		"LF, then CRLF":          {"A: b\n\r\nbody", 5, 7},
		"CRLF, then LF":          {"A: b\r\n\nbody", 6, 7},
		"mixed":                  {"A: b\r\nC: d\nE: f\r\n\r\n", 17, 19},
		"no body":                {"A: b\n\n", 5, 6},
		"body with empty lines":  {"A: b\n\n\n\nbody\n\n", 5, 6},
		"LF body in a CRLF head": {"A: b\r\n\r\n\n\n", 6, 8},
		"nothing but an end":     {"\n", 0, 1},
		"the same in CRLF":       {"\r\nbody", 0, 2},
		"nothing":                {"", -1, -1},
		"no line end":            {"A: b", -1, -1},
		"one line":               {"A: b\n", -1, -1},
		"half of CRLF":           {"A: b\r\n\r", -1, -1},
		"CR only":                {"A: b\r\rbody", -1, -1},
		"CR CR LF":               {"A: b\n\r\r\nbody", -1, -1},
		"a space is not empty":   {"A: b\n \nbody", -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			fields, body, ok := headEnd([]byte(test.in))
			require.Equal(t, test.fields >= 0, ok)
			if ok {
				assert.Equal(t, []int{test.fields, test.body}, []int{fields, body})
			}
		})
	}
}

func TestAHeadIsParsed(t *testing.T) {
	type want struct {
		status int
		reason string
		length int64 // 0 is -1, which most have
		header http.Header
	}
	text := http.Header{"Content-Type": {"text/plain"}}
	for name, test := range map[string]struct {
		in string
		want
	}{
		"LF":                  {"Content-Type: text/plain\n", want{status: 200, header: text}},
		"CRLF":                {"Content-Type: text/plain\r\n", want{status: 200, header: text}},
		"mixed line ends":     {"Content-Type: text/plain\r\nX-A: 1\nX-B: 2\r\n", want{status: 200, header: http.Header{"Content-Type": {"text/plain"}, "X-A": {"1"}, "X-B": {"2"}}}},
		"last line unended":   {"Content-Type: text/plain", want{status: 200, header: text}},
		"any case":            {"CONTENT-type: text/plain\nsTATUS: 201\n", want{status: 201, header: text}},
		"no space":            {"Content-Type:text/plain\n", want{status: 200, header: text}},
		"much space":          {"Content-Type: \t text/plain \t \n", want{status: 200, header: text}},
		"empty value":         {"X-Empty:\nX-Blank:  \n", want{status: 200, header: http.Header{"X-Empty": {""}, "X-Blank": {""}}}},
		"colon in a value":    {"X-Url: http://[::1]:80/\n", want{status: 200, header: http.Header{"X-Url": {"http://[::1]:80/"}}}},
		"repeated":            {"Set-Cookie: a=1\nset-cookie: b=2\n", want{status: 200, header: http.Header{"Set-Cookie": {"a=1", "b=2"}}}},
		"folded":              {"X-Long: one\n two\n\tthree\r\n  four  \n", want{status: 200, header: http.Header{"X-Long": {"one two three four"}}}},
		"folded status":       {"Status: 404\n Nothing here\n", want{status: 404, reason: "Nothing here", header: http.Header{}}},
		"not UTF-8":           {"X-Latin: \xe4\xf6\xfc\n", want{status: 200, header: http.Header{"X-Latin": {"\xe4\xf6\xfc"}}}},
		"token characters":    {"!#$%&'*+-.^_`|~09: x\n", want{status: 200, header: http.Header{"!#$%&'*+-.^_`|~09": {"x"}}}},
		"tab in a value":      {"X-Tab: a\tb\n", want{status: 200, header: http.Header{"X-Tab": {"a\tb"}}}},
		"length":              {"Content-Length: 17\n", want{status: 200, length: 17, header: http.Header{}}},
		"length, twice alike": {"Content-Length: 17\nContent-Length: 017\n", want{status: 200, length: 17, header: http.Header{}}},
		"largest length":      {"Content-Length: 9223372036854775807\n", want{status: 200, length: 1<<63 - 1, header: http.Header{}}},

		"status":                     {"Status: 404 Not Found\n", want{status: 404, header: http.Header{}}},
		"status, no reason":          {"Status: 404\n", want{status: 404, header: http.Header{}}},
		"status, a space behind":     {"Status: 404 \n", want{status: 404, header: http.Header{}}},
		"reason in another case":     {"Status: 404 NOT FOUND\n", want{status: 404, header: http.Header{}}},
		"own reason":                 {"Status: 404 No Such Page\n", want{status: 404, reason: "No Such Page", header: http.Header{}}},
		"spaces before the reason":   {"Status: 200   Fine\n", want{status: 200, reason: "Fine", header: http.Header{}}},
		"reason beyond ASCII":        {"Status: 500 Schei\xdfe\n", want{status: 500, reason: "Schei\xdfe", header: http.Header{}}},
		"status without a name":      {"Status: 299\n", want{status: 299, header: http.Header{}}},
		"its own name":               {"Status: 299 Strange\n", want{status: 299, reason: "Strange", header: http.Header{}}},
		"lowest and highest":         {"Status: 599\n", want{status: 599, header: http.Header{}}},
		"empty status":               {"Status:\nX-A: 1\n", want{status: 200, header: http.Header{"X-A": {"1"}}}},
		"the same status twice":      {"Status: 404\nStatus: 404\n", want{status: 404, header: http.Header{}}},
		"status behind other fields": {"X-A: 1\nStatus: 403\n", want{status: 403, header: http.Header{"X-A": {"1"}}}},

		"client redirect":        {"Location: http://example.org/\n", want{status: 302, header: http.Header{"Location": {"http://example.org/"}}}},
		"with its own status":    {"Status: 307\nLocation: http://example.org/\n", want{status: 307, header: http.Header{"Location": {"http://example.org/"}}}},
		"with 201":               {"Status: 201 Created\nLocation: /new\n", want{status: 201, header: http.Header{"Location": {"/new"}}}},
		"empty Location":         {"Location:\n", want{status: 200, header: http.Header{"Location": {""}}}},
		"path and another field": {"Location: /a\nSet-Cookie: a=1\n", want{status: 302, header: http.Header{"Location": {"/a"}, "Set-Cookie": {"a=1"}}}},

		"fields of the connection": {
			"Connection: close, X-A\nKeep-Alive: 5\nProxy-Connection: x\nTE: trailers\nTrailer: X\nTransfer-Encoding: chunked\nUpgrade: h2c\nX-A: 1\n",
			want{status: 200, header: http.Header{"X-A": {"1"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := parseHead(test.in)
			require.NoError(t, err)
			if test.length == 0 {
				test.length = -1
			}
			assert.Equal(t, test.want, want{res.Status, res.Reason, res.Length, res.Header})
		})
	}
}

func TestAHeadThatCouldBreakTheAnswerIsAnError(t *testing.T) {
	for name, in := range map[string]string{
		"no colon":                       "hello, world\n",
		"no colon in the second line":    "A: b\nTraceback (most recent call last)\n",
		"HTTP":                           "HTTP/1.1 200 OK\nA: b\n",
		"no name":                        ": b\n",
		"space in the name":              "X A: b\n",
		"space before the colon":         "Content-Length : 5\n", // request smuggling, RFC 9112 section 5.1
		"tab before the colon":           "A\t: b\n",
		"folded first line":              " A: b\n",
		"control character in the name":  "A\x01: b\n",
		"NUL in the name":                "A\x00B: b\n",
		"CR in the name":                 "A\rB: b\n",
		"beyond ASCII in the name":       "\xc3\x84: b\n",
		"parenthesis in the name":        "A(b): c\n",
		"NUL in the value":               "A: b\x00c\n",
		"CR in the value":                "A: b\rSet-Cookie: evil=1\n",
		"CR at the value's start":        "A: \rb\n",
		"CR CR LF":                       "A: b\r\r\n",
		"control character in the value": "A: b\x01\n",
		"escape in the value":            "A: \x1b[31m\n",
		"DEL in the value":               "A: b\x7f\n",
		"NUL in a folded line":           "A: b\n \x00\n",
		"CR in a folded line":            "A: b\n c\rd\n",
		"control character in Status":    "Status: 200 O\x01K\n",
		"in a field that is dropped":     "Connection: a\x00b\n",
		"an empty line at the start":     "\nA: b\n",

		"two lengths":                     "Content-Length: 5\nContent-Length: 6\n",
		"two lengths in one":              "Content-Length: 5, 5\n",
		"negative length":                 "Content-Length: -1\n",
		"length with a sign":              "Content-Length: +5\n",
		"length in hex":                   "Content-Length: 0x5\n",
		"length with underscore":          "Content-Length: 1_000\n",
		"length with a fraction":          "Content-Length: 5.0\n",
		"length with a space":             "Content-Length: 5 6\n",
		"empty length":                    "Content-Length:\n",
		"length beyond 63 bits":           "Content-Length: 9223372036854775808\n",
		"length beyond 64 bits":           "Content-Length: 18446744073709551621\n",
		"length is a word":                "Content-Length: many\n",
		"two lengths, the second is none": "Content-Length: 5\nContent-Length: x\n",

		"two different Status": "Status: 200\nStatus: 404\n",
		"Status word":          "Status: OK\n",
		"Status too short":     "Status: 20\n",
		"Status too long":      "Status: 2000\n",
		"Status with a sign":   "Status: +20\n",
		"Status negative":      "Status: -20\n",
		"Status 000":           "Status: 000\n",
		"Status 100":           "Status: 100 Continue\n",
		"Status 101":           "Status: 101 Switching Protocols\n",
		"Status 199":           "Status: 199\n",
		"Status 600":           "Status: 600\n",
		"Status 999":           "Status: 999\n",
		"Status with HTTP":     "Status: HTTP/1.1 200 OK\n",
		"Status and a hyphen":  "Status: 200-OK\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseHead(in)
			assert.ErrorIs(t, err, ErrBadHead)
		})
	}
}

func TestAnErrorShowsOnlyTheBeginningOfWhatTheScriptWrote(t *testing.T) {
	for _, in := range []string{strings.Repeat("x", 1000), strings.Repeat("(", 1000) + ": x", "Status: " + strings.Repeat("9", 1000), "Content-Length: " + strings.Repeat("9", 1000)} {
		_, err := parseHead(in)
		require.ErrorIs(t, err, ErrBadHead)
		assert.Less(t, len(err.Error()), 200)
		assert.Contains(t, err.Error(), "…")
	}
}

func TestALocationWithAPathAloneIsALocalRedirect(t *testing.T) {
	for in, want := range map[string]string{
		"Location: /a/b?c=d\n":                                  "/a/b?c=d",
		"location: /a\nContent-Type: text/html\n":               "/a",
		"Location: /a\nContent-Length: 0\nConnection: close\n":  "/a", // none of these would go to the client
		"Location: /\n":                                         "/",
		"Location: http://example.org/\n":                       "",
		"Location: //example.org/\n":                            "", // a network-path reference is no path
		"Location: a/b\n":                                       "",
		"Location: ?a\n":                                        "",
		"Location:\n":                                           "",
		"Content-Type: text/plain\n":                            "",
		"Status: 302 Found\nLocation: /a\n":                     "",
		"Status: 200\nLocation: /a\n":                           "",
		"Location: /a\nSet-Cookie: a=1\n":                       "", // the cookie must not be lost
		"Location: /a\nCache-Control: no-store\n":               "",
		"Location: /a\nContent-Type: text/html\nX-Other: fie\n": "",
	} {
		res, err := parseHead(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, res.LocalRedirect(), in)
		if want == "" && res.Header.Get("Location") != "" && !strings.HasPrefix(in, "Status") {
			assert.Equal(t, http.StatusFound, res.Status, in)
		}
	}
}

// A stringBody is the answer of a script that needs no process.
type stringBody struct{ io.Reader }

func (stringBody) Close() error  { return nil }
func (b stringBody) ClientGone() {}

func (b stringBody) ReadWithin(p []byte, _ time.Duration) (int, error) { return b.Read(p) }

// raw is the answer of an nph- script.
func raw(r io.Reader) *Response { return &Response{Raw: true, Length: -1, Body: stringBody{r}} }

func TestARawAnswerCanBeReadAsAnyOther(t *testing.T) {
	for name, test := range map[string]struct {
		in, body string
		status   int
		reason   string
	}{
		"HTTP/1.1":          {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n", "hello\n", 200, ""},
		"HTTP/1.0":          {"HTTP/1.0 404 Gone Fishing\r\nContent-Type: text/plain\r\n\r\nhello\n", "hello\n", 404, "Gone Fishing"},
		"LF":                {"HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello\n", "hello\n", 200, ""},
		"no reason":         {"HTTP/1.1 204\nContent-Type: text/plain\n\n", "", 204, ""},
		"its own Status":    {"HTTP/1.1 200 OK\nContent-Type: text/plain\nStatus: 200 OK\n\n", "", 200, ""},
		"a redirect":        {"HTTP/1.1 302 Found\nContent-Type: text/plain\nLocation: /x\n\n", "", 302, ""},
		"connection fields": {"HTTP/1.1 200 OK\nContent-Type: text/plain\nConnection: close\nKeep-Alive: 1\n\n", "", 200, ""},
		"long body":         {"HTTP/1.1 200 OK\nContent-Type: text/plain\n\n" + strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole":      strings.NewReader(test.in),
				"octet-wise": iotest.OneByteReader(strings.NewReader(test.in)),
				"with EOF":   iotest.DataErrReader(strings.NewReader(test.in)),
			} {
				res, err := raw(r).Cook()
				require.NoError(t, err, how)
				assert.False(t, res.Raw)
				assert.Equal(t, []any{test.status, test.reason}, []any{res.Status, res.Reason}, how)
				assert.Equal(t, "text/plain", res.Header.Get("Content-Type"), how)
				assert.Equal(t, "", res.LocalRedirect(), "an nph- script speaks to the client")
				assert.NotContains(t, res.Header, "Connection")
				b, err := io.ReadAll(res.Body)
				require.NoError(t, err, how)
				assert.Equal(t, test.body, string(b), how)
			}
		})
	}
}

func TestARawAnswerThatIsNotHTTPIsAnError(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":               "",
		"a CGI answer":          "Content-Type: text/plain\n\nhello\n",
		"an empty line":         "\r\nHTTP/1.1 200 OK\r\n\r\n",
		"no status":             "HTTP/1.1 OK\n\n",
		"informational":         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"status too high":       "HTTP/1.1 600 x\n\n",
		"two statuses":          "HTTP/1.1 200 OK\nStatus: 404\n\n",
		"CR in the reason":      "HTTP/1.1 200 OK\rX: y\n\n",
		"another protocol":      "ICY 200 OK\n\n",
		"cut off":               "HTTP/1.1 200 OK\nContent-Type: text/plain\n",
		"no colon":              "HTTP/1.1 200 OK\nfoo\n\n",
		"two lengths":           "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n",
		"longer than it may be": "HTTP/1.1 200 OK\nX: " + strings.Repeat("x", MaxHead) + "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := raw(strings.NewReader(in)).Cook()
			assert.ErrorIs(t, err, ErrBadHead)
		})
	}
	_, err := raw(iotest.ErrReader(ErrTimeout)).Cook()
	assert.ErrorIs(t, err, ErrTimeout, "what keeps the head from coming is passed on")
}

func TestWhatCameWithARawHeadIsReadBeforeTheRest(t *testing.T) {
	res, err := raw(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\n\nahead"), strings.NewReader(" and behind"))).Cook()
	require.NoError(t, err)
	var b [3]byte
	n, err := res.Body.ReadWithin(b[:], time.Minute)
	require.NoError(t, err)
	assert.Equal(t, "ahe", string(b[:n]))
	n, err = res.Body.Read(b[:])
	require.NoError(t, err)
	assert.Equal(t, "ad", string(b[:n]))
	n, err = res.Body.ReadWithin(b[:], time.Minute)
	require.NoError(t, err)
	assert.Equal(t, " an", string(b[:n]))
	rest, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "d behind", string(rest))
}

func TestARawAnswerIsHeldToItsAnnouncedLength(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	for name, test := range map[string]struct {
		body, want string
		err        error
	}{
		"exact":       {"hello", "hello", nil},
		"short":       {"hell", "hell", ErrTruncated},
		"nothing":     {"", "", ErrTruncated},
		"long":        {"hello, world", "hello", nil},
		"much longer": {"hello" + strings.Repeat("x", 1<<20), "hello", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole":      strings.NewReader(head + test.body),
				"octet-wise": iotest.OneByteReader(strings.NewReader(head + test.body)),
				"with EOF":   iotest.DataErrReader(strings.NewReader(head + test.body)),
				"head first": io.MultiReader(strings.NewReader(head), strings.NewReader(test.body)),
			} {
				res, err := raw(r).Cook()
				require.NoError(t, err, how)
				assert.EqualValues(t, 5, res.Length)
				b, err := io.ReadAll(res.Body)
				assert.ErrorIs(t, err, test.err, how)
				assert.Equal(t, test.want, string(b), how)
			}
		})
	}
	res, err := raw(strings.NewReader(head + "hell")).Cook()
	require.NoError(t, err)
	for range 4 {
		n, err := res.Body.ReadWithin(make([]byte, 1), time.Minute)
		assert.Equal(t, []any{1, nil}, []any{n, err})
	}
	_, err = res.Body.ReadWithin(make([]byte, 1), time.Minute)
	assert.ErrorIs(t, err, ErrTruncated)
}

func TestAHeadThatCanOnlyBeBadIsSoBeforeItsEndComes(t *testing.T) {
	for in, bad := range map[string]bool{
		"nonsense": false, "nonsense\n": true, "nonsense\r\nmore": true, "A: b\nnonsense\n": true, "A: b\r\n\r": false, "A: b\n folded\n\tmore\n": false,
		"A: b\n": false, "A: b\r\n": false, " folded\n": true, "A: b\nno end": false, "Content-Type: text/html\n<html>\n": true,
	} {
		res, n, err := ParseHead([]byte(in))
		assert.Nil(t, res)
		assert.Zero(t, n)
		if bad {
			assert.ErrorIs(t, err, ErrBadHead, in)
		} else {
			assert.NoError(t, err, in)
		}
	}
}

// FuzzHead: no head panics, and nothing in one that is accepted can break the
// framing of the answer.
func FuzzHead(f *testing.F) {
	for _, in := range []string{
		"Content-Type: text/plain\n\nhello", "Status: 404 Not Found\r\n\r\n", "Location: /a\n\n", "Location: http://a/\nStatus: 301\n\n", "A: b\n c\n\td\n\n",
		"Content-Length: 5\nContent-Length: 5\n\nhello", "Transfer-Encoding: chunked\nConnection: a\n\n", "A: b\rC: d\n\n", "A\x00: b\n\n", ": \n\n", "\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
		"Status: 200\n foo\n\n", "Set-Cookie: a\nset-cookie: b\n\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		fields, body, ok := headEnd(in)
		if ok {
			require.True(t, 0 <= fields && fields < body && body <= len(in))
			res, err := parseHead(string(in[:fields]))
			checkHead(t, res, err)
			if err == nil { // and no part of it was given up before its end had come
				for i := range in[:body] {
					_, _, err := ParseHead(in[:i])
					require.NoError(t, err, "%q", in[:i])
				}
			}
		}
		// The same as the rest of a raw answer.
		res, err := raw(bytes.NewReader(append([]byte("HTTP/1.1 200\n"), in...))).Cook()
		checkHead(t, res, err)
	})
}

func checkHead(t *testing.T, res *Response, err error) {
	if err != nil {
		require.ErrorIs(t, err, ErrBadHead)
		return
	}
	require.True(t, res.Status >= 200 && res.Status <= 599, res.Status)
	require.True(t, res.Length >= -1)
	require.NotContains(t, res.LocalRedirect(), "\n")
	for _, s := range []string{res.Reason, res.LocalRedirect()} {
		require.True(t, httpguts.ValidHeaderFieldValue(s) && !strings.ContainsAny(s, "\r\n\x00"), "%q", s)
	}
	var wire strings.Builder
	count := 0
	for name, values := range res.Header {
		require.Equal(t, http.CanonicalHeaderKey(name), name)
		require.True(t, httpguts.ValidHeaderFieldName(name), "%q", name)
		require.NotContains(t, []string{"Status", "Content-Length", "Connection", "Transfer-Encoding", "Upgrade", "Trailer", "Keep-Alive"}, name)
		for _, v := range values {
			require.False(t, strings.ContainsAny(v, "\r\n\x00"), "%q", v)
			fmt.Fprintf(&wire, "%s: %s\r\n", name, v)
			count++
		}
	}
	require.Equal(t, count, strings.Count(wire.String(), "\n"))
	again, err := parseHead(wire.String())
	require.NoError(t, err)
	for name, values := range res.Header {
		for i := range values {
			values[i] = strings.Trim(values[i], " \t") // a folded line may leave space behind
		}
		require.Equal(t, values, again.Header[name])
	}
}

func BenchmarkHead(b *testing.B) {
	head := []byte("Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-cache\r\nSet-Cookie: session=0123456789abcdef; Path=/; HttpOnly\r\n" +
		"Content-Length: 12345\r\nX-Powered-By: patience\r\n\r\n<!doctype html>")
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		fields, _, _ := headEnd(head)
		if _, err := parseHead(string(head[:fields])); err != nil {
			b.Fatal(err)
		}
	}
}
