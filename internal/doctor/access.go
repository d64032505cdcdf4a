package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"warmcgi/internal/confine"
)

// may reports whether a user may read (4), write (2) or execute (1) a file, by its mode. nil
// is the gateway's own user. Access control lists are not looked at.
func may(info os.FileInfo, user *confine.User, bit os.FileMode) bool {
	perm := info.Mode().Perm()
	uid, gids := whose(user)
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case uid == 0 && (bit != 1 || info.IsDir()):
		return true
	case uid == 0:
		return perm&0o111 != 0
	case !ok:
		return perm&bit != 0
	case st.Uid == uid:
		return perm&(bit<<6) != 0
	case slices.Contains(gids, st.Gid):
		return perm&(bit<<3) != 0
	}
	return perm&bit != 0
}

// whose are the numbers of a user; nil is the gateway's own.
func whose(user *confine.User) (uid uint32, gids []uint32) {
	if user != nil {
		return user.UID, append([]uint32{user.GID}, user.Groups...)
	}
	gids = append(gids, uint32(os.Getegid()))
	list, _ := os.Getgroups()
	for _, g := range list {
		gids = append(gids, uint32(g))
	}
	return uint32(os.Geteuid()), gids
}

func whoIs(user *confine.User) string {
	if user == nil {
		return "the gateway's user"
	}
	return "user " + user.Name
}

// mayReach reports whether a user may enter the folders on the way to a file, and says which
// not.
func mayReach(file string, user *confine.User) (Finding, bool) {
	var way []string
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		way = append(way, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	slices.Reverse(way)
	for _, dir := range way {
		info, err := os.Stat(dir)
		if err != nil {
			return fault("", "%v", err), false
		}
		if !may(info, user, 1) {
			return fault("chmod a+x "+dir, "%s may not enter the folder %s (its mode is %v)", whoIs(user), dir, info.Mode().Perm()), false
		}
	}
	return Finding{}, true
}
