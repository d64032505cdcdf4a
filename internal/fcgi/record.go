package fcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A recType is a record type (spec 8).
type recType uint8

const (
	typeBeginRequest    recType = 1
	typeAbortRequest    recType = 2
	typeEndRequest      recType = 3
	typeParams          recType = 4
	typeStdin           recType = 5
	typeStdout          recType = 6
	typeStderr          recType = 7
	typeData            recType = 8
	typeGetValues       recType = 9
	typeGetValuesResult recType = 10
	typeUnknownType     recType = 11
	maxType                     = typeUnknownType
)

// A role is what the application is asked to be (spec 6.1).
type role uint16

const (
	roleResponder  role = 1
	roleAuthorizer role = 2
	roleFilter     role = 3
)

// A protocolStatus is how END_REQUEST says a request ended (spec 5.5).
type protocolStatus uint8

const (
	statusRequestComplete protocolStatus = iota
	statusCantMultiplex
	statusOverloaded
	statusUnknownRole
)

const (
	version1     = 1
	flagKeepConn = 1 // spec 5.1

	headerLen  = 8
	beginLen   = 8 // content of BEGIN_REQUEST
	endLen     = 8 // content of END_REQUEST
	maxContent = 65535
)

// ErrProtocol is what the other side did against the FastCGI specification.
var ErrProtocol = errors.New("fcgi: protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
}

// A header is the fixed part of a record (spec 3.3).
type header struct {
	typ     recType
	id      uint16
	length  int // of the content
	padding int
}

// newHeader is the header of a record with n octets of content, padded to a multiple
// of eight as spec 3.3 recommends.
func newHeader(typ recType, id uint16, n int) header {
	return header{typ: typ, id: id, length: n, padding: -n & 7}
}

// put writes h over the first eight octets of b.
func (h header) put(b []byte) {
	_ = b[headerLen-1]
	b[0] = version1
	b[1] = byte(h.typ)
	binary.BigEndian.PutUint16(b[2:], h.id)
	binary.BigEndian.PutUint16(b[4:], uint16(h.length))
	b[6] = byte(h.padding)
	b[7] = 0
}

// parseHeader is the reverse of put.
func parseHeader(b []byte) (header, error) {
	_ = b[headerLen-1]
	if b[0] != version1 {
		return header{}, protocolError("version %d", b[0])
	}
	return header{
		typ:     recType(b[1]),
		id:      binary.BigEndian.Uint16(b[2:]),
		length:  int(binary.BigEndian.Uint16(b[4:])),
		padding: int(b[6]),
	}, nil
}

// readHeader reads the header of the next record. It returns [io.EOF] only between
// records.
func readHeader(r peeker) (header, error) {
	b, err := r.Peek(headerLen)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return header{}, err
	}
	h, err := parseHeader(b)
	r.Discard(headerLen)
	return h, err
}

// A peeker is a [bufio.Reader].
type peeker interface {
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
}

// zeros are padding.
var zeros [8]byte

// appendRecord appends a whole record. The content must not exceed maxContent.
func appendRecord(b []byte, typ recType, id uint16, content []byte) []byte {
	h := newHeader(typ, id, len(content))
	b = append(b, zeros[:]...)
	h.put(b[len(b)-headerLen:])
	b = append(b, content...)
	return append(b, zeros[:h.padding]...)
}

// appendBegin appends BEGIN_REQUEST (spec 5.1).
func appendBegin(b []byte, id uint16, r role, flags uint8) []byte {
	var c [beginLen]byte
	binary.BigEndian.PutUint16(c[:], uint16(r))
	c[2] = flags
	return appendRecord(b, typeBeginRequest, id, c[:])
}

// parseBegin is the content of BEGIN_REQUEST.
func parseBegin(b []byte) (r role, flags uint8, err error) {
	if len(b) != beginLen {
		return 0, 0, protocolError("BEGIN_REQUEST of %d octets", len(b))
	}
	return role(binary.BigEndian.Uint16(b)), b[2], nil
}

// appendEnd appends END_REQUEST (spec 5.5).
func appendEnd(b []byte, id uint16, appStatus uint32, status protocolStatus) []byte {
	var c [endLen]byte
	binary.BigEndian.PutUint32(c[:], appStatus)
	c[4] = byte(status)
	return appendRecord(b, typeEndRequest, id, c[:])
}

// parseEnd is the content of END_REQUEST.
func parseEnd(b []byte) (appStatus uint32, status protocolStatus, err error) {
	if len(b) != endLen {
		return 0, 0, protocolError("END_REQUEST of %d octets", len(b))
	}
	return binary.BigEndian.Uint32(b), protocolStatus(b[4]), nil
}
