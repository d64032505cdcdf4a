package serving

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"warmcgi/internal/gateway"
)

// A handover is the socket between a process and the one that takes over from it. First the new one says who it is. Then it gets
// the doors' sockets, each with an octet, the octet that ends them, and the rest as JSON. If it can't serve, it says why.
// So the sockets belong to nobody but the doors: what a process starter keeps of them would hold them open after a
// reload has closed the door.
type handover struct{ *net.UnixConn }

const (
	oneSocket = 'S'
	noMore    = '.'
)

// hello is what the new process says first, and failed what it says last.
type hello struct {
	Pid    int    `json:"pid,omitempty"`
	Failed string `json:"failed,omitempty"`
}

// estate is what the old process leaves besides the sockets.
type estate struct {
	Sockets []string             `json:"sockets"` // their keys, in the order in which they came
	Warm    []gateway.WarmScript `json:"warm"`
}

// newHandover makes both ends; the second is for another process.
func newHandover() (ours handover, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return handover{}, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range pair {
		unix.CloseOnExec(fd)
	}
	theirs = os.NewFile(uintptr(pair[1]), "handover")
	if ours, err = handoverOf(os.NewFile(uintptr(pair[0]), "handover")); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// handoverOf takes the file over.
func handoverOf(f *os.File) (handover, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return handover{}, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return handover{}, errors.New("the handover is no Unix socket")
	}
	return handover{u}, nil
}

// leave sends what the new process takes over. It closes the descriptors.
func (h handover) leave(sockets []gateway.Socket, warm []gateway.WarmScript) error {
	e := estate{Warm: warm}
	var err error
	for _, s := range sockets {
		if err == nil {
			_, _, err = h.WriteMsgUnix([]byte{oneSocket}, unix.UnixRights(s.Descriptor), nil)
		}
		unix.Close(s.Descriptor)
		e.Sockets = append(e.Sockets, s.Key)
	}
	if err == nil {
		_, err = h.Write([]byte{noMore})
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(h).Encode(e)
}

// take is what the new process gets.
func (h handover) take() (gateway.Sockets, []gateway.WarmScript, error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := h.takeOne()
		if err != nil {
			return nil, nil, fmt.Errorf("sockets of the process before: %w", err)
		}
		if fd < 0 {
			break
		}
		fds = append(fds, fd)
	}
	var e estate
	if err := json.NewDecoder(h).Decode(&e); err != nil {
		return nil, nil, fmt.Errorf("what the process before leaves: %w", err)
	}
	if len(e.Sockets) != len(fds) {
		return nil, nil, fmt.Errorf("the process before has left %d sockets, and names %d", len(fds), len(e.Sockets))
	}
	sockets := gateway.Sockets{}
	for _, key := range e.Sockets {
		l, err := gateway.ListenerOf(fds[0])
		fds = fds[1:]
		if err != nil {
			return nil, nil, fmt.Errorf("socket %s of the process before: %w", key, err)
		}
		sockets[key] = append(sockets[key], l)
	}
	return sockets, e.Warm, nil
}

// takeOne gets one descriptor; less than 0 is that there is none any more.
func (h handover) takeOne() (fd int, err error) {
	octet, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := h.ReadMsgUnix(octet, oob)
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	case octet[0] == noMore:
		return -1, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("no descriptor: %w", err)
	}
	rights, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(rights) != 1 {
		return 0, fmt.Errorf("no descriptor: %w", err)
	}
	syscall.CloseOnExec(rights[0])
	return rights[0], nil
}
