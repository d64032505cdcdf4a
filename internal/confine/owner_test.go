package confine

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// home is a folder of a user of the system, with a script in it.
type home struct {
	root, dir, script string
	uid, gid          int
}

func newHome(t *testing.T, name string) *home {
	t.Helper()
	needsRoot(t)
	u, err := user.Lookup(name)
	require.NoError(t, err)
	h := &home{root: filepath.Join(t.TempDir(), "root")}
	h.dir, h.script = filepath.Join(h.root, name), filepath.Join(h.root, name, "a.pl")
	h.uid, _ = strconv.Atoi(u.Uid)
	h.gid, _ = strconv.Atoi(u.Gid)
	require.NoError(t, os.MkdirAll(h.dir, 0o755))
	require.NoError(t, os.WriteFile(h.script, []byte("#!/bin/sh\n"), 0o755))
	h.give(t, h.dir, h.uid, h.gid)
	h.give(t, h.script, h.uid, h.gid)
	return h
}

func (h *home) give(t *testing.T, path string, uid, gid int) {
	t.Helper()
	require.NoError(t, os.Lchown(path, uid, gid))
}

func mode(t *testing.T, path string, m os.FileMode) {
	t.Helper()
	require.NoError(t, os.Chmod(path, m))
}

// low lets system users be owners: those are there everywhere.
var low = Policy{MinUID: 1, MinGID: 1}

func owners(t *testing.T, p Policy) *Owners {
	t.Helper()
	o, err := NewOwners(p)
	require.NoError(t, err)
	return o
}

func TestAScriptIsRunAsItsOwner(t *testing.T) {
	h := newHome(t, "www-data")
	p := low
	p.Limits = Limits{CPU: time.Second}
	o := owners(t, p)
	r, err := o.Of(h.script, h.root)
	require.NoError(t, err)
	assert.Equal(t, []any{"www-data", uint32(h.uid), uint32(h.gid)}, []any{r.User.Name, r.User.UID, r.User.GID})
	assert.Contains(t, r.User.Groups, uint32(h.gid))
	assert.Equal(t, p.Limits, r.Limits)
	again, err := o.Of(h.script, h.root)
	require.NoError(t, err)
	assert.Same(t, r, again, "a pool is found by it")
}

