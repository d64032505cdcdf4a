package gateway

import (
	"fmt"

	"github.com/yookoala/gofast"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/mapping"
)

// newParams are the changes of an application's parameters; nil: there are none.
func newParams(c *config.FastCGI) (*mapping.Params, error) {
	if c == nil {
		return nil, nil
	}
	chain := make([]gofast.Middleware, len(c.Params))
	for i, step := range c.Params {
		var err error
		switch {
		case step.Set != nil:
			chain[i], err = mapping.Set(step.Set)
		case step.Unset != nil:
			chain[i], err = mapping.Unset(step.Unset)
		case step.Rename != nil:
			chain[i], err = mapping.Rename(step.Rename)
		default:
			var ok bool
			if chain[i], ok = mapping.Named(step.Use); !ok {
				err = fmt.Errorf("there is no mapping %q", step.Use)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return mapping.New(chain), nil
}

// mapParams changes the parameters of a request as its application wants them.
func (x *exchange) mapParams(m *mapping.Params, req *cgi.Request) (err error) {
	if m == nil {
		return nil
	}
	req.Vars, err = m.Apply(x.first.Context(), x.r, req.Vars, req.Env)
	req.Env = nil
	return err
}
