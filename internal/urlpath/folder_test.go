package urlpath

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFolderIsWhereItsLinksLeadNow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, d := range []string{"one/site", "two/site"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	is := func(f *Folder, want string) {
		t.Helper()
		for range 2 {
			real, err := f.Real()
			require.NoError(t, err)
			assert.Equal(t, at(want), real)
		}
	}
	turn := func(link, to string) {
		require.NoError(t, os.Symlink(to, at("new")))
		require.NoError(t, os.Rename(at("new"), at(link)))
	}

	turn("current", "one")
	last, before := &Folder{Path: at("current")}, &Folder{Path: at("current/site")}
	is(last, "one")
	is(before, "one/site")
	turn("current", "two")
	is(last, "two")
	is(before, "two/site")

	plain := &Folder{Path: at("one/site")}
	is(plain, "one/site")
	require.NoError(t, os.Rename(at("one"), at("old")))
	_, err = plain.Real()
	assert.ErrorIs(t, err, fs.ErrNotExist)
	turn("one", "two")
	is(plain, "two/site")
	require.NoError(t, os.Remove(at("one")))
	require.NoError(t, os.Rename(at("old"), at("one")))
	is(plain, "one/site")
	require.NoError(t, os.Remove(at("one/site")))
	turn("one/site", "../two")
	is(plain, "two")
}
