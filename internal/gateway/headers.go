package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/yookoala/gofast"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/mapping"
)

// fieldRules are the changes that a part of the configuration makes to an answer's fields.
type fieldRules struct {
	remove   []string
	set, add []field
}

type field struct{ name, value string }

func newFieldRules(c *config.Headers) *fieldRules {
	if c == nil {
		return nil
	}
	r := &fieldRules{}
	for _, name := range c.Remove {
		r.remove = append(r.remove, http.CanonicalHeaderKey(name))
	}
	for name, value := range c.Set {
		r.set = append(r.set, field{http.CanonicalHeaderKey(name), value})
	}
	for name, value := range c.Add {
		r.add = append(r.add, field{http.CanonicalHeaderKey(name), value})
	}
	return r
}

func (r *fieldRules) apply(h http.Header) {
	if r == nil {
		return
	}
	for _, name := range r.remove {
		switch name {
		case "Content-Type", "Date":
			h[name] = nil // or net/http would write one of its own
		default:
			delete(h, name)
		}
	}
	for _, f := range r.set {
		h[f.name] = []string{f.value}
	}
	for _, f := range r.add {
		h[f.name] = append(h[f.name][:len(h[f.name]):len(h[f.name])], f.value)
	}
}

// beforeHead does what is to be done to an answer's head, whoever has made it. It is
// called once, before the head is sent.
func (x *exchange) beforeHead(code int) {
	h := x.Header()
	if h["X-Request-Id"] == nil && x.id != "" {
		h["X-Request-Id"] = x.idField[:]
	}
	x.st.headers.apply(h)
	if x.route != nil {
		x.route.headers.apply(h)
		if x.route.compression != nil {
			x.compress(x.route.compression, code)
		}
	}
}

// newRequestFields are the changes of the request's fields that scripts see as variables;
// nil: there are none.
func newRequestFields(c *config.RequestHeaders) (*mapping.Params, error) {
	if c == nil {
		return nil, nil
	}
	set := make(map[string]string, len(c.Set))
	for name, value := range c.Set {
		set[fieldVariable(name)] = value
	}
	var removed []string
	for _, name := range c.Remove {
		v := fieldVariable(name)
		if _, stays := set[v]; !stays {
			removed = append(removed, v)
		}
	}
	// Both are seen as the client has sent them: a field can be set to what another had.
	var chain []gofast.Middleware
	if len(set) > 0 {
		m, err := mapping.Set(set)
		if err != nil {
			return nil, fmt.Errorf("request_headers: %w", err)
		}
		chain = append(chain, m)
	}
	if len(removed) > 0 {
		m, err := mapping.Unset(removed)
		if err != nil {
			return nil, fmt.Errorf("request_headers: %w", err)
		}
		chain = append(chain, m)
	}
	return mapping.New(chain), nil
}

// fieldVariable is the variable that a field of the request becomes (RFC 3875 section 4.1.18).
func fieldVariable(name string) string {
	return "HTTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// changeFields makes the route's changes of the request's fields.
func (x *exchange) changeFields(rt *route, req *cgi.Request) (err error) {
	if rt.requestFields == nil {
		return nil
	}
	req.Vars, err = rt.requestFields.Apply(x.first.Context(), x.r, req.Vars)
	return err
}
