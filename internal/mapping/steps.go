package mapping

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/yookoala/gofast"
)

// Set gives parameters values. In a value %{NAME} stands for a parameter as it was before
// the step, or nothing, and %% for a percent sign.
func Set(values map[string]string) (gofast.Middleware, error) {
	texts := make(map[string]text, len(values))
	for name, value := range values {
		var err error
		if err = CheckName(name); err == nil {
			texts[name], err = parseText(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return change(func(p map[string]string) {
		fresh := make(map[string]string, len(texts))
		for name, t := range texts {
			fresh[name] = t.with(p)
		}
		maps.Copy(p, fresh)
	}), nil
}

// Unset takes parameters away.
func Unset(names []string) (gofast.Middleware, error) {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return change(func(p map[string]string) {
		for _, name := range names {
			delete(p, name)
		}
	}), nil
}

// Rename gives parameters other names, all at once: two can change places. One that is not
// there is left out, and leaves one that has its new name already.
func Rename(names map[string]string) (gofast.Middleware, error) {
	to := map[string]bool{}
	for from, name := range names {
		err := errors.Join(CheckName(from), CheckName(name))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", from, err)
		case from == name:
			return nil, fmt.Errorf("%s: is its own name", from)
		case to[name]:
			return nil, fmt.Errorf("%s: two parameters get the name %s", from, name)
		}
		to[name] = true
	}
	return change(func(p map[string]string) {
		moved := make(map[string]string, len(names))
		for from, name := range names {
			if value, ok := p[from]; ok {
				moved[name] = value
			}
		}
		for from := range names {
			delete(p, from)
		}
		maps.Copy(p, moved)
	}), nil
}

// change is a middleware that only looks at the parameters.
func change(f func(p map[string]string)) gofast.Middleware {
	return func(next gofast.SessionHandler) gofast.SessionHandler {
		return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			f(req.Params)
			return next(client, req)
		}
	}
}

// CheckName says what is wrong with the name of a parameter that is to be changed, or nil.
func CheckName(name string) error {
	switch {
	case !isName(name):
		return errors.New("is no name of a parameter")
	case name == lengthName:
		return errors.New("is the length of the body, which is what it is")
	case name == "HTTP_PROXY":
		return errors.New("is what programs take for their own proxy (CVE-2016-5385), and never sent")
	}
	return nil
}

// isName reports whether it is one that an application can have a use for.
func isName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_' || '0' <= c && c <= '9' && i > 0) {
			return false
		}
	}
	return name != ""
}

// CheckText says what is wrong with a value for [Set], or nil.
func CheckText(s string) error {
	_, err := parseText(s)
	return err
}

// text is a value with references: words that stand as they are, and between them names.
type text struct{ words, names []string }

func parseText(s string) (t text, err error) {
	var word strings.Builder
	for {
		before, rest, found := strings.Cut(s, "%")
		word.WriteString(before)
		switch {
		case !found:
			if strings.IndexByte(word.String(), 0) >= 0 {
				return t, errors.New("has a null byte")
			}
			t.words = append(t.words, word.String())
			return t, nil
		case strings.HasPrefix(rest, "%"):
			word.WriteByte('%')
			s = rest[1:]
		case strings.HasPrefix(rest, "{"):
			name, after, closed := strings.Cut(rest[1:], "}")
			if !closed || !isName(name) {
				return t, fmt.Errorf("%.40q: write %%{NAME}", "%"+rest)
			}
			t.words, t.names = append(t.words, word.String()), append(t.names, name)
			word.Reset()
			s = after
		default:
			return t, fmt.Errorf("%.40q: write %%{NAME} for a parameter, %%%% for a percent sign", "%"+rest)
		}
	}
}

func (t text) with(p map[string]string) string {
	if len(t.names) == 0 {
		return t.words[0]
	}
	var b strings.Builder
	for i, word := range t.words {
		b.WriteString(word)
		if i < len(t.names) {
			b.WriteString(p[t.names[i]])
		}
	}
	return b.String()
}
