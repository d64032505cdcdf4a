package urlpath

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plantSite makes a site with a secret beside it, and returns its root. What a walk
// may find is named public; every file holds its own name.
func plantSite(t testing.TB, top string) (root string) {
	t.Helper()
	plant(t, top, "secret", "etc/passwd", "root.bak/secret", "rootsecret",
		"root/public.cgi", "root/cgi-bin/public.cgi", "root/a/b/public.cgi", "root/index/",
		"root/cgi-bin/public -> public.cgi", "root/here -> .",
		"root/cgi-bin/leak -> ../../secret", "root/leaks -> ..", "root/near -> ../root.bak", "root/loop -> loop",
		"root/.htpasswd", "root/.git/config", "root/cgi-bin/public.cgi.bak", "root/cgi-bin/public.cgi~", "root/cgi-bin/#public.cgi#",
		"root/cgi-bin/.public.cgi.swp")
	return filepath.Join(top, "root")
}

// TestAttacks is the list of what has been tried on web servers. None of it may
// find anything that the plain path does not.
func TestAttacks(t *testing.T) {
	top := t.TempDir()
	root := plantSite(t, top)
	for _, group := range []struct {
		name string
		want error // nil: found is a public file or folder
		in   []string
	}{
		{"climbing", ErrBadPath, []string{
			"/../secret", "/../../../../etc/passwd", "/a/../../secret", "/cgi-bin/../../secret", "/./../secret", "/a/b/../../../secret",
			"/../root/public.cgi", "/..", "/../", "/cgi-bin/../..", "//../../secret",
		}},
		{"climbing, encoded (CVE-2021-41773)", ErrBadPath, []string{
			"/.%2e/secret", "/%2e%2e/secret", "/%2E%2E/secret", "/cgi-bin/.%2e/.%2e/secret", "/cgi-bin/.%2e/%2e%2e/%2e%2e/etc/passwd", "/%2e./secret",
		}},
		{"climbing behind encoded slashes", ErrBadPath, []string{
			"/..%2fsecret", "/%2e%2e%2fsecret", "/cgi-bin%2f..%2f..%2fsecret", "/a%2f../..%2fsecret", "/..%2f..%2f..%2fetc%2fpasswd", "/%2f..%2fsecret",
			"/cgi-bin/public.cgi/..%2f..%2fsecret", "/.%2fpublic.cgi", "/cgi-bin%2f.",
		}},
		{"climbing, encoded twice (CVE-2021-42013)", fs.ErrNotExist, []string{
			"/cgi-bin/%252e%252e/%252e%252e/secret", "/%252fsecret", "/a%252f..%252fsecret", "/cgi-bin/%25%32%66secret", "/cgi-bin%255c..",
		}},
		{"encoded by halves (CVE-2021-42013)", ErrBadPath, []string{"/%%32%65%%32%65/secret", "/cgi-bin/.%%32%65/.%%32%65/.%%32%65/secret"}},
		{"dots filtered once", ErrHidden, []string{"/....//secret", "/....//....//secret", "/cgi-bin/....//....//secret", "/...//secret", "/..../secret", "/.../...//secret"}},
		{"dots and filters", fs.ErrNotExist, []string{"/cgi-bin/%c0%ae%c0%ae/secret", "/%c0%afsecret", "/%e0%80%aesecret", "/%ef%bc%8e%ef%bc%8e/secret", "/cgi-bin%c0%afpublic.cgi"}},
		{"path parameters (Tomcat)", ErrHidden, []string{"/..;/secret", "/..;a=b/secret", "/cgi-bin/..;/..;/secret", "/.;/.;/secret"}},
		{"dots before something else", ErrHidden, []string{`/..\secret`, `/..%5csecret`, `/cgi-bin/..\..\secret`, `/..%5c..%5c..%5cetc%5cpasswd`, `/.\public.cgi`, "/cgi-bin/..%252f..%252fsecret"}},
		{"backslashes as slashes", fs.ErrNotExist, []string{`/\..\secret`, `/cgi-bin\public.cgi`, `/cgi-bin%5cpublic.cgi`, `/%5c%5c`, `/cgi-bin/public.cgi\x`, `/C:\x`, "/C:/x"}},
		{"NUL", ErrBadPath, []string{
			"/%00", "/cgi-bin/public.cgi%00", "/cgi-bin/public.cgi%00.html", "/../secret%00.cgi", "/cgi-bin/public.cgi/%00", "/secret\x00", "/%00/../secret",
		}},
		{"bad percent encoding", ErrBadPath, []string{"/%", "/%2", "/%g0", "/%u002e%u002e/secret", "/cgi-bin/%2e%2/secret", "/cgi-bin/public.cgi%", "/%-1"}},
		{"encoded slashes", fs.ErrNotExist, []string{"/cgi-bin%2fpublic.cgi", "/%2fcgi-bin%2fpublic.cgi", "/%2f", "/%2fetc%2fpasswd", "/%2f%2f", "/a%2Fb/public.cgi"}},
		{"trailing dots and spaces", fs.ErrNotExist, []string{
			"/cgi-bin/public.cgi.", "/cgi-bin/public.cgi%20", "/cgi-bin/public.cgi...", "/cgi-bin/public.cgi%20.", "/cgi-bin/public.cgi::$DATA", "/cgi-bin./public.cgi",
			"/cgi-bin%20/public.cgi", "/%20", "/cgi-bin/public.cgi%09", "/cgi-bin/public.cgi%0a",
		}},
		{"another case", fs.ErrNotExist, []string{"/CGI-BIN/public.cgi", "/cgi-bin/Public.CGI"}},
		{"dotfiles", ErrHidden, []string{"/.htpasswd", "/.git/config", "/.git", "/%2egit/config", "/%2ehtpasswd", "/a/../.git/config", "//.git//config", "/cgi-bin/.public.cgi.swp", "/here/.htpasswd"}},
		{"backups disclose source", ErrHidden, []string{
			"/cgi-bin/public.cgi.bak", "/cgi-bin/public.cgi~", "/cgi-bin/public.cgi%7e", "/cgi-bin/%23public.cgi%23", "/cgi-bin/public.cgi.bak/x", "/cgi-bin/public.cgi.BAK",
		}},
		{"links that leave", ErrOutside, []string{"/cgi-bin/leak", "/cgi-bin/leak/x", "/leaks", "/leaks/", "/leaks/secret", "/leaks/root/public.cgi", "/here/leaks/secret", "/here/cgi-bin/leak", "/near/secret"}},
		{"links in a circle", fs.ErrNotExist, []string{"/loop", "/loop/", "/loop/public.cgi", "/here/loop"}},
		{"neighbours with a longer name", fs.ErrNotExist, []string{"/secret", "/rootsecret", "/root", "/etc/passwd"}},
		{"very long", fs.ErrNotExist, []string{"/" + strings.Repeat("A", 300), "/" + strings.Repeat("A", 1<<16), strings.Repeat("/A", 1<<15), "/cgi-bin/" + strings.Repeat("%41", 5000)}},
		{"not a path", ErrBadPath, []string{"", "*", "public.cgi", "http://localhost/public.cgi", "../secret", "%2fpublic.cgi", `\public.cgi`, " /public.cgi"}},
		{"harmless spellings", nil, []string{
			"/cgi-bin/public.cgi", "//cgi-bin//public.cgi", "/./cgi-bin/./public.cgi", "/cgi-bin/../cgi-bin/public.cgi", "/%63gi-bin/public%2ecgi", "/a/../cgi-bin/public.cgi",
			"/cgi-bin/public.cgi/../public.cgi", "/cgi-bin/public", "/here/here/cgi-bin/public.cgi", "/cgi-bin/public.cgi/../../a/b/public.cgi", "/%2e/public.cgi",
			"/cgi-bin/public.cgi/secret", "/cgi-bin/public.cgi/.git", "/cgi-bin/public.cgi/%252e%252e/secret", "/cgi-bin/public.cgi/....//secret", "/", "/index/..",
			"/" + strings.Repeat("/", 1<<12) + "public.cgi", "/public.cgi/" + strings.Repeat("A", 1<<16),
		}},
	} {
		for _, in := range group.in {
			name := group.name + " " + in
			if len(name) > 100 {
				name = name[:100]
			}
			t.Run(name, func(t *testing.T) {
				var f Found
				p, err := Parse(in)
				if err == nil {
					f, err = Walk(root, p, Rules{})
				}
				if group.want != nil {
					require.ErrorIs(t, err, group.want)
					return
				}
				require.NoError(t, err)
				if !f.Info.IsDir() {
					assert.Contains(t, content(t, f.File), "public.cgi")
				}
			})
		}
	}
}

