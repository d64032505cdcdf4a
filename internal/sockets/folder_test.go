//go:build linux

package sockets

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

	living, err := NewFolder(parent)
	require.NoError(t, err)
	assert.NoDirExists(t, left)
	require.NoError(t, os.Chtimes(living.Path, old, old))

	next, err := NewFolder(parent)
	require.NoError(t, err)
	for _, path := range []string{living.Path, next.Path, young, filepath.Join(other, "s1")} {
		assert.DirExists(t, path)
	}
	living.Remove()
	next.Remove()
	assert.NoDirExists(t, living.Path)
	assert.NoDirExists(t, next.Path)
}
