package admin

import (
	"embed"
	"net/http"
)

// The dashboard, as it is sent: there is nothing to build.
//
//go:embed page
var pages embed.FS

// page sends a file of the dashboard.
func page(name, kind string) http.HandlerFunc {
	b, err := pages.ReadFile("page/" + name)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Write(b)
	}
}
