package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloudflare/tableflip"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

// ErrUpgrade: no other process has taken over.
var ErrUpgrade = errors.New("upgrade")

const (
	// upgradeTime is how long a new process may take until it serves, with the loading of warm parents.
	upgradeTime = 2 * time.Minute
	// aheadTime is the part of it for the warm parents.
	aheadTime = time.Minute
	// lastWords is how long a process that has failed may take to say why.
	lastWords = 200 * time.Millisecond
)

// An Upgrader starts the program anew, with the doors' sockets, and is the other end of that in the new process. The nil
// pointer can do neither. There may be one in a process.
//
// Package tableflip starts the process and waits until it is ready or has ended; the sockets go through a handover.
type Upgrader struct {
	flip    *tableflip.Upgrader // nil: this process was not started by an upgrade, and is not ready
	pidFile string              // gets the process that serves; or ""

	// Sockets are those of the process before; none if there is none.
	Sockets gateway.Sockets
	warm    []gateway.WarmScript
	before  *handover // to the process before; nil: there is none, or it knows all
	last    int       // the process before; 0: there was none

	child atomic.Int64 // the new process; 0: none
}

// hasParent is tableflip's own variable, by which a new process knows that it is one.
const hasParent = "TABLEFLIP_HAS_PARENT_7DIU3"

// NewUpgrader takes over what the process before has left, if there is one.
func NewUpgrader(pidFile string) (*Upgrader, error) {
	u := &Upgrader{pidFile: pidFile}
	if os.Getenv(hasParent) == "" {
		return u, nil
	}
	if err := u.takeOver(); err != nil {
		return nil, fmt.Errorf("the process before: %w", err)
	}
	return u, nil
}

func (u *Upgrader) takeOver() (err error) {
	u.last = os.Getppid()
	if u.flip, err = tableflip.New(tableflip.Options{UpgradeTimeout: upgradeTime}); err != nil {
		return err
	}
	f, err := u.flip.Fds.File(handoverName)
	if err == nil && f == nil {
		err = errors.New("it has left no handover")
	}
	if err != nil {
		return err
	}
	h, err := handoverOf(f)
	if err != nil {
		return err
	}
	u.before = &h
	if err := json.NewEncoder(h).Encode(hello{Pid: os.Getpid()}); err != nil {
		return err
	}
	u.Sockets, u.warm, err = h.take()
	return err
}

const handoverName = "handover"

// Failed tells the process before why this one can't take over. It returns the error.
func (u *Upgrader) Failed(err error) error {
	if u != nil && u.before != nil && err != nil {
		var bad config.Errors
		text := err.Error()
		if errors.As(err, &bad) {
			text = "the configuration is not valid\n" + bad.Error()
		}
		json.NewEncoder(u.before).Encode(hello{Failed: text}) // or it learns only that this process has ended
		u.before.Close()
		u.before = nil
	}
	return err
}

// loadAhead loads what was warm in the process before.
func (u *Upgrader) loadAhead(ctx context.Context, s *gateway.Server) {
	if u == nil || len(u.warm) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, aheadTime)
	defer cancel()
	s.LoadAhead(ctx, u.warm)
	u.warm = nil
}

// ready: this process serves, so the one before can go.
func (u *Upgrader) ready() error {
	if u == nil {
		return nil
	}
	if u.flip == nil {
		var err error
		if u.flip, err = tableflip.New(tableflip.Options{UpgradeTimeout: upgradeTime}); err != nil {
			return err
		}
	}
	if err := u.flip.Ready(); err != nil {
		return err
	}
	if u.before != nil {
		u.before.Close()
		u.before = nil
	}
	return u.writePid()
}

// writePid has the file changed at once, as others read it.
func (u *Upgrader) writePid() error {
	if u.pidFile == "" {
		return nil
	}
	next := u.pidFile + ".new"
	err := os.WriteFile(next, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644)
	if err == nil {
		err = os.Rename(next, u.pidFile)
	}
	if err != nil {
		return fmt.Errorf("--pid-file: %w", err)
	}
	return nil
}

// Stop ends a new process that is not ready yet; there can be no other one. The file of the process's number goes,
// unless it is another one's by now.
func (u *Upgrader) Stop() {
	if u == nil {
		return
	}
	if u.flip != nil {
		u.flip.Stop()
	}
	if b, err := os.ReadFile(u.pidFile); err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(os.Getpid()) {
		os.Remove(u.pidFile)
	}
}

// owns reports whether a process is the new one.
func (u *Upgrader) owns(pid int) bool { return u != nil && int64(pid) == u.child.Load() }

// upgrade starts the program that is on disk now, with the same arguments, and returns when it serves. While it does not,
// nothing changes. It must not be called by two at once, nor before this process is ready.
func (u *Upgrader) upgrade(s *gateway.Server) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, fmt.Errorf("%w: this is process 1 of a container, which ends with it: replace the container", ErrUpgrade)
	}
	if u.last != 0 && os.Getppid() == u.last {
		return 0, fmt.Errorf("%w: the process before this one (%d) still answers its last requests: try again when it has ended", ErrUpgrade, u.last)
	}
	ours, theirs, err := newHandover()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUpgrade, err)
	}
	defer ours.Close()
	err = u.flip.Fds.AddFile(handoverName, theirs)
	theirs.Close()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUpgrade, err)
	}
	said := make(chan string, 1)
	go func() { said <- u.serve(ours, s) }() // ends with ours
	if err := u.flip.Upgrade(); err != nil {
		ours.SetReadDeadline(time.Now().Add(lastWords))
		u.child.Store(0)
		if why := <-said; why != "" {
			return 0, fmt.Errorf("%w: the new process does not start: %s", ErrUpgrade, why)
		}
		return 0, fmt.Errorf("%w: the new process does not start (its log says more): %w", ErrUpgrade, err)
	}
	return int(u.child.Load()), nil
}

// serve gives the new process what it takes over, and returns what it says at last.
func (u *Upgrader) serve(h handover, s *gateway.Server) (failed string) {
	in := json.NewDecoder(h)
	var first hello
	if err := in.Decode(&first); err != nil {
		return ""
	}
	u.child.Store(int64(first.Pid))
	sockets, err := s.Sockets()
	if err == nil {
		err = h.leave(sockets, s.WarmScripts())
	}
	if err != nil {
		return "it did not get the sockets: " + err.Error()
	}
	var last hello
	in.Decode(&last)
	return last.Failed
}
