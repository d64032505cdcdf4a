package urlpath

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openFlags: a pipe in the place of a file would keep who opens it waiting.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// openTries is how often it is tried when something is renamed meanwhile.
const openTries = 32

// openIn opens a path below root, and nothing else (openat2(2), since Linux 5.6). The
// folders on the way need not be readable.
func openIn(root, rel string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: openFlags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, rel, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), filepath.Join(root, rel)), nil
		case err == unix.EXDEV:
			return nil, errEscapes
		case err == unix.ENOSYS || err == unix.EPERM: // a container's filter may answer so, too
			return openByRoot(root, rel)
		case (err == unix.EAGAIN || err == unix.EINTR) && try < openTries:
		default:
			return nil, &os.PathError{Op: "open", Path: filepath.Join(root, rel), Err: err}
		}
	}
}
