package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sys/unix"
)

// ErrStorage: the folder can't be used.
var ErrStorage = errors.New("the folder for certificates (storage) can't be used")

// lockLook is how often a lock that somebody has is tried again.
const lockLook = 100 * time.Millisecond

// storage is certmagic's folder, with locks of our own (flock): a gateway that is killed holds none, and nobody takes one for
// a dead one's. certmagic's need a goroutine that outlives them. A lock is held as long as somebody works on a certificate, in
// goroutines that certmagic tells nobody of: so this knows when the last has ended.
type storage struct {
	certmagic.FileStorage

	mu     sync.Mutex          // guards what follows
	locks  map[string]*os.File // that somebody here has
	closed bool
	free   chan struct{} // closed when it is closed and none is held
}

// newStorage makes the folder if it is not there.
func newStorage(dir string) (*storage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("%w: %s is open to others (%04o), and private keys lie there: chmod 700", ErrStorage, dir, info.Mode().Perm())
	}
	f, err := os.CreateTemp(dir, ".try-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	f.Close()
	os.Remove(f.Name())
	return &storage{FileStorage: certmagic.FileStorage{Path: dir}, locks: map[string]*os.File{}, free: make(chan struct{})}, nil
}

// Lock implements [certmagic.Locker].
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		if ok, err := s.TryLock(ctx, name); ok || err != nil {
			return err
		}
		select {
		case <-time.After(lockLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryLock implements [certmagic.TryLocker].
func (s *storage) TryLock(ctx context.Context, name string) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, context.Canceled
	}
	f, err := s.lock(name)
	if f != nil {
		s.locks[name] = f
	}
	return f != nil, err
}

// lock has neither a file nor an error where somebody else has the lock.
func (s *storage) lock(name string) (*os.File, error) {
	path := s.lockFile(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		err = nil
	case err != nil:
		err = fmt.Errorf("lock %s: %w", path, err)
	case isFile(f, path):
		return f, nil
	}
	f.Close()
	return nil, err
}

// isFile tells whether a file still has its name: whoever gives a lock back removes it.
func isFile(f *os.File, path string) bool {
	has, err := f.Stat()
	if err != nil {
		return false
	}
	is, err := os.Stat(path)
	return err == nil && os.SameFile(has, is)
}

func (s *storage) lockFile(name string) string {
	return filepath.Join(s.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")
}

// Unlock implements [certmagic.Locker].
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.locks[name]
	if f == nil {
		return fmt.Errorf("lock %s: %w", name, fs.ErrNotExist)
	}
	delete(s.locks, name)
	err := errors.Join(os.Remove(f.Name()), f.Close()) // in this order: nobody else has it meanwhile
	if s.closed && len(s.locks) == 0 {
		close(s.free)
	}
	return err
}

// close gives no lock away any more, and returns when those that were are given back, or with ctx.
func (s *storage) close(ctx context.Context) {
	s.mu.Lock()
	if s.closed = true; len(s.locks) == 0 {
		close(s.free)
	}
	s.mu.Unlock()
	select {
	case <-s.free:
	case <-ctx.Done():
	}
}
