//go:build linux

package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// authorizers let in who brings the right token. What they must not get they name when they
// refuse.
var authorizers = map[string]string{
	"auth.fcgi": `#!/usr/bin/perl
use CGI::Fast;
my $n = 0;
while (my $q = CGI::Fast->new) {
	my $must_not = join ',', grep { defined $ENV{$_} } qw(CONTENT_LENGTH PATH_INFO PATH_TRANSLATED SCRIPT_NAME SCRIPT_FILENAME);
	die "a body" if read STDIN, my $b, 1;
	if ($ENV{FCGI_ROLE} ne 'AUTHORIZER') {
		print "Status: 500\r\nContent-Type: text/plain\r\n\r\nrole $ENV{FCGI_ROLE}";
	} elsif ($ENV{REQUEST_URI} =~ /forge=(\w+)/) {
		print "Variable-REMOTE_USER: x\r\nVariable-$1: x\r\n\r\n";
	} elsif ($ENV{REQUEST_URI} =~ /die/) {
		exit 1;
	} elsif (($ENV{HTTP_AUTHORIZATION} // '') eq 'Bearer good' || ($ENV{AUTH_TYPE} // '') eq 'Basic') {
		my $user = ($ENV{REMOTE_USER} // 'ada') . '@' . ($ENV{HTTP_AUTHORIZATION} ? 'seen' : 'hidden');
		print "Status: 200 OK\r\nVariable-REMOTE_USER: $user\r\nvariable-auth-level: 7\r\nVariable-AUTH_PID: $$\r\nVariable-AUTH_N: ", ++$n,
			"\r\nSet-Cookie: ignored=1\r\nContent-Type: text/plain\r\n\r\nignored";
	} else {
		print "Status: 401 Who Are You\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVariable-SECRET: s\r\nContent-Type: text/plain\r\n\r\nnot $ENV{REQUEST_METHOD} [$must_not]";
	}
}
`,
	"auth.c": `#include <fcgi_stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
	int n = 0;
	while (FCGI_Accept() >= 0) {
		char *role = getenv("FCGI_ROLE"), *auth = getenv("HTTP_AUTHORIZATION");
		if (!role || strcmp(role, "AUTHORIZER") || getenv("CONTENT_LENGTH") || getenv("SCRIPT_NAME") || getchar() != EOF)
			printf("Status: 500\r\nContent-Type: text/plain\r\n\r\nrole");
		else if (auth && !strcmp(auth, "Bearer good"))
			printf("Variable-REMOTE_USER: ada@seen\r\nVariable-AUTH-LEVEL: 7\r\nVariable-AUTH_N: %d\r\n\r\n", ++n);
		else
			printf("Status: 401 Who Are You\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Type: text/plain\r\n\r\nnot %s []", getenv("REQUEST_METHOD"));
	}
	return 0;
}
`,
	"cgi/who.pl": `#!/usr/bin/perl
use Digest::SHA;
binmode STDIN; my $b = do { local $/; <STDIN> } // '';
print "Content-Type: text/plain\n\n", join ' ', map({ $_ // '-' } @ENV{qw(REMOTE_USER AUTH_TYPE AUTH_LEVEL HTTP_X_ONE)}), length $b, Digest::SHA::sha256_hex($b);
`,
	"who.fcgi": `#!/usr/bin/perl
use FCGI; use Digest::SHA;
my $r = FCGI::Request();
while ($r->Accept >= 0) {
	my $b = do { local $/; <STDIN> } // '';
	print "Content-Type: text/plain\r\n\r\n", join ' ', map({ $_ // '-' } @ENV{qw(REMOTE_USER AUTH_TYPE AUTH_LEVEL HTTP_X_ONE)}), length $b, Digest::SHA::sha256_hex($b);
}
`,
	"www/who.php":  `<?php $b = file_get_contents('php://input'); echo $_SERVER['REMOTE_USER'] ?? '-', ' ', $_SERVER['AUTH_TYPE'] ?? '-', ' ', $_SERVER['AUTH_LEVEL'] ?? '-', ' ', $_SERVER['HTTP_X_ONE'] ?? '-', ' ', strlen($b), ' ', hash('sha256', $b);`,
	"www/page.txt": "a page\n",
	// ada:secret
	"htpasswd": "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
}

