package confine

import (
	"errors"
	"fmt"
	"os/user"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrOwner: a script is not run as its owner, as something about it is not as it must be.
var ErrOwner = errors.New("script is not run as its owner")

// A Refusal says why; it is an [ErrOwner].
type Refusal struct {
	// Why is a word for a metric's label.
	Why  string
	text string
}

// Words of refusals.
const (
	RefusedUser     = "user"     // root, below the floor, or not known
	RefusedGroup    = "group"    // not the owner's, or below the floor
	RefusedFolder   = "folder"   // the script's folder is somebody else's
	RefusedWritable = "writable" // by others than the owner
	RefusedSetuid   = "setuid"
	RefusedOutside  = "outside" // of the route's folder
	RefusedFile     = "file"    // not a plain file
)

func (r *Refusal) Error() string { return ErrOwner.Error() + ": " + r.text }

// Is makes each an ErrOwner.
func (r *Refusal) Is(target error) bool { return target == ErrOwner }

func refused(why, format string, args ...any) error {
	return &Refusal{why, fmt.Sprintf(format, args...)}
}

// Policy is which owners scripts may run as.
type Policy struct {
	// MinUID and MinGID are the lowest numbers; root is never.
	MinUID, MinGID uint32
	// Group, where it is not "", is the group of all of them, in place of each one's own.
	Group string
	// Limits, Script and Sandbox are those of the rules.
	Limits  Limits
	Script  ScriptLimits
	Sandbox *Sandbox
}

// Owners are the rules of a route's scripts that run as who owns them. What
// stands in Of's way is what stands in that of Apache's suexec.
type Owners struct {
	policy Policy
	group  uint32 // 0: each owner's own

	mu    sync.Mutex
	known map[uint32]*Rules // one for each user, so that pools can be told apart by it
}

// NewOwners fails where the policy's group is not there, or where nobody can be become.
func NewOwners(p Policy) (*Owners, error) {
	o := &Owners{policy: p, known: map[uint32]*Rules{}}
	if err := MayBecome(); err != nil {
		return nil, err
	}
	if p.Group != "" {
		var err error
		if o.group, err = groupID(p.Group); err != nil {
			return nil, err
		}
		if err := o.checkGroup(o.group); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Of checks a script and returns its owner's rules; root is the folder that it must be in,
// or "". It asks the file system anew each time.
//
// What was checked stays so until the script is executed: every folder on the way to it belongs to root or
// the owner and nobody else may write to it, so nobody else can put another file in its place.
func (o *Owners) Of(file, root string) (*Rules, error) {
	t, err := track(file)
	if err != nil {
		return nil, err
	}
	script, folder := t.steps[len(t.steps)-1], t.steps[len(t.steps)-2]
	uid := script.uid
	if err := o.checkUser(uid, script.path); err != nil {
		return nil, err
	}
	if err := t.inside(root); err != nil {
		return nil, err
	}
	if script.setid {
		return nil, refused(RefusedSetuid, "%s is setuid or setgid", script.path)
	}
	if folder.uid != uid {
		return nil, refused(RefusedFolder, "%s belongs to user %d, but the folder it is in to user %d", script.path, uid, folder.uid)
	}
	if err := t.onlyFor(uid); err != nil {
		return nil, err
	}
	r, err := o.rules(uid, script.path)
	if err != nil {
		return nil, err
	}
	for _, s := range []step{script, folder} {
		if s.gid != r.User.GID {
			return nil, refused(RefusedGroup, "%s belongs to group %d, but its user %s has group %d", s.path, s.gid, r.User.Name, r.User.GID)
		}
	}
	return r, nil
}

// nobody is what the kernel shows of owners that it can't name, as those of files of a server.
const nobody = 65534

func (o *Owners) checkUser(uid uint32, path string) error {
	switch {
	case uid == 0:
		return refused(RefusedUser, "%s belongs to root", path)
	case uid < o.policy.MinUID:
		return refused(RefusedUser, "%s belongs to user %d, the lowest is %d (owner.min_uid)", path, uid, o.policy.MinUID)
	case uid == nobody:
		return refused(RefusedUser, "%s belongs to user %d, who is nobody", path, uid)
	}
	return nil
}

func (o *Owners) checkGroup(gid uint32) error {
	switch {
	case gid == 0:
		return refused(RefusedGroup, "its group would be root")
	case gid < o.policy.MinGID:
		return refused(RefusedGroup, "its group would be %d, the lowest is %d (owner.min_gid)", gid, o.policy.MinGID)
	}
	return nil
}

// rules are those of a user: made once, as are those that a name in the configuration has.
func (o *Owners) rules(uid uint32, path string) (*Rules, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.known[uid]; r != nil {
		return r, nil
	}
	r, err := o.lookup(uid, path)
	if err == nil {
		o.known[uid] = r
	}
	return r, err
}

func (o *Owners) lookup(uid uint32, path string) (*Rules, error) {
	found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil, refused(RefusedUser, "%s belongs to user %d, whom the system does not know", path, uid)
	}
	u := &User{Name: found.Username, UID: uid, GID: o.group}
	if u.Groups, err = groupsOf(found); err != nil {
		return nil, err
	}
	if o.group == 0 {
		if u.GID, err = id(found.Gid); err != nil {
			return nil, err
		}
	}
	if err := o.checkGroup(u.GID); err != nil {
		return nil, err
	}
	if slices.Contains(u.Groups, 0) {
		return nil, refused(RefusedGroup, "user %s is in the group root", u.Name)
	}
	return New(u, o.policy.Limits).Together(o.policy.Script).In(o.policy.Sandbox), nil
}

// Adopt takes the rules of users that are as they were from an older one of the same route, so
// that their pools go on. It reports whether the policies are the same.
func (o *Owners) Adopt(old *Owners) bool {
	if o == nil || old == nil {
		return o == old
	}
	if !reflect.DeepEqual(o.policy, old.policy) || o.group != old.group {
		return false
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for uid, was := range old.known {
		if is, err := o.lookup(uid, ""); err == nil && is.User.same(was.User) {
			o.known[uid] = was
		}
	}
	return true
}

func (u *User) same(v *User) bool {
	return u.Name == v.Name && u.UID == v.UID && u.GID == v.GID && slices.Equal(u.Groups, v.Groups)
}

// within reports whether a path is a folder, or in it; both are clean.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}
