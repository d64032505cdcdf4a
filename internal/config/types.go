package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as Go does: 500ms, 30s, 5m, 1h30m. 0 needs no unit.
type Duration time.Duration

// UnmarshalText reads a Go duration that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration (write %s)", text, likelyDuration(string(text)))
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration without the parts that are zero: 5m, not 5m0s.
func (d Duration) String() string {
	if d == 0 {
		return "0"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var spelledDuration = regexp.MustCompile(`^([0-9]{1,9})\s*([a-z]*)$`)

// likelyDuration guesses what was meant by something that is not a Go duration.
func likelyDuration(text string) string {
	m := spelledDuration.FindStringSubmatch(strings.ToLower(strings.TrimSpace(text)))
	if m == nil {
		return "it like 30s, 5m or 1h30m"
	}
	switch m[2] {
	case "", "s", "sec", "secs", "second", "seconds":
		return m[1] + "s"
	case "ms", "msec", "millis", "millisecond", "milliseconds":
		return m[1] + "ms"
	case "m", "min", "mins", "minute", "minutes":
		return m[1] + "m"
	case "h", "hr", "hrs", "hour", "hours":
		return m[1] + "h"
	case "d", "day", "days":
		n, _ := strconv.Atoi(m[1]) // at most nine digits
		return strconv.Itoa(24*n) + "h"
	}
	return "it like 30s, 5m or 1h30m"
}

// Size is a number of bytes, written with a unit: 64KiB, 512MiB, 1GiB, 100B. 0 needs no unit.
type Size int64

// The units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var (
	sizePattern = regexp.MustCompile(`^([0-9]+)(B|KiB|MiB|GiB|TiB)$`)
	spelledSize = regexp.MustCompile(`^([0-9]+)\s*([kmgt]?)i?(b|bytes?)?$`)
)

// UnmarshalText reads a number with a unit, or 0.
func (s *Size) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*s = 0
		return nil
	}
	m := sizePattern.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a size (write %s)", text, likelySize(string(text)))
	}
	unit := map[string]Size{"B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": TiB}[string(m[2])]
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("%q is too large", text)
	}
	*s = Size(n) * unit
	return nil
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	switch {
	case s == 0:
		return "0"
	case s%TiB == 0:
		return strconv.FormatInt(int64(s/TiB), 10) + "TiB"
	case s%GiB == 0:
		return strconv.FormatInt(int64(s/GiB), 10) + "GiB"
	case s%MiB == 0:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	case s%KiB == 0:
		return strconv.FormatInt(int64(s/KiB), 10) + "KiB"
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// likelySize guesses what was meant by something that is not a size.
func likelySize(text string) string {
	m := spelledSize.FindStringSubmatch(strings.ToLower(strings.TrimSpace(text)))
	switch {
	case m == nil:
		return "it like 64KiB, 512MiB or 1GiB"
	case m[2] == "":
		return m[1] + "B"
	}
	return m[1] + strings.ToUpper(m[2]) + "iB"
}

// Rate is how often something may happen, written as a number per second, minute, hour or day: 10/s, 100/m, 1000/h, 5/d.
// 0 is no limit.
type Rate float64

var ratePattern = regexp.MustCompile(`^([0-9]{1,9})/([smhd])$`)

// UnmarshalText reads a number per unit, or 0.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*r = 0
		return nil
	}
	m := ratePattern.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a rate (write it like 10/s, 100/m or 1000/h)", text)
	}
	n, _ := strconv.Atoi(string(m[1])) // at most nine digits
	if n == 0 {
		return fmt.Errorf("%q lets nobody in (0 alone is no limit)", text)
	}
	*r = Rate(float64(n) / map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86400}[string(m[2])])
	return nil
}

// FileMode is the permissions of a file as an octal number: "0660".
type FileMode fs.FileMode

// UnmarshalText reads an octal number.
func (m *FileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not a file mode (write it like \"0660\")", text)
	}
	*m = FileMode(n)
	return nil
}

func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Prefix is a network such as 10.0.0.0/8, a single address, or the word unix: all peers of Unix sockets.
type Prefix struct {
	netip.Prefix
	Unix bool
}

// UnmarshalText reads a network such as 10.0.0.0/8, a single address, or the word unix.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "unix" {
		*p = Prefix{Unix: true}
		return nil
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap() // peers are compared unmapped
		*p = Prefix{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
		return nil
	}
	net, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is not a network (write it like 10.0.0.0/8, 192.0.2.1 or unix)", s)
	}
	if net != net.Masked() {
		return fmt.Errorf("%q has bits beyond its length (write %s)", s, net.Masked())
	}
	*p = Prefix{Prefix: net}
	return nil
}

func (p Prefix) String() string {
	if p.Unix {
		return "unix"
	}
	return p.Prefix.String()
}

// Prefixes are networks of peers.
type Prefixes []Prefix

// Contains tells whether one of the networks holds the address; an IPv4 address may come in its IPv6 form.
func (p Prefixes) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(n Prefix) bool { return !n.Unix && n.Prefix.Contains(addr) })
}

// ContainsUnix tells whether peers of Unix sockets are in.
func (p Prefixes) ContainsUnix() bool {
	return slices.ContainsFunc(p, func(n Prefix) bool { return n.Unix })
}

// Env is a block of NAME: value. Numbers and true or false need no quotes here.
type Env map[string]string

// ParseEnv reads NAME=value words.
func ParseEnv(words []string) (Env, error) {
	env := Env{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("%q: write NAME=VALUE", word)
		}
		if err := checkVariable(name, value); err != nil {
			return nil, fmt.Errorf("%q %w", name, err)
		}
		env[name] = value
	}
	return env, nil
}

func checkVariable(name, value string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return errors.New("is no name of an environment variable")
	}
	if strings.ContainsRune(value, 0) {
		return errors.New("has a null byte, which no environment variable can hold")
	}
	return nil
}
