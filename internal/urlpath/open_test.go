package urlpath

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// found is where a path leads, in a site of its own with a secret beside it.
func found(t *testing.T, path string) (f Found, root string) {
	t.Helper()
	top := t.TempDir()
	root = plantSite(t, top)
	f, err := walk(t, root, path, Rules{})
	require.NoError(t, err)
	return f, root
}

// swap puts a link in the place of a file or folder, as whoever may write there can at any time.
func swap(t *testing.T, file, target string) {
	t.Helper()
	require.NoError(t, os.Rename(file, file+".was"))
	require.NoError(t, os.Symlink(target, file))
}

func TestALinkThatIsPutInTheWayAfterTheLookLeadsNowhereElse(t *testing.T) {
	for what, c := range map[string]struct{ path, swapped, target string }{
		"the file":                      {"/cgi-bin/public.cgi", "cgi-bin/public.cgi", "../../secret"},
		"the file, absolute":            {"/cgi-bin/public.cgi", "cgi-bin/public.cgi", "/etc/passwd"},
		"the file, by a magic link":     {"/cgi-bin/public.cgi", "cgi-bin/public.cgi", "/proc/self/environ"},
		"its folder":                    {"/a/b/public.cgi", "a/b", "../../near-by"},
		"its folder, absolute":          {"/a/b/public.cgi", "a/b", "/etc"},
		"a folder above it":             {"/a/b/public.cgi", "a", "../planted"},
		"what a link leads to":          {"/cgi-bin/public", "cgi-bin/public.cgi", "../../secret"},
		"what a link over folders does": {"/here/here/a/b/public.cgi", "a/b/public.cgi", "../../../secret"},
	} {
		f, root := found(t, c.path)
		plant(t, filepath.Dir(root), "planted/b/public.cgi", "near-by/public.cgi")
		o, err := f.Open(Rules{})
		require.NoError(t, err, what)
		b, err := io.ReadAll(o)
		o.Close()
		require.NoError(t, err)
		require.Contains(t, string(b), "public.cgi", what)
		swap(t, filepath.Join(root, c.swapped), c.target)
		if o, err = f.Open(Rules{}); err == nil {
			b, _ = io.ReadAll(o)
			o.Close()
			assert.Failf(t, "it was opened", "%s: %q", what, b)
			continue
		}
		assert.True(t, isOneOf(err, ErrOutside, fs.ErrNotExist), "%s: %v", what, err)
	}
}

func TestWhatAWalkFindsCanBeOpened(t *testing.T) {
	for _, path := range []string{"/", "/public.cgi", "/cgi-bin/public.cgi/x", "/cgi-bin/public", "/here/here/a/b/public.cgi", "/cgi-bin", "/here"} {
		f, root := found(t, path)
		for _, way := range []string{"openat2", "os.Root"} {
			o, err := f.Open(Rules{})
			if way == "os.Root" {
				rel, _ := filepath.Rel(root, f.File)
				o, err = openByRoot(root, rel)
			}
			require.NoError(t, err, "%s: %s", way, path)
			info, err := o.Stat()
			require.NoError(t, err)
			assert.True(t, os.SameFile(info, f.Info), "%s: %s", way, path)
			o.Close()
		}
	}
	// A link of which only its end says that it stays.
	_, root := found(t, "/a")
	require.NoError(t, os.Symlink(filepath.Join(root, "cgi-bin/public.cgi"), filepath.Join(root, "a/whole")))
	f, err := walk(t, root, "/a/whole", Rules{})
	require.NoError(t, err)
	o, err := f.Open(Rules{})
	require.NoError(t, err)
	o.Close()
	_, err = openByRoot(root, "leaks/secret")
	assert.ErrorIs(t, err, errEscapes)
	// With rules that let links leave it, one may.
	f, err = walk(t, root, "/leaks/secret", Rules{Follow: true})
	require.NoError(t, err)
	o, err = f.Open(Rules{Follow: true})
	require.NoError(t, err)
	o.Close()
}

func TestAPipeInThePlaceOfAFileKeepsNobodyWaiting(t *testing.T) {
	f, root := found(t, "/public.cgi")
	require.NoError(t, os.Remove(f.File))
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "public.cgi"), 0o666))
	for _, rules := range []Rules{{}, {Follow: true}} {
		opened := make(chan error, 1)
		go func() { // ends at once
			o, err := f.Open(rules)
			if err == nil {
				o.Close()
			}
			opened <- err
		}()
		select {
		case <-opened:
		case <-time.After(10 * time.Second):
			require.Fail(t, "it waits for a writer")
		}
	}
}