// The list is that of Apache's suexec, and the folders on the way.
func TestWhatSuexecRefusesIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, h *home)
		policy Policy
		why    string
		says   string
	}{
		"root's":                    {func(t *testing.T, h *home) { h.give(t, h.script, 0, 0); h.give(t, h.dir, 0, 0) }, low, RefusedUser, "belongs to root"},
		"below the floor":           {nil, Policy{MinUID: 1000, MinGID: 1}, RefusedUser, "the lowest is 1000 (owner.min_uid)"},
		"group below the floor":     {nil, Policy{MinUID: 1, MinGID: 100}, RefusedGroup, "the lowest is 100 (owner.min_gid)"},
		"nobody's":                  {func(t *testing.T, h *home) { h.give(t, h.script, 65534, 65534) }, low, RefusedUser, "nobody"},
		"of a user that is not":     {func(t *testing.T, h *home) { h.give(t, h.script, 61234, h.gid); h.give(t, h.dir, 61234, h.gid) }, low, RefusedUser, "whom the system does not know"},
		"of another group":          {func(t *testing.T, h *home) { h.give(t, h.script, h.uid, 1) }, low, RefusedGroup, "a.pl belongs to group 1"},
		"folder of another group":   {func(t *testing.T, h *home) { h.give(t, h.dir, h.uid, 1) }, low, RefusedGroup, "belongs to group 1"},
		"folder of another user":    {func(t *testing.T, h *home) { h.give(t, h.dir, 1, h.gid) }, low, RefusedFolder, "the folder it is in to user 1"},
		"folder is root's":          {func(t *testing.T, h *home) { h.give(t, h.dir, 0, h.gid) }, low, RefusedFolder, "the folder it is in to user 0"},
		"group may write":           {func(t *testing.T, h *home) { mode(t, h.script, 0o775) }, low, RefusedWritable, "a.pl can be written"},
		"all may write":             {func(t *testing.T, h *home) { mode(t, h.script, 0o757) }, low, RefusedWritable, "a.pl can be written"},
		"group may write to folder": {func(t *testing.T, h *home) { mode(t, h.dir, 0o775) }, low, RefusedWritable, "can be written"},
		"a sticky folder":           {func(t *testing.T, h *home) { mode(t, h.dir, 0o777|os.ModeSticky) }, low, RefusedWritable, "can be written"},
		"all may write above":       {func(t *testing.T, h *home) { mode(t, h.root, 0o777) }, low, RefusedWritable, "root can be written"},
		"above is somebody else's":  {func(t *testing.T, h *home) { h.give(t, h.root, 1, 0) }, low, RefusedFolder, "on the way to the script"},
		"setuid":                    {func(t *testing.T, h *home) { mode(t, h.script, 0o755|os.ModeSetuid) }, low, RefusedSetuid, "setuid"},
		"setgid":                    {func(t *testing.T, h *home) { mode(t, h.script, 0o755|os.ModeSetgid) }, low, RefusedSetuid, "setuid or setgid"},
		"outside": {func(t *testing.T, h *home) {
			h.root = filepath.Join(h.root, "other")
			require.NoError(t, os.Mkdir(h.root, 0o755))
		}, low, RefusedOutside, "is not in"},
		"a folder": {func(t *testing.T, h *home) { h.script = h.dir }, low, RefusedFile, "not a plain file"},
		"a pipe": {func(t *testing.T, h *home) {
			require.NoError(t, os.Remove(h.script))
			require.NoError(t, syscall.Mkfifo(h.script, 0o755))
		}, low, RefusedFile, "not a plain file"},
		"a link out of the root": {func(t *testing.T, h *home) {
			other := newHome(t, "www-data")
			require.NoError(t, os.Remove(h.script))
			require.NoError(t, os.Symlink(other.script, h.script))
		}, low, RefusedOutside, "is not in"},
		"a link through a folder of others": {func(t *testing.T, h *home) {
			loose := filepath.Join(t.TempDir(), "loose")
			require.NoError(t, os.Mkdir(loose, 0o755))
			mode(t, loose, 0o777)
			require.NoError(t, os.Symlink(h.script, filepath.Join(loose, "b")))
			h.script = filepath.Join(h.root, "c.pl")
			require.NoError(t, os.Symlink(filepath.Join(loose, "b"), h.script))
		}, low, RefusedWritable, "loose can be written"},
		"somebody's link in a sticky folder": {func(t *testing.T, h *home) {
			mode(t, h.root, 0o777|os.ModeSticky)
			link := filepath.Join(h.root, "c.pl")
			require.NoError(t, os.Symlink(h.script, link))
			h.give(t, link, 1, 1)
			h.script = link
		}, low, RefusedFolder, "belongs to user 1"},
		"somebody's hard link in their own folder": {func(t *testing.T, h *home) {
			theirs := filepath.Join(h.root, "theirs")
			require.NoError(t, os.Mkdir(theirs, 0o755))
			require.NoError(t, os.Link(h.script, filepath.Join(theirs, "a.pl")))
			h.give(t, theirs, 1, 1)
			h.script = filepath.Join(theirs, "a.pl")
		}, low, RefusedFolder, "the folder it is in to user 1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, "www-data")
			if c.spoil != nil {
				_, err := owners(t, c.policy).Of(h.script, h.root)
				require.NoError(t, err, "before")
				c.spoil(t, h)
			}
			_, err := owners(t, c.policy).Of(h.script, h.root)
			require.ErrorIs(t, err, ErrOwner)
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
			assert.Equal(t, c.why, refusal.Why, err)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestLinksWithinTheRootAreFollowed(t *testing.T) {
	h := newHome(t, "www-data")
	require.NoError(t, os.Symlink("www-data", filepath.Join(h.root, "relative")))
	require.NoError(t, os.Symlink(h.root+"/relative/../relative/./a.pl", filepath.Join(h.root, "b.pl")))
	top := filepath.Join(t.TempDir(), "top")
	require.NoError(t, os.Symlink(h.root, top))
	o := owners(t, low)
	for _, path := range []string{h.root + "/relative/a.pl", h.root + "/b.pl", top + "/b.pl"} {
		r, err := o.Of(path, top)
		require.NoError(t, err, path)
		assert.EqualValues(t, h.uid, r.User.UID)
	}
	loop := filepath.Join(h.root, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	_, err := o.Of(loop, h.root)
	assert.ErrorIs(t, err, syscall.ELOOP)
	_, err = o.Of(h.script+"/x", h.root)
	assert.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = o.Of(h.root+"/none", h.root)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestTheRoutesGroupIsThatOfAllOwners(t *testing.T) {
	h := newHome(t, "www-data")
	p := low
	p.Group = "daemon"
	_, err := owners(t, p).Of(h.script, h.root)
	assert.ErrorContains(t, err, "belongs to group 33, but its user www-data has group 1")
	h.give(t, h.dir, h.uid, 1)
	h.give(t, h.script, h.uid, 1)
	r, err := owners(t, p).Of(h.script, h.root)
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.User.GID)

	for group, says := range map[string]string{"root": "would be root", "no-such-group": "there is no group"} {
		p.Group = group
		_, err = NewOwners(p)
		assert.ErrorContains(t, err, says)
	}
}

func TestOwnersOfAReloadedRouteKeepTheirPools(t *testing.T) {
	h := newHome(t, "www-data")
	old := owners(t, low)
	was, err := old.Of(h.script, h.root)
	require.NoError(t, err)
	next := owners(t, low)
	require.True(t, next.Adopt(old))
	is, err := next.Of(h.script, h.root)
	require.NoError(t, err)
	assert.Same(t, was, is)

	other := owners(t, Policy{MinUID: 2, MinGID: 1})
	assert.False(t, other.Adopt(old))
	assert.False(t, next.Adopt(nil))
	var none *Owners
	assert.True(t, none.Adopt(nil))
	assert.False(t, none.Adopt(old))
}
