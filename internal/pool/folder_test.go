//go:build linux

package pool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheFolderOfAGatewayThatWasKilledIsRemovedByTheNext(t *testing.T) {
	parent, old := t.TempDir(), time.Now().Add(-time.Hour)
	aged := func(name string) string {
		path := filepath.Join(parent, name)
		require.NoError(t, os.MkdirAll(filepath.Join(path, "s1"), 0o700))
		require.NoError(t, os.Chtimes(path, old, old))
		return path
	}
	left, other := aged(folderPrefix+"1"), aged("warmcgi-other")
	young := filepath.Join(parent, folderPrefix+"2") // it is being made
	require.NoError(t, os.Mkdir(young, 0o700))
	require.NoError(t, os.Symlink(other, filepath.Join(parent, folderPrefix+"3")))

	living, err := newFolder(parent)
	require.NoError(t, err)
	assert.NoDirExists(t, left)
	require.NoError(t, os.Chtimes(living.path, old, old))

	next, err := newFolder(parent)
	require.NoError(t, err)
	for _, path := range []string{living.path, next.path, young, filepath.Join(other, "s1")} {
		assert.DirExists(t, path)
	}
	living.remove()
	next.remove()
	assert.NoDirExists(t, living.path)
	assert.NoDirExists(t, next.path)
}
