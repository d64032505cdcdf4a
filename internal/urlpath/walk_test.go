package urlpath

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plant makes files under dir: a name that ends in a slash is a folder, "a -> b" a
// symbolic link, and the rest are files that hold their own name.
func plant(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		name, target, link := strings.Cut(name, " -> ")
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		switch {
		case link:
			require.NoError(t, os.Symlink(target, file))
		case strings.HasSuffix(name, "/"):
			require.NoError(t, os.MkdirAll(file, 0o755))
		default:
			require.NoError(t, os.WriteFile(file, []byte(name), 0o755))
		}
	}
}

// walk parses and walks.
func walk(t testing.TB, root, path string, rules Rules) (Found, error) {
	t.Helper()
	p, err := Parse(path)
	require.NoError(t, err)
	return Walk(root, p, rules)
}

func TestAWalkStopsAtTheFirstFile(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a.cgi", "dir/b.cgi", "dir/sub/", "a b", "\xff", "..a", "dir/index.cgi", ".well-known/acme")
	for _, test := range []struct {
		path string
		used Path
		rest Path
	}{
		{"/a.cgi", Path{"a.cgi"}, nil},
		{"/a.cgi/", Path{"a.cgi"}, Path{""}},
		{"/a.cgi/x/y", Path{"a.cgi"}, Path{"x", "y"}},
		{"//a.cgi//x//", Path{"a.cgi"}, Path{"", "x", "", ""}},
		{"/dir//b.cgi", Path{"dir", "b.cgi"}, nil},
		{"/dir/b.cgi/a.cgi", Path{"dir", "b.cgi"}, Path{"a.cgi"}},
		{"/a.cgi/.git/config", Path{"a.cgi"}, Path{".git", "config"}}, // extra path is not a file name
		{"/a.cgi/x%2fy", Path{"a.cgi"}, Path{"x/y"}},
		{"/a.cgi/%25", Path{"a.cgi"}, Path{"%"}},
		{"/a%20b", Path{"a b"}, nil},
		{"/%ff", Path{"\xff"}, nil},
		{"/.well-known/acme", Path{".well-known", "acme"}, nil},
	} {
		t.Run(test.path, func(t *testing.T) {
			f, err := walk(t, root, test.path, Rules{})
			require.NoError(t, err)
			assert.Equal(t, test.used, f.Used)
			assert.Equal(t, test.rest, f.Rest)
			assert.Equal(t, filepath.Join(append([]string{root}, test.used...)...), f.File)
			assert.True(t, f.Info.Mode().IsRegular())
			assert.Equal(t, test.used[len(test.used)-1], f.Info.Name())
		})
	}
}

func TestDoubledSlashesOfTheExtraPathAreKept(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "dir/a.cgi")
	for path, info := range map[string]string{
		"/dir/a.cgi":                   "",
		"/dir/a.cgi/":                  "/",
		"/dir/a.cgi//":                 "//",
		"//dir//a.cgi//x//y//":         "//x//y//",
		"/dir/a.cgi/http://other/":     "/http://other/",
		"/dir/a.cgi/x/../y//./z":       "/y//z",
		"/dir/a.cgi/%2fx":              "//x",
		"/dir/../dir/./a.cgi/x/y/../z": "/x/z",
	} {
		f, err := walk(t, root, path, Rules{})
		require.NoError(t, err, path)
		assert.Equal(t, info, f.Rest.String(), path)
		assert.Equal(t, "/dir/a.cgi", f.Used.String(), path)
	}
}

