package cgi

import (
	"bytes"
	"encoding/json"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// says sends the fields that it is given as PHP sends them, and tells as its body what they
// are to PHP: the status and the list. What PHP refuses it leaves out.
const says = `<?php
error_reporting(0);
header_remove();
ini_set('default_mimetype', '');
foreach (explode("\0", file_get_contents('php://input')) as $line) header($line, false);
$list = array_map('base64_encode', headers_list());
echo json_encode(['status' => http_response_code(), 'list' => $list]);
`

// FuzzHeadAsPHPHasIt: a head that PHP writes has the status and the fields that PHP thinks it has.
// PHP puts a status line of the script's own, a bare Status and Location into Status.
func FuzzHeadAsPHPHasIt(f *testing.F) {
	for _, in := range []string{
		"Content-Type: text/plain", "Status: 404 Not Found", "HTTP/1.1 404 Not Found", "HTTP/1.0 299 Odd, really", "Location: http://a/", "Location: /local", "Location: http://a/\x00Status: 301",
		"Set-Cookie: a=b\x00set-cookie: c=d", "X-A: b\r\nX-B: c", "X-A: b\nX-B: c", "X-A: b\r\n folded", "X-A: b\x00\x00", "X-A:", "X-A: \t b \t", "no colon", " X-A: b", "X A: b", ":", "X-A: \xff\xfe",
		"Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Status: 200\x00Status: 404", "HTTP/1.1 abc", "HTTP/1.1 99", "Content-Type: a/b; charset=x\x00content-type: c/d", "WWW-Authenticate: Basic",
	} {
		f.Add([]byte(in))
	}
	php, err := exec.LookPath("php-cgi")
	require.NoError(f, err, "Debian's package php-cgi, see scripts/setup")
	script := filepath.Join(f.TempDir(), "says.php")
	require.NoError(f, os.WriteFile(script, []byte(says), 0o644))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 8000 {
			return
		}
		cmd := exec.Command(php, "-n")
		cmd.Env = []string{"REDIRECT_STATUS=200", "GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=POST", "CONTENT_TYPE=application/octet-stream", "SCRIPT_FILENAME=" + script, "CONTENT_LENGTH=" + strconv.Itoa(len(in))}
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		require.NoError(t, err)
		res, n, err := ParseHead(out)
		if err != nil {
			require.ErrorIs(t, err, ErrBadHead)
			requireBadAtPHP(t, string(in), string(out))
			return
		}
		require.NotZero(t, n, "%q", out)
		var php struct {
			Status any // false, where the script has set none
			List   [][]byte
		}
		require.NoError(t, json.NewDecoder(bytes.NewReader(out[n:])).Decode(&php), "what stands behind the head is the body: %q", out)
		want := map[string][]string{}
		last := "" // the field before
		for _, line := range php.List {
			if len(line) == 0 {
				continue // a header() of blanks, which PHP lists and doesn't write
			}
			if line[0] == ' ' || line[0] == '\t' { // to who reads it the line before goes on
				if values := want[last]; last != "" {
					values[len(values)-1] = strings.Trim(values[len(values)-1]+" "+strings.Trim(string(line), " \t"), " \t")
				}
				continue
			}
			name, value, ok := strings.Cut(string(line), ":")
			require.True(t, ok, "%q", line)
			last = textproto.CanonicalMIMEHeaderKey(name)
			want[last] = append(want[last], strings.Trim(value, " \t"))
		}
		if own := want["Status"]; own != nil && own[0] != "" { // to PHP it is a field like others
			require.True(t, strings.HasPrefix(own[0], strconv.Itoa(res.Status)), "%q", out)
		} else if status, ok := php.Status.(float64); ok && res.LocalRedirect() == "" {
			require.Equal(t, int(status), res.Status, "%q", out)
		}
		for _, name := range []string{"Status", "Content-Length", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
			delete(want, name) // not the script's to say, or a field of Response
		}
		got := map[string][]string{}
		for name, values := range res.Header {
			for _, v := range values {
				got[name] = append(got[name], strings.Trim(v, " \t"))
			}
		}
		assert.Equal(t, want, got, "%q", out)
	})
}

// requireBadAtPHP: we refuse what PHP writes only where it writes what is no head to anybody,
// or what speaks for the connection.
func requireBadAtPHP(t *testing.T, in, out string) {
	t.Helper()
	head, _, _ := strings.Cut(out, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		lower := strings.ToLower(name)
		switch {
		case !ok, strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;\"/[]?={}`, r) }), name == "":
			return // no field
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }), !utf8.ValidString(name):
			return // octets that would not stay within it
		case lower == "status", lower == "content-length":
			return // none that we could send, or two
		}
	}
	assert.Failf(t, "refused", "%q of %q", out, in)
}
