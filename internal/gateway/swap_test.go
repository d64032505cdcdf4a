package gateway

import (
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/urlpath"
)

// swap puts a link in the place of a file or folder.
func (s *site) swap(name, target string) {
	s.t.Helper()
	require.NoError(s.t, os.Rename(s.path(name), s.path(name+".was")))
	s.link(target, name)
}

// Whoever may write a folder can put a link where a file was, between the look at it and its
// opening. A gateway that may read more than they may would hand it out.
func TestALinkThatTakesAFilesPlaceHandsOutNothing(t *testing.T) {
	s := newSite(t)
	s.write("secret/file.txt", "SECRET")
	s.write("secret/index.html", "SECRET")
	s.write("secret/file.txt.gz", "SECRET")
	g := s.serve("routes:\n  - {path: /, files: {root: html, index: [index.html], listing: true}}\n")
	for what, c := range map[string]struct {
		path, swapped, target string
		follow                func(x *exchange, rt *route, f urlpath.Found, swap func()) error
	}{
		"a file": {"/dir/file.txt", "html/dir/file.txt", "../../secret/file.txt", func(x *exchange, rt *route, f urlpath.Found, swap func()) error {
			swap()
			return x.serveFile(rt, f)
		}},
		"its folder": {"/dir/file.txt", "html/dir", "../secret", func(x *exchange, rt *route, f urlpath.Found, swap func()) error {
			swap()
			return x.serveFile(rt, f)
		}},
		"a folder with an index": {"/dir/", "html/dir", "../secret", func(x *exchange, rt *route, f urlpath.Found, swap func()) error {
			return x.serveFolder(rt, f, rt.Files.Index, false, func(in urlpath.Found) error {
				swap()
				return x.serveFile(rt, in)
			})
		}},
		"a folder that is listed": {"/dir/", "html/dir", "../secret", func(x *exchange, rt *route, f urlpath.Found, swap func()) error {
			swap()
			return x.list(rt, f)
		}},
		"what a script hands over": {"/dir/file.txt", "html/dir/file.txt", "../../secret/file.txt", func(x *exchange, _ *route, f urlpath.Found, swap func()) error {
			swap()
			return x.sendStatic(s.path("html/dir"), f.File, urlpath.Rules{})
		}},
	} {
		s.write("html/dir/file.txt", "public")
		s.write("html/dir/index.html", "public")
		r := httptest.NewRequest("GET", c.path, nil)
		w := httptest.NewRecorder()
		x := &exchange{ResponseWriter: w, s: g.Server, st: g.state.Load(), r: r, first: r}
		p, err := urlpath.Parse(c.path)
		require.NoError(t, err)
		rt, rest, _ := x.st.routes.find("", p)
		x.path, x.route = p, rt
		f, err := urlpath.Walk(rt.Files.Root, rest, rt.rules)
		require.NoError(t, err)
		err = c.follow(x, rt, f, func() { s.swap(c.swapped, c.target) })
		assert.ErrorIs(t, err, urlpath.ErrOutside, what)
		assert.NotContains(t, w.Body.String(), "SECRET", what)
		assert.NotContains(t, w.Body.String(), "file.txt.gz", what)
		require.NoError(t, os.RemoveAll(s.path("html")))
	}
}