func newAuthorizedSite(t *testing.T) (*gateway, *client) {
	t.Helper()
	needs(t, "CGI::Fast", "php-cgi", "gcc", "libfcgi")
	dir := tempDir(t)
	for name, text := range authorizers {
		writeFile(t, filepath.Join(dir, name), text, 0o755)
	}
	out, err := exec.Command("gcc", "-O2", "-Wall", "-o", filepath.Join(dir, "authc.fcgi"), filepath.Join(dir, "auth.c"), "-lfcgi").CombinedOutput()
	require.NoError(t, err, string(out))
	at := startFastCGI(t, dir, filepath.Join(dir, "authc.fcgi"))
	perl, c := "authorize: {fastcgi: {program: @DIR@/auth.fcgi}}", "authorize: {fastcgi: {servers: ['"+at+"']}}"
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /spawn/, cgi: {dir: @DIR@/cgi}, mode: spawn, `+perl+`}
  - {path: /warm/, cgi: {dir: @DIR@/cgi}, mode: warm, `+c+`}
  - {path: /fcgi, fastcgi: {program: @DIR@/who.fcgi}, `+perl+`}
  - {path: /php/, php: {root: @DIR@/www, fastcgi: {program: /usr/bin/php-cgi}}, `+c+`}
  - {path: /files/, files: {root: @DIR@/www}, `+perl+`}
  - {path: /both/, cgi: {dir: @DIR@/cgi}, auth: {basic: {htpasswd: @DIR@/htpasswd}}, `+perl+`}
  - {path: /pass/, cgi: {dir: @DIR@/cgi}, auth: {basic: {htpasswd: @DIR@/htpasswd}}, authorization: pass, `+perl+`}