func TestAPathThatEndsInAFolderFindsTheFolder(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "dir/sub/", "dir/a.cgi")
	for path, used := range map[string]Path{
		"/":           nil,
		"//":          nil,
		"/dir":        {"dir"},
		"/dir/":       {"dir"},
		"/dir//sub//": {"dir", "sub"},
		"/dir/..":     nil,
	} {
		f, err := walk(t, root, path, Rules{})
		require.NoError(t, err, path)
		assert.True(t, f.Info.IsDir(), path)
		assert.Equal(t, used, f.Used, path)
		assert.Nil(t, f.Rest, path)
		assert.Equal(t, filepath.Join(append([]string{root}, used...)...), f.File, path)
	}
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a.cgi", "dir/", "lost -> nowhere", "lostdir -> nowhere/at/all", "loop -> loop", "ping -> pong", "pong -> ping",
		"round/trip -> ../round", "through -> a.cgi/x")
	long := strings.Repeat("n", 256)
	for name, path := range map[string]string{
		"no such file":         "/b.cgi",
		"in a folder":          "/dir/b.cgi",
		"in no folder":         "/no/such/folder",
		"encoded slash":        "/dir%2f",
		"nothing but a slash":  "/%2f",
		"dangling link":        "/lost",
		"below a dangling one": "/lostdir/x",
		"loop":                 "/loop",
		"below a loop":         "/loop/x",
		"two links in a loop":  "/ping",
		"link through a file":  "/through",
		"name too long":        "/" + long,
		"path too long":        strings.Repeat("/"+long[:200], 30),
		"too long in a folder": "/dir/" + long,
		"control characters":   "/%0d%0a%7f",
	} {
		for _, rules := range []Rules{{}, {Follow: true}, {Follow: true, Hidden: true}} {
			_, err := walk(t, root, path, rules)
			assert.ErrorIs(t, err, fs.ErrNotExist, "%s, %+v", name, rules)
		}
	}
	// A segment with a NUL or a slash can only come from a path that was not parsed.
	for _, p := range []Path{{"a\x00b"}, {"dir", "\x00"}, {"dir/a"}, {"/"}} {
		_, err := Walk(root, p, Rules{})
		assert.ErrorIs(t, err, fs.ErrNotExist, "%q", p)
	}
	_, err := walk(t, filepath.Join(root, "gone"), "/", Rules{})
	assert.ErrorIs(t, err, fs.ErrNotExist, "the root itself")
	_, err = walk(t, filepath.Join(root, "gone"), "/a.cgi", Rules{})
	assert.ErrorIs(t, err, fs.ErrNotExist, "a file in a root that is gone")
	_, err = walk(t, filepath.Join(root, "a.cgi"), "/x", Rules{})
	assert.ErrorIs(t, err, fs.ErrNotExist, "a file in a root that is a file")
}

func TestALinkToItsOwnFolderEndsSomewhere(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "round/trip -> ../round", "round/a.cgi")
	f, err := walk(t, root, "/round/trip/trip/trip/a.cgi/x", Rules{})
	require.NoError(t, err)
	assert.Equal(t, Path{"x"}, f.Rest)
	_, err = walk(t, root, "/round"+strings.Repeat("/trip", 100), Rules{})
	assert.ErrorIs(t, err, fs.ErrNotExist, "the kernel follows 40")
}

func TestASymbolicLinkMayNotLeaveTheRoot(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	plant(t, top, "outside/secret", "outside/dir/secret", "root2/secret", "outside/back -> ../root",
		"root/dir/a.cgi", "root/other/",
		"root/inside -> dir/a.cgi", "root/insidedir -> dir", "root/self -> .", "root/other/up -> ../dir", "root/chain -> inside",
		"root/abs -> "+filepath.Join(root, "dir"), "root/there-and-back -> ../outside/back/dir",
		"root/out -> ../outside/secret", "root/outdir -> ../outside", "root/absout -> "+filepath.Join(top, "outside"),
		"root/deep/out -> ../../outside", "root/long -> chain2", "root/chain2 -> ../outside/secret",
		"root/neighbour -> ../root2", "root/parent -> ..", "root/slash -> /", "root/dir/sneaky -> ../insidedir/../../outside")
	for path, file := range map[string]string{
		"/inside":                "root/dir/a.cgi",
		"/chain":                 "root/dir/a.cgi",
		"/inside/x":              "root/dir/a.cgi",
		"/insidedir/a.cgi":       "root/dir/a.cgi",
		"/self/self/dir/a.cgi":   "root/dir/a.cgi",
		"/other/up/a.cgi":        "root/dir/a.cgi",
		"/abs/a.cgi":             "root/dir/a.cgi",
		"/there-and-back/a.cgi":  "root/dir/a.cgi",
		"/self/insidedir/a.cgi/": "root/dir/a.cgi",
	} {
		for _, rules := range []Rules{{}, {Follow: true}} {
			f, err := walk(t, root, path, rules)
			require.NoError(t, err, "%s, %+v", path, rules)
			assert.True(t, sameFile(t, f.File, filepath.Join(top, file)), path)
		}
	}
	for path, file := range map[string]string{
		"/out":                   "outside/secret",
		"/out/x":                 "outside/secret",
		"/outdir/":               "outside",
		"/outdir/secret":         "outside/secret",
		"/outdir/back/dir/a.cgi": "root/dir/a.cgi",
		"/absout/dir/secret":     "outside/dir/secret",
		"/deep/out/secret":       "outside/secret",
		"/long":                  "outside/secret",
		"/neighbour/secret":      "root2/secret",
		"/parent/root/dir/a.cgi": "root/dir/a.cgi",
		"/parent":                ".",
		"/slash":                 "/",
		"/dir/sneaky/secret":     "outside/secret",
		"/self/outdir/secret":    "outside/secret",
	} {
		_, err := walk(t, root, path, Rules{})
		assert.ErrorIs(t, err, ErrOutside, path)
		f, err := walk(t, root, path, Rules{Follow: true})
		require.NoError(t, err, path)
		if !filepath.IsAbs(file) {
			file = filepath.Join(top, file)
		}
		assert.True(t, sameFile(t, f.File, file), path)
	}
}

