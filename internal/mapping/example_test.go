package mapping

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yookoala/gofast"
)

// tenant has the application told whose site it is, by the host's first label.
func tenant(next gofast.SessionHandler) gofast.SessionHandler {
	return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
		name, _, found := strings.Cut(req.Params["SERVER_NAME"], ".")
		if !found {
			return nil, errors.New("no tenant in the name of the server")
		}
		req.Params["TENANT"] = name
		return next(client, req)
	}
}

func TestTheMappingOfTheDocumentationWorks(t *testing.T) {
	got, err := apply(t, []gofast.Middleware{tenant}, "SERVER_NAME=one.example.org")
	require.NoError(t, err)
	assert.Equal(t, []string{"SERVER_NAME=one.example.org", "TENANT=one"}, got)
	_, err = apply(t, []gofast.Middleware{tenant}, "SERVER_NAME=localhost")
	assert.ErrorIs(t, err, ErrParams)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	manual, err := os.ReadFile("../../docs/params.md")
	require.NoError(t, err)
	_, code, _ := strings.Cut(string(source), "\n\n// tenant ")
	code, _, _ = strings.Cut(code, "\n}\n")
	assert.Contains(t, string(manual), "```go\n// tenant "+code+"\n}\n```")
}
