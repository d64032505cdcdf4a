package mapping

import "github.com/yookoala/gofast"

// A Mapping is a middleware that the configuration can name, in `use`.
type Mapping struct {
	Name       string
	Middleware gofast.Middleware
}

// All are the mappings there are. One of your own is a function like nginx below, and a line
// here; see docs/params.md.
func All() []Mapping {
	return []Mapping{
		{"nginx", nginx},
	}
}

// Named finds a mapping.
func Named(name string) (gofast.Middleware, bool) {
	for _, m := range All() {
		if m.Name == name {
			return m.Middleware, true
		}
	}
	return nil, false
}

// nginx adds what nginx's fastcgi_params has besides the meta-variables of CGI, for
// applications that were written behind it.
func nginx(next gofast.SessionHandler) gofast.SessionHandler {
	return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
		req.Params["DOCUMENT_URI"] = req.Params["SCRIPT_NAME"] + req.Params["PATH_INFO"]
		req.Params["REDIRECT_STATUS"] = "200"
		for _, name := range []string{"CONTENT_TYPE", "REMOTE_USER"} {
			if _, ok := req.Params[name]; !ok {
				req.Params[name] = "" // RFC 3875 leaves out what is empty
			}
		}
		return next(client, req)
	}
}