func TestInsideLooksAtWhatLinksResolveTo(t *testing.T) {
	top := t.TempDir()
	plant(t, top, "root/dir/a", "root2/a", "other/a", "root/in -> dir/a", "root/out -> ../other/a", "alias -> root", "other/into -> ../root/dir",
		"root/lost -> nowhere", "root/loop -> loop")
	at := func(name string) string { return filepath.Join(top, name) }
	for _, test := range []struct {
		folder, file string
		want         bool
	}{
		{"root", "root", true},
		{"root", "root/dir", true},
		{"root", "root/dir/a", true},
		{"root", "root/in", true},
		{"root", "other/into/a", true},
		{"root", "alias/dir/a", true},
		{"alias", "root/dir/a", true},
		{"root/dir", "root/in", true},
		{"root", "root/out", false},
		{"root", "root2/a", false},
		{"root", "root2", false},
		{"root", "other/a", false},
		{"root", "", false},
		{"root/dir", "root", false},
		{"root", "root/../other/a", false},
		{"root", "root/none", false},
		{"root", "root/lost", false},
		{"root", "root/loop", false},
		{"none", "root/dir/a", false},
	} {
		assert.Equal(t, test.want, Inside(at(test.folder), at(test.file)), "%s in %s", test.file, test.folder)
	}
	assert.True(t, Inside("/", at("other/a")), "everything is in the root of the file system")
}

func TestARootThatIsALinkCanBeSwitched(t *testing.T) {
	top := t.TempDir()
	plant(t, top, "v1/a.cgi", "v1/link -> a.cgi", "v1/old -> a.cgi", "v2/a.cgi", "v2/link -> a.cgi", "v2/old -> ../v1/a.cgi", "current -> v1")
	root := filepath.Join(top, "current")
	for _, version := range []string{"v1", "v2", "v1"} {
		require.NoError(t, os.Symlink(version, filepath.Join(top, "next")))
		require.NoError(t, os.Rename(filepath.Join(top, "next"), root)) // as deployments do
		for _, path := range []string{"/a.cgi", "/link"} {
			f, err := walk(t, root, path, Rules{})
			require.NoError(t, err, "%s %s", version, path)
			assert.Equal(t, root+path, f.File, "links are not resolved")
			assert.True(t, sameFile(t, f.File, filepath.Join(top, version, "a.cgi")), "%s %s", version, path)
		}
		_, err := walk(t, root, "/old", Rules{})
		if version == "v1" {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, ErrOutside, "the version before is outside of this one")
		}
	}
	require.NoError(t, os.Remove(root))
	require.NoError(t, os.Symlink("nowhere", root))
	for _, path := range []string{"/", "/a.cgi", "/link"} {
		_, err := walk(t, root, path, Rules{})
		assert.ErrorIs(t, err, fs.ErrNotExist, path)
	}
}

