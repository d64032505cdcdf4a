package confine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links may be on the way to a file, as Linux has it.
const maxLinks = 40

// A step is a folder, a link or the file at the end of the way to it.
type step struct {
	path     string // without links
	uid, gid uint32
	link     bool
	writable bool // by others than its owner
	sticky   bool // but only who owns an entry may take it away
	setid    bool
}

// A way is all that decides which file a path is, from the root folder to the file: who can write to none
// of it can't make it another file. The file is last, and its folder before it.
type way struct{ steps []step }

// track follows a path as the kernel does.
func track(file string) (*way, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	t := &way{}
	at, err := look("/")
	if err != nil {
		return nil, err
	}
	var stack []step // the folders that the way is in now
	t.steps, stack = append(t.steps, at), append(stack, at)
	rest, links := strings.Split(file, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		here := filepath.Join(stack[len(stack)-1].path, name)
		info, err := os.Lstat(here)
		if err != nil {
			return nil, err
		}
		s := stepOf(here, info)
		switch {
		case s.link:
			if links++; links > maxLinks {
				return nil, &os.PathError{Op: "open", Path: file, Err: syscall.ELOOP}
			}
			to, err := os.Readlink(here)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(to, "/") {
				stack = stack[:1]
			}
			t.steps = append(t.steps, s)
			rest = append(strings.Split(to, "/"), rest...)
		case info.IsDir():
			t.steps, stack = append(t.steps, s), append(stack, s)
		case !info.Mode().IsRegular():
			return nil, refused(RefusedFile, "%s is not a plain file", here)
		case len(rest) > 0:
			return nil, &os.PathError{Op: "open", Path: file, Err: syscall.ENOTDIR}
		default:
			t.steps = append(t.steps, stack[len(stack)-1], s)
			return t, nil
		}
	}
	return nil, refused(RefusedFile, "%s is not a plain file", file)
}

func look(path string) (step, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return step{}, err
	}
	return stepOf(path, info), nil
}

func stepOf(path string, info os.FileInfo) step {
	s := step{path: path, link: info.Mode()&os.ModeSymlink != 0, sticky: info.Mode()&os.ModeSticky != 0}
	s.setid = info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0
	s.writable = !s.link && info.Mode().Perm()&0o022 != 0 // with an access control list the group's bits are its mask
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.uid, s.gid = st.Uid, st.Gid
	}
	return s
}

// inside: the file must be in the folder, links or not; "" is any.
func (t *way) inside(root string) error {
	if root == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(root)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	if file := t.steps[len(t.steps)-1].path; !within(real, file) {
		return refused(RefusedOutside, "%s is not in %s", file, real)
	}
	return nil
}

// onlyFor: nobody but root and the user can change which file it is, or what is in it.
func (t *way) onlyFor(uid uint32) error {
	last := len(t.steps) - 1
	var err error // the one nearest to the script
	for i, s := range t.steps {
		switch {
		case s.uid != 0 && s.uid != uid:
			err = refused(RefusedFolder, "%s, on the way to the script of user %d, belongs to user %d", s.path, uid, s.uid)
		case s.writable && (!s.sticky || i >= last-1):
			err = refused(RefusedWritable, "%s can be written by others than its owner", s.path)
		}
	}
	return err
}