`, "@DIR@", dir))
	return g, newClient(t, g.url())
}

func TestAnAuthorizerLetsRequestsThroughWithItsVariables(t *testing.T) {
	g, c := newAuthorizedSite(t)
	good := map[string]string{"Authorization": "Bearer good", "X-One": "1", "Content-Type": "text/plain"}
	const nothing = " 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	paths := []string{"/spawn/who.pl", "/warm/who.pl", "/fcgi", "/php/who.php"}
	for _, path := range paths {
		for range 3 {
			a := c.do(t, request{path: path, header: good})
			assert.Equal(t, 200, a.status, path)
			assert.Equal(t, "ada@seen - 7 1"+nothing, a.body, path)
			assert.Empty(t, a.header.Values("Set-Cookie"), path)
		}
		for _, size := range []int{10, 3 << 20} {
			body := strings.Repeat("b", size)
			a := c.do(t, request{method: "POST", path: path, body: body, header: good})
			assert.Equal(t, 200, a.status, path)
			assert.Equal(t, fmt.Sprintf("ada@seen - 7 1 %d %x", size, sha256.Sum256([]byte(body))), a.body, "%s: the body is for the route's own answer", path)
		}
	}
	a := c.do(t, request{path: "/files/page.txt", header: good})
	assert.Equal(t, "a page\n", a.body)
	assert.EqualValues(t, 5, g.metric(t, "warmcgi_authorizations_total", `outcome="allowed",route="/spawn/"`))
	assert.EqualValues(t, 1, g.metric(t, "warmcgi_authorizations_total", `outcome="allowed",route="/files/"`))
	b, err := io.ReadAll(c.open(t, "/files/page.txt").Body)
	require.NoError(t, err)
	assert.Equal(t, "not GET []", string(b))
}

func TestWhatAnAuthorizerSaysAgainstARequestIsTheAnswer(t *testing.T) {
	g, c := newAuthorizedSite(t)
	for _, path := range []string{"/spawn/who.pl", "/warm/who.pl", "/fcgi/x/y", "/php/who.php", "/files/page.txt", "/files/none"} {
		for method, body := range map[string]string{"GET": "", "POST": strings.Repeat("b", 5<<20)} {
			a := c.do(t, request{method: method, path: path, body: body})
			assert.Equal(t, 401, a.status, path)
			assert.Equal(t, `Bearer realm="x"`, a.header.Get("WWW-Authenticate"), path)
			assert.Equal(t, []string{"a=1", "b=2"}, a.header.Values("Set-Cookie"), path)
			assert.Empty(t, a.header.Values("Variable-Secret"), path)
			assert.Equal(t, "not "+method+" []", a.body, path)
		}
	}
	assert.EqualValues(t, 2, g.metric(t, "warmcgi_authorizations_total", `outcome="denied",route="/fcgi"`))
	assert.EqualValues(t, 2, g.metric(t, "warmcgi_requests_total", `route="/fcgi",script="authorizer",status="401"`))
}

func TestAnAuthorizerThatFailsLetsNobodyIn(t *testing.T) {
	g, c := newAuthorizedSite(t)
	good := map[string]string{"Authorization": "Bearer good"}
	a := c.do(t, request{path: "/spawn/who.pl?die", header: good})
	assert.Equal(t, 502, a.status)
	for _, name := range []string{"HTTP_X_ONE", "PATH", "LD_PRELOAD", "CONTENT_LENGTH", "SCRIPT_NAME", "REMOTE_ADDR", "remote_user"} {
		a := c.do(t, request{path: "/fcgi?forge=" + name, header: good})
		assert.Equal(t, 502, a.status, name)
		assert.Eventually(t, func() bool { return strings.Contains(g.out.String(), strings.ToUpper(name)) }, patience, 10*time.Millisecond)
	}
	assert.EqualValues(t, 1, g.metric(t, "warmcgi_authorizations_total", `outcome="failed",route="/spawn/"`))
	assert.EqualValues(t, 7, g.metric(t, "warmcgi_authorizations_total", `outcome="failed",route="/fcgi"`))
	assert.EqualValues(t, 7, g.metric(t, "warmcgi_request_errors_total", `why="authorizer"`))
	assert.Eventually(t, func() bool {
		a, err := c.try(request{path: "/spawn/who.pl", header: good})
		return err == nil && a.status == 200
	}, patience, 10*time.Millisecond)
}

func TestBasicAuthenticationComesBeforeTheAuthorizer(t *testing.T) {
	g, c := newAuthorizedSite(t)
	a := c.get(t, "/both/who.pl")
	assert.Equal(t, 401, a.status)
	assert.Contains(t, a.header.Get("WWW-Authenticate"), "Basic realm=")
	assert.Zero(t, g.metric(t, "warmcgi_authorizations_total", `outcome="denied",route="/both/"`))
	basic := map[string]string{"Authorization": "Basic YWRhOnNlY3JldA=="}
	assert.Regexp(t, `^ada@hidden Basic 7 - 0 `, c.do(t, request{path: "/both/who.pl", header: basic}).body)
	assert.Regexp(t, `^ada@seen Basic 7 - 0 `, c.do(t, request{path: "/pass/who.pl", header: basic}).body)
}

func TestPHPDecidesAboutRequests(t *testing.T) {
	needs(t, "php-cgi")
	dir := tempDir(t)
	writeFile(t, dir+"/auth.php", `<?php if (($_GET['key'] ?? '') === 'good') { header('Variable-REMOTE_USER: ada'); header('Variable-ROLE: ' . $_SERVER['FCGI_ROLE']); }
		else { http_response_code(403); header('Content-Type: text/plain'); echo 'no: ', $_SERVER['REQUEST_URI']; }`, 0o644)
	writeFile(t, dir+"/cgi/p.sh", "#!/bin/sh\necho Content-Type: text/plain; echo; echo $REMOTE_USER $ROLE; cat\n", 0o755)
	fpm := startFPM(t, dir, children4)
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /managed/, cgi: {dir: @DIR@/cgi}, authorize: {fastcgi: {program: /usr/bin/php-cgi, params: [{set: {SCRIPT_FILENAME: @DIR@/auth.php, REDIRECT_STATUS: 200}}]}}}
  - {path: /fpm/, cgi: {dir: @DIR@/cgi}, authorize: {fastcgi: {servers: ['unix:`+fpm.socket+`'], params: [{set: {SCRIPT_FILENAME: @DIR@/auth.php, SCRIPT_NAME: /auth.php}}]}}}
`, "@DIR@", dir))
	c := newClient(t, g.url())
	for _, path := range []string{"/managed/p.sh", "/fpm/p.sh"} {
		for range 3 {
			a := c.do(t, request{method: "POST", path: path + "?key=good", body: "the body"})
			assert.Equal(t, "ada AUTHORIZER\nthe body", a.body, path)
			a = c.do(t, request{method: "POST", path: path + "?key=bad", body: "the body"})
			assert.Equal(t, 403, a.status, path)
			assert.Equal(t, "no: "+path+"?key=bad", a.body, path)
		}
	}
}

