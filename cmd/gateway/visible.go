package main

import (
	"fmt"
	"strings"
	"unicode"
)

// visible is a text of somebody else's, as a terminal may show it: what a script writes to standard error, or a client puts into a URL, could
// else move the cursor, or have the terminal do worse.
func visible(s string) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); strings.IndexFunc(s, isHidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !isHidden(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// visibleLines is the same of a text of lines.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = visible(l)
	}
	return strings.Join(lines, "\n")
}

// isHidden is for what is not seen as itself: control characters, and those that change the direction of a text.
func isHidden(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
