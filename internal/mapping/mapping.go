// Package mapping changes the parameters that go to a FastCGI application.
//
// A change is a gofast middleware: a function that gets a request with its parameters in a
// map, changes them, and calls the next one. None of gofast's transport is in use: at the end
// of the chain the parameters are taken, and go out with the gateway's own. A middleware must
// call the next one once, must not wait for what comes back, as nothing does, and finds no
// body.
//
// steps.go has those that the configuration's params are made of, mappings.go those that it
// can name.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/yookoala/gofast"
)

// ErrParams: a mapping has refused the request, or made of it what can't be sent.
var ErrParams = errors.New("parameters can't be mapped")

// lengthName is the one parameter that is never another's to say: a wrong one has the
// application wait for ever, or read into nothing.
const lengthName = "CONTENT_LENGTH"

// Params is a chain of middlewares.
type Params struct{ handle gofast.SessionHandler }

// New chains middlewares, the first one first. Without any, it is nil.
func New(chain []gofast.Middleware) *Params {
	if len(chain) == 0 {
		return nil
	}
	return &Params{gofast.Chain(chain...)(gofast.BasicSession)}
}

// Apply changes the parameters of a request. Each is NAME=value; of those with the same name
// the last counts. The result has no name twice, and is sorted.
func (p *Params) Apply(ctx context.Context, r *http.Request, lists ...[]string) ([]string, error) {
	r = r.WithContext(ctx)
	r.Body = http.NoBody
	req := gofast.NewRequest(r)
	for _, list := range lists {
		for _, v := range list {
			name, value, _ := strings.Cut(v, "=")
			req.Params[name] = value
		}
	}
	length, has := req.Params[lengthName]
	var end taker
	switch _, err := p.handle(&end, req); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	case end.calls != 1 || end.params == nil:
		return nil, fmt.Errorf("%w: a mapping has not called the next one once", ErrParams)
	}
	if delete(end.params, lengthName); has {
		end.params[lengthName] = length
	}
	out := make([]string, 0, len(end.params))
	for name, value := range end.params {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.IndexByte(value, 0) >= 0 {
			return nil, fmt.Errorf("%w: %.60q is no parameter", ErrParams, name+"="+value)
		}
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out, nil
}

// taker is the client at the end of the chain. It takes the parameters, and asks nobody.
type taker struct {
	params map[string]string
	calls  int
}

func (t *taker) Do(req *gofast.Request) (*gofast.ResponsePipe, error) {
	t.params = req.Params
	t.calls++
	nothing := gofast.NewResponsePipe()
	nothing.Close()
	return nothing, nil
}

func (*taker) Close() error { return nil }