func TestPHPThatSeesItsFolderElsewhereIsToldSo(t *testing.T) {
	dir := tempDir(t)
	writeFile(t, dir+"/www/index.php", "<?php // the gateway's copy", 0o644)
	writeFile(t, dir+"/container/www/index.php", `<?php echo __FILE__, ' ', $_SERVER['DOCUMENT_URI'], ' ', $_SERVER['STAGE'];`, 0o644)
	fpm := startFPM(t, dir, children4)
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - path: /
    env: {STAGE: test}
    php:
      root: @DIR@/www
      fastcgi:
        servers: ['unix:`+fpm.socket+`']
        params:
          - set: {SCRIPT_FILENAME: "@DIR@/container/www%{SCRIPT_NAME}", DOCUMENT_ROOT: "@DIR@/container/www", STAGE: "%{STAGE}-%{SERVER_PORT}"}
          - use: nginx
`, "@DIR@", dir))
	c := newClient(t, g.url())
	a := c.get(t, "/index.php/x")
	assert.Equal(t, dir+"/container/www/index.php /index.php/x test-"+strings.TrimSuffix(g.url()[strings.LastIndex(g.url(), ":")+1:], "/"), a.body)
}

func TestNoVerdictGetsToAnotherRequest(t *testing.T) {
	needs(t, "CGI::Fast")
	dir := tempDir(t)
	writeFile(t, dir+"/auth.fcgi", `#!/usr/bin/perl
use FCGI;
my $r = FCGI::Request();
while ($r->Accept >= 0) {
	my ($token) = $ENV{REQUEST_URI} =~ /t=(\w+)/;
	print $token % 3 ? "Variable-TOKEN: $token\r\n\r\n" : "Status: 403\r\nContent-Type: text/plain\r\n\r\nno $token";
}
`, 0o755)
	writeFile(t, dir+"/app.fcgi", `#!/usr/bin/perl
use FCGI;
my $r = FCGI::Request();
while ($r->Accept >= 0) {
	my $b = do { local $/; <STDIN> } // '';
	print "Content-Type: text/plain\r\n\r\nyes $ENV{TOKEN} $b";
}
`, 0o755)
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /app, fastcgi: {program: @DIR@/app.fcgi, processes: 2}, authorize: {fastcgi: {program: @DIR@/auth.fcgi, processes: 2}}, reuse: {requests: 40}}
`, "@DIR@", dir))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := newClient(t, g.url())
			defer c.http.CloseIdleConnections()
			for i := next.Add(1); i <= 400; i = next.Add(1) {
				if i%10 == 0 { // a client that does not wait
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*time.Millisecond)
					r, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprint(g.url(), "/app?t=", i), strings.NewReader("left"))
					if assert.NoError(t, err) {
						if res, err := c.http.Do(r); err == nil {
							res.Body.Close()
						}
					}
					cancel()
					continue
				}
				body := strings.Repeat("b", int(i)*100)
				a, err := c.try(request{method: "POST", path: fmt.Sprint("/app?t=", i), body: body, header: map[string]string{"Content-Type": "text/plain"}})
				if !assert.NoError(t, err) {
					return
				}
				if i%3 == 0 {
					assert.Equal(t, fmt.Sprint("no ", i), a.body)
					assert.Equal(t, 403, a.status)
				} else {
					assert.True(t, a.body == fmt.Sprint("yes ", i, " ", body), "%d: %d %.60q", i, a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, g.metric(t, "warmcgi_authorizations_total", `outcome="failed"`))
}
