package admin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheOpenAPIFileHasEveryEndpointAndNoOther(t *testing.T) {
	b, err := pages.ReadFile("page/openapi.json")
	require.NoError(t, err)
	var doc struct{ Paths map[string]map[string]any }
	require.NoError(t, json.Unmarshal(b, &doc))
	var want, have []string
	for path, methods := range doc.Paths {
		for m := range methods {
			want = append(want, strings.ToUpper(m)+" "+path)
		}
	}
	d := New(nil, Config{Registry: prometheus.NewRegistry()})
	for _, e := range d.endpoints() {
		if method, path, ok := strings.Cut(e.pattern, " "); ok && path != "/{$}" && (!strings.Contains(path, ".") || strings.HasPrefix(path, "/api")) {
			have = append(have, method+" "+path)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	assert.Equal(t, want, have)
}
