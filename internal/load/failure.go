package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Kind says in what way a request had no answer.
type Kind string

// The kinds of failures.
const (
	Refused     Kind = "connection refused"
	Unreachable Kind = "no connection"
	Handshake   Kind = "TLS handshake failed"
	TimedOut    Kind = "timed out"
	Reset       Kind = "connection reset"
	Closed      Kind = "closed without an answer"
	Cut         Kind = "answer cut short"
	Malformed   Kind = "answer is not HTTP"
	Stream      Kind = "HTTP/2 error"
	Descriptors Kind = "too many open files here"
)

// failure is a request without a whole answer.
type failure struct {
	kind Kind
	err  error
	// dialing: there was no connection.
	dialing bool
}

func (f *failure) Error() string { return string(f.kind) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// phase is what was going on when an error came.
type phase int

const (
	dialing phase = iota
	asking
	reading
)

// failed names an error.
func failed(in phase, err error) *failure {
	f := &failure{kind: kindOf(in, err), err: err, dialing: in == dialing}
	return f
}

func kindOf(in phase, err error) Kind {
	var timeout net.Error
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return Descriptors
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &cert), errors.As(err, &unknown):
		return Handshake
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case in == dialing:
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if in == reading {
			return Cut
		}
		return Closed
	}
	return Malformed
}