func TestTheRootOfTheFileSystemCanBeARoot(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	plant(t, dir, "a.cgi", "link -> a.cgi")
	for _, path := range []string{dir + "/a.cgi/x", dir + "/link/x"} {
		f, err := walk(t, "/", path, Rules{})
		require.NoError(t, err, path)
		assert.True(t, sameFile(t, f.File, dir+"/a.cgi"))
		assert.Equal(t, "/x", f.Rest.String())
	}
}

func TestNeitherFileNorFolderIsForbidden(t *testing.T) {
	// A socket's path has to be short.
	root, err := os.MkdirTemp("", "walk")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o666))
	l, err := net.Listen("unix", filepath.Join(root, "socket"))
	require.NoError(t, err)
	defer l.Close()
	plant(t, root, "fifolink -> fifo", "device -> /dev/null")
	for path, rules := range map[string]Rules{
		"/fifo":      {},
		"/fifo/x":    {},
		"/socket":    {},
		"/fifolink":  {},
		"/device":    {Follow: true},
		"/device/xy": {Follow: true},
	} {
		_, err := walk(t, root, path, rules)
		assert.ErrorIs(t, err, fs.ErrPermission, path)
	}
	_, err = walk(t, "/dev", "/null", Rules{})
	assert.ErrorIs(t, err, fs.ErrPermission)
}

func TestDotfilesAndBackupsAreHidden(t *testing.T) {
	for name, want := range map[string]bool{
		".htaccess": true, ".git": true, ".env": true, ".": true, "..": true, "...": true, ".a.cgi.swp": true, ".well-known2": true,
		".WELL-KNOWN": true, ".well-known": false,
		"a.cgi~": true, "~": false, "a~b": false, "~a": false,
		"a.cgi.bak": true, "a.BAK": true, "a.Orig": true, "a.orig": true, "a.swp": true, "a.swo": true, "a.old": true, "a.save": true,
		"a.rej": true, "a.dpkg-old": true, "a.dpkg-dist": true, "a.dpkg-new": true,
		"a.bak.cgi": false, "abak": false, "bak": false, "old": false, "threshold": false, "a.older": false,
		"#a.cgi#": true, "#": true, "##": true, "#a": false, "a#": false,
		"a.cgi": false, "a": false, " .a": false, "a.": false, "a.cgi.": false, "\xff": false,
	} {
		assert.Equal(t, want, Hidden(name), "%q", name)
	}
}

func TestHiddenFilesAreNotFoundUnlessTheRulesSaySo(t *testing.T) {
	root := t.TempDir()
	plant(t, root, ".git/config", ".htaccess", "dir/.env", "a.cgi", "a.cgi~", "a.cgi.bak", "#a.cgi#", ".well-known/acme", ".well-known/.secret")
	for _, path := range []string{
		"/.git", "/.git/", "/.git/config", "/.htaccess", "/dir/.env", "/a.cgi~", "/a.cgi.bak", "/%23a.cgi%23", "/.well-known/.secret",
		"/%2egit/config", "/a.cgi%7e", "//.git//config", "/a.cgi%7E/x",
	} {
		_, err := walk(t, root, path, Rules{})
		assert.ErrorIs(t, err, ErrHidden, path)
		_, err = walk(t, root, path, Rules{Hidden: true})
		assert.NoError(t, err, path)
	}
	// Whether a hidden file is there at all is nobody's business.
	_, err := walk(t, root, "/.svn/entries", Rules{})
	assert.ErrorIs(t, err, ErrHidden)
}

func sameFile(t testing.TB, a, b string) bool {
	t.Helper()
	ai, err := os.Stat(a)
	require.NoError(t, err)
	bi, err := os.Stat(b)
	require.NoError(t, err)
	return os.SameFile(ai, bi)
}

func TestAWalkSaysWhetherItFollowedALink(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "dir/a", "link -> dir", "dir/b -> a")
	for path, linked := range map[string]bool{"/dir/a": false, "/dir": false, "/": false, "/link": true, "/link/a": true, "/dir/b": true} {
		f, err := walk(t, root, path, Rules{})
		require.NoError(t, err)
		assert.Equal(t, linked, f.Linked, path)
	}
}
