// Package shim is the process that becomes a script's warm parent: it takes its order
// from the gateway, makes the runner's text, and executes the interpreter with it. It
// runs as `gateway shim`, or as the program cmd/shim.
package shim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"warmcgi/internal/confine"
)

// Version is that of the order; both ends must be of one.
const Version = 4

// Control is the descriptor of the control socket, in the shim and in the warm parent.
const Control = 3

// An Order says what to execute. It comes as a netstring of JSON on the control socket,
// before the runner's own order (docs/worker-protocol.md).
type Order struct {
	Version int
	// Script is the script's file, Dir its working directory, Mode spawn, warm or reuse.
	Script, Dir, Mode string
	// Executable: the script must be, as nothing but its #! line says what runs it.
	Executable bool
	// Argv is the interpreter's command, up to where the script would stand; in mode spawn
	// it is the whole command.
	Argv []string
	// Language is that of the runner; Runner a file in its place.
	Language, Runner string
	// Env is the whole environment, each NAME=value.
	Env []string
	// Confine is what the script is held to.
	Confine *confine.Rules
	// Gateway is the process whose end is the script's.
	Gateway int
	// Socket is the script's socket, which its workers must be able to reach.
	Socket string
}

// executes names what the order executes.
func (o *Order) executes() string {
	if len(o.Argv) == 0 {
		return "runner " + o.Runner
	}
	return "interpreter " + o.Argv[0]
}

// Encode writes the order as it goes over the control socket.
func (o *Order) Encode() ([]byte, error) {
	b, err := json.Marshal(o.each(widen))
	if err != nil {
		return nil, err
	}
	return Netstring(b), nil
}

// each returns the order with all that can hold any octets changed.
func (o Order) each(f func(string) string) *Order {
	for _, s := range []*string{&o.Script, &o.Dir, &o.Runner, &o.Socket} {
		*s = f(*s)
	}
	for _, l := range []*[]string{&o.Argv, &o.Env} {
		changed := make([]string, len(*l))
		for i, s := range *l {
			changed[i] = f(s)
		}
		*l = changed
	}
	return &o
}

// widen makes a character of each octet, as JSON has no octets.
func widen(s string) string {
	b := make([]rune, len(s))
	for i := range len(s) {
		b[i] = rune(s[i])
	}
	return string(b)
}

// narrow takes that back.
func narrow(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// Netstring frames octets: their length in decimal, a colon, they, a comma.
func Netstring(b []byte) []byte {
	n := strconv.AppendInt(make([]byte, 0, len(b)+12), int64(len(b)), 10)
	return append(append(append(n, ':'), b...), ',')
}

// Pairs are names and values as in SCGI, each ended by NUL.
func Pairs(words ...string) []byte {
	var b bytes.Buffer
	for _, w := range words {
		b.WriteString(w)
		b.WriteByte(0)
	}
	return b.Bytes()
}

// maxOrder bounds an order, in octets.
const maxOrder = 16 << 20

// readOrder takes the order from the control socket and not an octet more: what follows
// is the runner's.
func readOrder(r io.Reader) (*Order, error) {
	size := 0
	for one := []byte{0}; ; {
		if _, err := io.ReadFull(r, one); err != nil {
			return nil, fmt.Errorf("reading the order: %w", err)
		}
		if one[0] == ':' {
			break
		}
		size = 10*size + int(one[0]-'0')
		if one[0] < '0' || one[0] > '9' || size > maxOrder {
			return nil, fmt.Errorf("reading the order: not a netstring")
		}
	}
	b := make([]byte, size+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("reading the order: %w", err)
	}
	if b[size] != ',' {
		return nil, fmt.Errorf("reading the order: not a netstring")
	}
	o := &Order{}
	d := json.NewDecoder(bytes.NewReader(b[:size]))
	d.DisallowUnknownFields() // one that is dropped could be a limit
	if err := d.Decode(o); err != nil {
		return nil, fmt.Errorf("reading the order: %w", err)
	}
	if o.Version != Version {
		return nil, fmt.Errorf("the gateway speaks version %d of the shim's orders, this shim %d", o.Version, Version)
	}
	return o.each(narrow), nil
}
