package cgi

import (
	"net/http"
	"strings"
)

// A varList collects variables in one piece of memory: there are some thirty of them for
// each request, and each would be an allocation.
type varList struct {
	list []string
	text strings.Builder
}

// fixedVars is about what the variables take that are not made of what the client has sent:
// names, addresses, and the like.
const fixedVars = 700

func newVarList(r *http.Request, m *Meta) *varList {
	size := fixedVars + len(m.RequestURI) + len(r.URL.RawQuery) + 2*len(m.ScriptName) + 2*len(m.PathInfo) +
		len(m.ScriptFilename) + 2*len(m.DocumentRoot) + 2*len(r.Host)
	for name, values := range r.Header {
		size += len("HTTP_=") + len(name)
		for _, value := range values {
			size += len(value) + len(", ")
		}
	}
	v := &varList{list: make([]string, 0, 24+len(r.Header))}
	v.text.Grow(size)
	return v
}

// add adds one variable.
func (v *varList) add(name, value string) {
	from := v.text.Len()
	v.text.WriteString(name)
	v.text.WriteByte('=')
	v.text.WriteString(value)
	v.took(from)
}

// addField adds a header field as a variable: upper case, "-" is "_".
func (v *varList) addField(name string, values []string, sep string) {
	from := v.text.Len()
	v.text.WriteString("HTTP_")
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		} else if c == '-' {
			c = '_'
		}
		v.text.WriteByte(c)
	}
	v.text.WriteByte('=')
	for i, value := range values {
		if i > 0 {
			v.text.WriteString(sep)
		}
		v.text.WriteString(value)
	}
	v.took(from)
}

// took makes what was written since from a variable. Its memory stays where it is when the
// text outgrows its own.
func (v *varList) took(from int) { v.list = append(v.list, v.text.String()[from:]) }
