package measure

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Seconds is a time with three digits.
func Seconds(s float64) string {
	switch {
	case s <= 0:
		return "0"
	case s < 0.9995e-3:
		return digits(s*1e6) + " µs"
	case s < 0.9995:
		return digits(s*1e3) + " ms"
	case s < 120:
		return digits(s) + " s"
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// Size is one of memory, or of a body.
func Size(octets float64) string {
	switch {
	case octets < 1<<10:
		return fmt.Sprintf("%.0f octets", octets)
	case octets < 1<<20:
		return digits(octets/(1<<10)) + " KiB"
	case octets < 1<<30:
		return digits(octets/(1<<20)) + " MiB"
	}
	return digits(octets/(1<<30)) + " GiB"
}

// digits are three, or all before the point.
func digits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return Number(v)
}

// Number is a whole one with commas; a small one has digits behind the point.
func Number(v float64) string {
	if v != math.Trunc(v) && math.Abs(v) < 99.95 {
		return digits(v)
	}
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is a number of things.
func plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return Number(float64(n)) + " " + thing
}
