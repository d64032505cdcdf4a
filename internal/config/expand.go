package config

import (
	"fmt"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts environment variables in for ${VAR} and makes a plain ${ of $${. What a variable holds is not expanded
// again. bad is the piece of text that the error is about.
func expand(text string, lookup func(string) (string, bool)) (out, bad string, err error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), "", nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		name, rest, closed := strings.Cut(text[i+2:], "}")
		switch value, set := lookup(name); {
		case !closed:
			return "", "${", fmt.Errorf("${ has no closing } (write $${ for a plain ${)")
		case !variableName.MatchString(name):
			return "", "${" + name, fmt.Errorf("${%s} does not name an environment variable (write $${ for a plain ${)", name)
		case !set:
			return "", "${" + name, fmt.Errorf("environment variable %s is not set", name)
		default:
			b.WriteString(value)
		}
		text = rest
	}
}
