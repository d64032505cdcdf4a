package urlpath

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asNobody calls f with the file permissions of a user who owns nothing.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // the id is the thread's
		defer runtime.UnlockOSThread()
		_, err := unix.SetfsuidRetUid(65534)
		require.NoError(t, err)
		defer unix.SetfsuidRetUid(0)
	}
	f()
}

func TestAFolderThatMayNotBeEnteredIsForbidden(t *testing.T) {
	root, err := os.MkdirTemp("", "walk") // the folders of t.TempDir are closed already
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	require.NoError(t, os.Chmod(root, 0o755))
	plant(t, root, "closed/a.cgi", "closed/dir/a.cgi", "unreadable.cgi", "link -> closed/a.cgi", "list/a.cgi")
	require.NoError(t, os.Chmod(filepath.Join(root, "closed"), 0))
	require.NoError(t, os.Chmod(filepath.Join(root, "unreadable.cgi"), 0))
	require.NoError(t, os.Chmod(filepath.Join(root, "list"), 0o711))
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "closed"), 0o755) })
	asNobody(t, func() {
		for _, rules := range []Rules{{}, {Follow: true}} {
			for _, path := range []string{"/closed/a.cgi", "/closed/dir/a.cgi", "/closed/none", "/link"} {
				_, err := walk(t, root, path, rules)
				assert.ErrorIs(t, err, fs.ErrPermission, path)
				assert.NotErrorIs(t, err, fs.ErrNotExist, path)
			}
			// What may be run need not be readable, nor its folder.
			for _, path := range []string{"/closed", "/unreadable.cgi", "/list/a.cgi/x"} {
				_, err := walk(t, root, path, rules)
				assert.NoError(t, err, path)
			}
		}
	})
}