// FuzzParseAndWalk: whatever is asked for, what is found lies in the root and is not
// hidden, and the plain spelling of its path finds the same.
func FuzzParseAndWalk(f *testing.F) {
	for _, in := range []string{
		"/", "/public.cgi", "/cgi-bin/public.cgi/x//y", "/cgi-bin/public/%2e%2e/", "/here/here/../a/b/public.cgi", "/leaks/secret", "/cgi-bin/leak", "/loop",
		"/..%2fsecret", "/%2e%2e/secret", "/a/../../secret", "/....//secret", "/%00", "/%252e", "/.git/config", "/cgi-bin/public.cgi~", "//a//b//", "/a%2fb", `/..\secret`,
	} {
		f.Add(in, false)
		f.Add(in, true)
	}
	root := plantSite(f, f.TempDir())
	real, err := filepath.EvalSymlinks(root)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, in string, hidden bool) {
		p, err := Parse(in)
		if err != nil {
			require.ErrorIs(t, err, ErrBadPath)
			return
		}
		for _, seg := range p {
			require.NotContains(t, []string{".", ".."}, seg)
			require.NotContains(t, seg, "\x00")
		}
		found, err := Walk(root, p, Rules{Hidden: hidden})
		if err != nil {
			require.True(t, isOneOf(err, fs.ErrNotExist, fs.ErrPermission, ErrOutside, ErrHidden), "%v", err)
			return
		}
		require.Equal(t, root+found.Used.String(), found.File)
		file, err := filepath.EvalSymlinks(found.File)
		require.NoError(t, err)
		require.True(t, file == real || strings.HasPrefix(file, real+"/"), "%q finds %s", in, file)
		require.True(t, Inside(root, found.File))
		if found.Info.Mode().IsRegular() {
			require.NotContains(t, content(t, found.File), "secret")
		}
		for _, seg := range found.Used {
			require.NotEmpty(t, seg)
			require.True(t, hidden || !Hidden(seg), "%q finds %s", in, file)
		}
		if len(found.Rest) > 0 {
			require.True(t, strings.HasSuffix(p.String(), found.Rest.String()))
		}
		// Once more, as anybody would write it.
		p, err = Parse((&url.URL{Path: "/" + strings.TrimPrefix(found.Used.String(), "/")}).EscapedPath())
		require.NoError(t, err)
		plain, err := Walk(root, p, Rules{Hidden: hidden})
		require.NoError(t, err)
		require.True(t, os.SameFile(plain.Info, found.Info))
	})
}

func isOneOf(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) })
}

func content(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}
