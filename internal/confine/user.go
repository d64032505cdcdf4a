package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User is who a process runs as: numbers, as names are looked up once.
type User struct {
	// Name is what the configuration says.
	Name string
	UID  uint32
	// GID is the primary group; Groups are all supplementary ones.
	GID    uint32
	Groups []uint32
}

// ErrNotRoot: only root can run a process as another user.
var ErrNotRoot = errors.New("the gateway must be root to run scripts as another user")

// Lookup finds a user by name or number, with its groups. `USER:GROUP` has another
// primary group; a number that no user has needs that. The gateway's own user, where it
// is not root, needs no change: that is nil.
func Lookup(text string) (*User, error) {
	name, group, hasGroup := strings.Cut(text, ":")
	u := &User{Name: text}
	found, err := find(name)
	switch number, nerr := id(name); {
	case err == nil:
		if u.UID, err = id(found.Uid); err != nil {
			return nil, err
		}
		if u.GID, err = id(found.Gid); err != nil {
			return nil, err
		}
		if u.Groups, err = groupsOf(found); err != nil {
			return nil, err
		}
	case nerr == nil && hasGroup:
		u.UID = number
	case nerr == nil:
		return nil, fmt.Errorf("no user has the number %s (write %s:GROUP to do without)", name, name)
	default:
		return nil, fmt.Errorf("there is no user %q", name)
	}
	if hasGroup {
		if u.GID, err = groupID(group); err != nil {
			return nil, err
		}
	}
	if self := os.Geteuid(); self != 0 && uint32(self) == u.UID && !hasGroup {
		return nil, nil
	} else if self == 0 && u.UID == 0 {
		return u, nil
	}
	if err := MayBecome(); err != nil {
		return nil, err
	}
	return u, nil
}

// MayBecome says what keeps the gateway from running scripts as other users.
func MayBecome() error {
	if self := os.Geteuid(); self != 0 {
		return fmt.Errorf("%w (it is %s)", ErrNotRoot, nameOf(self))
	}
	if name := lacks(); name != "" {
		return fmt.Errorf("%w (it is root without %s)", ErrNotRoot, name)
	}
	return nil
}

// find takes a name that is a number as a name first, as chown(1) does.
func find(name string) (*user.User, error) {
	if name == "" {
		return nil, errors.New("no name")
	}
	u, err := user.Lookup(name)
	if _, nerr := id(name); err != nil && nerr == nil {
		return user.LookupId(name)
	}
	return u, err
}

func groupID(name string) (uint32, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return id(g.Gid)
	}
	if n, err := id(name); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("there is no group %q", name)
}

func groupsOf(u *user.User) ([]uint32, error) {
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of user %s: %w", u.Username, err)
	}
	list := make([]uint32, 0, len(names))
	for _, s := range names {
		n, err := id(s)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// id reads a number of a user or group. The largest means "no change" to setuid(2).
func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not the number of a user or group", s)
	}
	return uint32(n), nil
}

func nameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return "user " + strconv.Itoa(uid)
}

// String is the user with its numbers.
func (u *User) String() string {
	s := fmt.Sprintf("%s (uid %d, gid %d", u.Name, u.UID, u.GID)
	for i, g := range u.Groups {
		if i == 0 {
			s += ", groups"
		}
		s += " " + strconv.FormatUint(uint64(g), 10)
	}
	return s + ")"
}

// IsRoot reports whether a script of the user, or without one, runs as root.
func IsRoot(u *User) bool {
	if u == nil {
		return os.Geteuid() == 0
	}
	return u.UID == 0
}
