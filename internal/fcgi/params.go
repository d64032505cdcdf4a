package fcgi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// ErrParams is a stream of name-value pairs that can't be meant.
var ErrParams = errors.New("fcgi: bad parameters")

// maxPairs is how many variables a request may have: each takes some hundred octets, however
// short it is.
const maxPairs = 10_000

// errTooManyPairs: there are more than maxPairs.
var errTooManyPairs = fmt.Errorf("%w: more than %d", ErrParams, maxPairs)

// A Param is one name-value pair (spec 3.4).
type Param struct{ Name, Value string }

// Params are the variables exactly as the front server sent them, in its order. No
// name is there twice: the last value won, in the place of the first.
//
// No name is empty or holds "=", and neither names nor values hold NUL, so each can be
// a line of an environment. HTTP_PROXY is not taken out.
type Params []Param

// Lookup is the value of a variable and whether there is one.
func (p Params) Lookup(name string) (string, bool) {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value, true
		}
	}
	return "", false
}

// Get is the value of a variable, or "".
func (p Params) Get(name string) string {
	v, _ := p.Lookup(name)
	return v
}

// All are the names and values in their order.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range p {
			if !yield(p[i].Name, p[i].Value) {
				return
			}
		}
	}
}

// Environ is each variable as NAME=value.
func (p Params) Environ() []string {
	env := make([]string, len(p))
	for i := range p {
		env[i] = p[i].Name + "=" + p[i].Value
	}
	return env
}

type paramsKey struct{}

// ParamsFromContext are the variables of the request that ctx belongs to. They must
// not be changed.
func ParamsFromContext(ctx context.Context) (Params, bool) {
	p, ok := ctx.Value(paramsKey{}).(*Params)
	if !ok {
		return nil, false
	}
	return *p, true
}

// decodeParams splits a whole PARAMS stream. The strings share the memory of s.
func decodeParams(s string) (Params, error) {
	p, err := splitPairs(s)
	if err != nil {
		return nil, err
	}
	for i := range p {
		switch name := p[i].Name; {
		case name == "":
			return nil, fmt.Errorf("%w: empty name", ErrParams)
		case strings.IndexByte(name, 0) >= 0 || strings.IndexByte(name, '=') >= 0:
			return nil, fmt.Errorf("%w: name %.60q", ErrParams, name)
		case strings.IndexByte(p[i].Value, 0) >= 0:
			// A NUL would end the variable, and what follows could pass for another.
			return nil, fmt.Errorf("%w: NUL in the value of %.60q", ErrParams, name)
		}
	}
	return lastWins(p), nil
}

// splitPairs decodes name-value pairs (spec 3.4).
func splitPairs(s string) (Params, error) {
	p := make(Params, 0, min(32, len(s)/2))
	for len(s) > 0 {
		if len(p) == maxPairs {
			return nil, errTooManyPairs
		}
		name, s1, ok1 := cutSize(s)
		value, s2, ok2 := cutSize(s1)
		if !ok1 || !ok2 || uint64(name)+uint64(value) > uint64(len(s2)) {
			return nil, fmt.Errorf("%w: a length is past the end", ErrParams)
		}
		n, m := int(name), int(name)+int(value)
		p = append(p, Param{Name: s2[:n], Value: s2[n:m]})
		s = s2[m:]
	}
	return p, nil
}

// cutSize cuts a length of one or four octets off s.
func cutSize(s string) (size uint32, rest string, ok bool) {
	switch {
	case len(s) == 0:
		return 0, "", false
	case s[0] < 1<<7:
		return uint32(s[0]), s[1:], true
	case len(s) < 4:
		return 0, "", false
	}
	return uint32(s[0]&^(1<<7))<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3]), s[4:], true
}

// fewParams is up to where comparing each with each beats a map.
const fewParams = 64

// lastWins takes out duplicates, in place.
func lastWins(p Params) Params {
	var at map[string]int
	if len(p) > fewParams {
		at = make(map[string]int, len(p))
	}
	out := p[:0]
	for _, v := range p {
		i, dup := 0, false
		if at != nil {
			i, dup = at[v.Name]
		} else {
			for i = range out {
				if dup = out[i].Name == v.Name; dup {
					break
				}
			}
		}
		if dup {
			out[i].Value = v.Value
			continue
		}
		if at != nil {
			at[v.Name] = len(out)
		}
		out = append(out, v)
	}
	return out
}

// appendParam appends one encoded pair.
func appendParam(b []byte, name, value string) []byte {
	b = appendSize(b, len(name))
	b = appendSize(b, len(value))
	b = append(b, name...)
	return append(b, value...)
}

func appendSize(b []byte, n int) []byte {
	if n < 1<<7 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}
