//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// cgifields is what CGI.pm adds to a form when it is used as CGI::Fast.
var cgifields = regexp.MustCompile(`<div><input type="hidden" name="\.cgifields" value="sr"  /></div>`)

func TestGitwebAnswersAllItsViewsByFastCGIAsInPlainCGI(t *testing.T) {
	needs(t, "CGI::Fast")
	dir := tempDir(t)
	m := newGitweb(t, dir)
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /gitweb, fastcgi: {program: /usr/share/gitweb/gitweb.cgi, args: [--fastcgi], processes: 2}, env: {GITWEB_CONFIG: @DIR@/gitweb.conf}}
  - {path: /gitweb-paths, fastcgi: {program: /usr/share/gitweb/gitweb.cgi, args: [--fastcgi], processes: 1}, env: {GITWEB_CONFIG: @DIR@/gitweb.conf}}
`, "@DIR@", dir))
	c := newClient(t, g.url())
	for _, v := range m.views() {
		v.assert(t, c.get(t, v.path()))
	}
	// Once more: a process that has answered before must not answer in another way.
	var work errgroup.Group
	work.SetLimit(3)
	for _, v := range m.views() {
		work.Go(func() error {
			got, err := c.try(request{path: v.path()})
			if !assert.NoError(t, err, v.path()) {
				return nil
			}
			got.body = cgifields.ReplaceAllString(got.body, "")
			name := "/gitweb"
			if strings.HasPrefix(v.query, "/gitweb-paths") {
				name = "/gitweb-paths"
			}
			assertAlike(t, v.path(), plainCGI(t, g.url(), v.path(), name, gitwebCGI, "GITWEB_CONFIG="+dir+"/gitweb.conf"), got)
			return nil
		})
	}
	work.Wait()
}

// A map of one red square on blue.
const mapfile = `MAP
  NAME "squares"
  STATUS ON
  SIZE 100 100
  EXTENT 0 0 10 10
  IMAGECOLOR 0 0 255
  IMAGETYPE PNG
  LAYER
    NAME "square"
    TYPE POLYGON
    STATUS DEFAULT
    FEATURE
      POINTS 2 2 2 8 8 8 8 2 2 2 END
    END
    CLASS
      STYLE COLOR 255 0 0 END
    END
  END
END
`

func TestMapservDrawsMapsByFastCGI(t *testing.T) {
	needs(t, "mapserv")
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "squares.map"), mapfile, 0o644)
	writeFile(t, filepath.Join(dir, "mapserver.conf"), "CONFIG\n  ENV\n    MS_MAP_PATTERN \"^"+dir+"/\"\n  END\nEND\n", 0o644)
	g := startGateway(t, dir, strings.ReplaceAll(`
listen: [{http: 127.0.0.1:0}]
routes:
  - {path: /maps, fastcgi: {program: /usr/lib/cgi-bin/mapserv, processes: 2}, reuse: {requests: 20}, env: {MAPSERVER_CONFIG_FILE: @DIR@/mapserver.conf}}
`, "@DIR@", dir))
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			c := newClient(t, g.url())
			defer c.http.CloseIdleConnections()
			for i := range 25 {
				size := 100 + 4*i + k
				a, err := c.try(request{path: fmt.Sprintf("/maps?map=%s/squares.map&mode=map&mapsize=%d+%d", dir, size, size)})
				if !assert.NoError(t, err) || !assert.Equal(t, 200, a.status, a.body) {
					return
				}
				assert.Equal(t, "image/png", a.header.Get("Content-Type"))
				img, err := png.Decode(strings.NewReader(a.body))
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, size, img.Bounds().Dx())
				for at, want := range map[int]color.RGBA{size / 2: {255, 0, 0, 255}, 1: {0, 0, 255, 255}} {
					assert.Equal(t, want, color.RGBAModel.Convert(img.At(at, at)))
				}
			}
		})
	}
	wg.Wait()
}

// uWSGI is how Python's applications speak FastCGI today.
func TestHgwebAnswersByFastCGIOfUWSGI(t *testing.T) {
	needs(t, "hgweb", "uwsgi")
	dir := tempDir(t)
	repo := newHgRepository(t, dir)
	writeFile(t, filepath.Join(dir, "app.py"), fmt.Sprintf(`import sys
sys.path[:0] = ['/usr/lib/python3/dist-packages']
from mercurial import demandimport; demandimport.enable()
from mercurial.hgweb import hgweb
wiki = hgweb(%q.encode())
def application(env, start):
    if env.get('PATH_INFO') != '/echo':
        return wiki(env, start)
    start('200 OK', [('Content-Type', 'application/octet-stream')])
    return [env['wsgi.input'].read()]
`, repo), 0o644)
	socket := filepath.Join(dir, "uwsgi.sock")
	cmd := exec.Command(programs["uwsgi"].path(), "--plugin", "python3", "--fastcgi-socket", socket, "--wsgi-file", filepath.Join(dir, "app.py"),
		"--master", "--processes", "2", "--die-on-term", "--need-app")
	cmd.Env = append(os.Environ(), "HOME="+dir, "LANG=C.UTF-8")
	u := startServer(t, "uwsgi", cmd)
	u.awaitDial(t, "unix", socket)
	g := startGateway(t, dir, "listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /hg, fastcgi: {servers: ['unix:"+socket+"'], max_conns: 2}}]\n")
	c := newClient(t, g.url())
	for range 3 {
		for path, has := range map[string]string{"/hg/": "Change 4", "/hg/file/tip/dir": "file1.txt", "/hg/raw-file/tip/dir/file0.txt": "line 4", "/hg/annotate/tip/dir/file0.txt": "line 4"} {
			a := c.get(t, path)
			assert.Equal(t, http.StatusOK, a.status, path)
			assert.Contains(t, a.body, has, path)
		}
	}
	for _, n := range []int{1, 65_535, 65_536, 3_000_000} {
		body := bytes.Repeat([]byte("0123456"), n/7+1)[:n]
		a := c.do(t, request{method: "POST", path: "/hg/echo", body: string(body), chunked: n%2 == 0})
		assert.True(t, a.body == string(body), "%d octets became %d", n, len(a.body))
	}
	clone := exec.Command("hg", "clone", "-q", g.url()+"/hg", filepath.Join(dir, "clone"))
	clone.Env = append(os.Environ(), "HGPLAIN=1", "HOME="+dir)
	out, err := clone.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.FileExists(t, filepath.Join(dir, "clone/dir/file0.txt"))
}
