package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one thing wrong with the configuration, and where.
type Error struct {
	File   string // as given to Load; empty if there is no file
	Line   int    // from 1; 0 if the place is not known
	Column int    // from 1, in characters
	Key    string // the key's path, such as routes[1].timeout.idle; empty for the whole file
	Msg    string
	Source string // the line itself
}

// Error shows the error as a compiler does: place, key and message, and the line with a caret under the place.
func (e *Error) Error() string {
	if e.Line == 0 || strings.TrimSpace(e.Source) == "" {
		return e.Summary()
	}
	// A tab stays a tab, so that the caret stands right however wide tabs are shown.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, firstRunes(e.Source, e.Column-1))
	return fmt.Sprintf("%s\n%5d | %s\n      | %s^", e.Summary(), e.Line, e.Source, indent)
}

// Summary is the error in one line, for a log.
func (e *Error) Summary() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n <= 0 {
			return s[:i]
		}
		n--
	}
	return s + strings.Repeat(" ", max(n, 0))
}

// Errors are all errors of a file, in the order of its lines.
type Errors []*Error

// Error shows them one below the other.
func (l Errors) Error() string {
	blocks := make([]string, len(l))
	for i, e := range l {
		blocks[i] = e.Error()
	}
	return strings.Join(blocks, "\n")
}

// Unwrap gives errors.As and errors.Is each of them.
func (l Errors) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

func sortErrors(l []*Error) {
	slices.SortStableFunc(l, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// position is a place in the file, counted from 1.
type position struct{ line, column int }

// mark is where a key and its value stand, and the value as text if it is a scalar.
type mark struct {
	key, value position
	text       string
}

// source is the file as written, and where each key path stands in it.
type source struct {
	file  string
	dir   string // absolute; relative paths begin here
	lines []string
	marks map[string]mark
}

func newSource(file, dir string, data []byte) *source {
	lines := strings.Split(string(data), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return &source{file: file, dir: dir, lines: lines, marks: map[string]mark{}}
}

// has tells whether the file says something at the key path.
func (s *source) has(key string) bool {
	_, ok := s.marks[key]
	return ok
}

// at makes an error at a position.
func (s *source) at(p position, key, format string, args ...any) *Error {
	e := &Error{File: s.file, Line: p.line, Column: p.column, Key: key, Msg: fmt.Sprintf(format, args...)}
	if p.line >= 1 && p.line <= len(s.lines) {
		e.Source = s.lines[p.line-1]
	}
	return e
}

// value makes an error at the value of a key path.
func (s *source) value(key, format string, args ...any) *Error {
	return s.at(s.find(key, func(m mark) position { return m.value }), key, format, args...)
}

// key makes an error at the key itself, for what is missing below it or should not be there at all.
func (s *source) key(key, format string, args ...any) *Error {
	return s.at(s.find(key, func(m mark) position { return m.key }), key, format, args...)
}

// find looks up a key path or, if the file does not have it, the nearest one above it.
func (s *source) find(key string, where func(mark) position) position {
	for {
		if m, ok := s.marks[key]; ok {
			return where(m)
		}
		if key == "" {
			return position{}
		}
		// Not found: the place is that of the block, and its key says more than its first line.
		where = func(m mark) position { return m.key }
		key = parentKey(key)
	}
}

// parentKey cuts the last step off a key path.
func parentKey(key string) string {
	if strings.HasSuffix(key, "]") {
		return key[:strings.LastIndexByte(key, '[')]
	}
	return key[:max(strings.LastIndexByte(key, '.'), 0)]
}

// childKey adds a step to a key path.
func childKey(parent, key string) string {
	switch {
	case !isPlainKey(key):
		return fmt.Sprintf("%s[%q]", parent, key)
	case parent == "":
		return key
	}
	return parent + "." + key
}

func isPlainKey(key string) bool {
	for _, r := range key {
		if !(r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return false
		}
	}
	return key != ""
}

// validText finds the first line that is not UTF-8, which no YAML file may have.
func (s *source) validText() *Error {
	for i, l := range s.lines {
		if utf8.ValidString(l) {
			continue
		}
		for col := 1; ; col++ {
			r, n := utf8.DecodeRuneInString(l)
			if r == utf8.RuneError && n == 1 {
				e := s.at(position{i + 1, col}, "", "is not UTF-8 text")
				e.Source = strings.ToValidUTF8(e.Source, "\uFFFD")
				return e
			}
			l = l[n:]
		}
	}
	return nil
}

// ErrorAt is an error at the value of a key of the configuration, for what only its reader can tell.
func (c *Config) ErrorAt(key, format string, args ...any) *Error {
	if c.src == nil {
		return &Error{Key: key, Msg: fmt.Sprintf(format, args...)} // made without a file
	}
	return c.src.value(key, format, args...)
}
