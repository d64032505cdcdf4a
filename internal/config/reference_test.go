package config

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// structs finds every struct that the file is made of.
func structs(t reflect.Type, seen map[reflect.Type]bool) map[reflect.Type]bool {
	if t = elem(t); t.Kind() != reflect.Struct || isScalar(t) || seen[t] {
		return seen
	}
	seen[t] = true
	for _, f := range keysOf(t) {
		structs(f.Type, seen)
		structs(f.owner, seen)
	}
	return seen
}

func allStructs() map[reflect.Type]bool {
	return structs(reflect.TypeFor[Config](), map[reflect.Type]bool{})
}

func TestEveryKeyHasADocCommentAndStandsInTheReference(t *testing.T) {
	d, err := readDocs()
	require.NoError(t, err)
	reference := Reference()
	for s := range allStructs() {
		assert.NotEmpty(t, d[s.Name()], s.Name())
		for i := range s.NumField() {
			f := s.Field(i)
			if !f.IsExported() {
				continue
			}
			assert.NotEmpty(t, d[s.Name()+"."+f.Name], "%s.%s has no doc comment", s.Name(), f.Name)
			tag := f.Tag.Get("yaml")
			assert.NotEmpty(t, tag, "%s.%s has no key", s.Name(), f.Name)
			if tag != "-" && !f.Anonymous {
				text, _ := d.field(field{f, tag, s})
				assert.Contains(t, reference, text)
				assert.Regexp(t, "(?m)^### `(.*\\.)?"+tag+"`$", reference)
			}
		}
	}
}

// Without its default in the comment, the manual would not say it; with a wrong one, it would lie.
func TestTheDefaultInEveryDocCommentIsTheRealOne(t *testing.T) {
	d, err := readDocs()
	require.NoError(t, err)
	root := &Config{}
	root.setDefaults(nil)
	for s := range allStructs() {
		v := reflect.New(s)
		if f, ok := v.Interface().(defaulter); ok {
			f.setDefaults(root)
		}
		if s == reflect.TypeFor[Config]() {
			v = reflect.ValueOf(root)
		}
		for _, f := range keysOf(s) {
			want := v.Elem().FieldByIndex(f.Index)
			if f.owner != s {
				continue
			}
			if owner := builtinOf(f.owner); owner.IsValid() {
				want = owner.FieldByIndex(f.Index)
			}
			_, text := d.field(f)
			if text == "" {
				assert.True(t, want.IsZero() && want.Kind() != reflect.Int && want.Kind() != reflect.Bool ||
					want.Kind() == reflect.Struct, "%s.%s has a default that its comment does not say", s.Name(), f.Name)
				continue
			}
			file, err := parser.ParseBytes([]byte(text), 0)
			require.NoError(t, err)
			said := reflect.New(f.Type)
			dec := &decoder{src: newSource("", "/", []byte(text)), root: root, lookup: lookup, anchors: map[string]ast.Node{},
				bad: map[string]bool{}}
			dec.decode(file.Docs[0].Body, said.Elem(), f.name, f.Tag)
			require.Empty(t, dec.errs, "%s.%s", s.Name(), f.Name)
			assert.Equal(t, want.Interface(), said.Elem().Interface(), "%s.%s", s.Name(), f.Name)
		}
	}
}

// builtinOf is the part of the built-in settings that a struct describes.
func builtinOf(t reflect.Type) reflect.Value {
	settings := reflect.ValueOf(builtin())
	if settings.Type() == t {
		return settings
	}
	for i := range settings.NumField() {
		if settings.Field(i).Type() == t {
			return settings.Field(i)
		}
	}
	root := &Config{}
	root.setDefaults(nil)
	switch t {
	case reflect.TypeFor[Log]():
		return reflect.ValueOf(root.Log)
	case reflect.TypeFor[AccessLog]():
		return reflect.ValueOf(root.Log.Access)
	}
	return reflect.Value{}
}

func TestTheReferenceIsTheSameEachTime(t *testing.T) {
	reference := Reference()
	assert.Contains(t, reference, "### `routes[].*`\n\nAny key of defaults, for this route alone. See `defaults`.\n")
	assert.Contains(t, reference, "### `defaults.timeout.first_byte`\n\n*duration*, default `60s`\n\n")
	assert.Equal(t, reference, Reference())
}

func TestEveryKeyStandsInTheSchema(t *testing.T) {
	data, err := Schema()
	require.NoError(t, err)
	var schema struct {
		Schema     string         `json:"$schema"`
		Properties map[string]any `json:"properties"`
		Defs       map[string]struct {
			Properties           map[string]map[string]any `json:"properties"`
			AdditionalProperties any                       `json:"additionalProperties"`
		} `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(data, &schema))
	assert.Equal(t, "https://json-schema.org/draft/2020-12/schema", schema.Schema)
	for s := range allStructs() {
		for _, f := range keysOf(s) {
			if s == reflect.TypeFor[Config]() {
				assert.Contains(t, schema.Properties, f.name)
				continue
			}
			assert.Equal(t, false, schema.Defs[s.Name()].AdditionalProperties, s.Name())
			require.Contains(t, schema.Defs[s.Name()].Properties, f.name, s.Name())
			assert.NotEmpty(t, schema.Defs[s.Name()].Properties[f.name]["description"], "%s.%s", s.Name(), f.name)
		}
	}
	assert.Equal(t, "60s", schema.Defs["Timeout"].Properties["first_byte"]["default"])
	assert.InDelta(t, 512, schema.Defs["Queue"].Properties["length"]["default"], 0)
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := Schema()
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("gateway.json", doc))
	schema, err := c.Compile("gateway.json")
	require.NoError(t, err)
	return schema
}

func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	data, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	require.NoError(t, err)
	return v
}

func TestTheExamplesFitTheSchema(t *testing.T) {
	schema := compile(t)
	for _, name := range []string{"testdata/full.yaml", "testdata/probe.yaml"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.NoError(t, schema.Validate(asJSON(t, text)), name)
	}
}

func TestTheSchemaAcceptsAndRefuses(t *testing.T) {
	schema := compile(t)
	for name, c := range map[string]struct {
		yaml string
		fits bool
	}{
		"the smallest file":         {`{listen: [{http: ":80"}], routes: [{path: /, files: {root: a}}]}`, true},
		"variables":                 {`{listen: [{http: "${X}"}], max_processes: "${X}", defaults: {mode: "${X}", body: {max: "${X}"}}}`, true},
		"a size of 0":               {`{listen: [{http: ":80"}], defaults: {body: {max: 0}, timeout: {idle: 0}}}`, true},
		"environment with numbers":  {`{listen: [{http: ":80"}], env: {A: 1, B: true}}`, true},
		"networks":                  {`{listen: [{http: ":80"}], trusted_proxies: [10.0.0.0/8, "::1", unix]}`, true},
		"an admin address alone":    {`{listen: [{http: ":80"}], admin: "127.0.0.1:9180"}`, true},
		"an admin block":            {`{listen: [{http: ":80"}], admin: {listen: ":9180", token_env: T, pprof: true}}`, true},
		"an admin block without it": {`{listen: [{http: ":80"}], admin: {pprof: true}}`, false},
		"an admin that is neither":  {`{listen: [{http: ":80"}], admin: 5}`, false},
		"no door":                   {`{routes: []}`, false},
		"an unknown key":            {`{listen: [{http: ":80"}], foo: 1}`, false},
		"an unknown key in a block": {`{listen: [{http: ":80"}], defaults: {timeout: {foo: 1s}}}`, false},
		"two kinds of door":         {`{listen: [{http: ":80", fastcgi: ":90"}]}`, false},
		"https without tls":         {`{listen: [{https: ":80"}]}`, false},
		"https with acme":           {`{listen: [{https: ":80", tls: {acme: {hosts: a.example, accept_terms: true}}}], routes: []}`, true},
		"acme with several hosts":   {`{listen: [{https: ":80", tls: {client_ca: c, acme: {hosts: [a.example, b.example], challenges: [http-01]}}}], routes: []}`, true},
		"acme beside cert and key":  {`{listen: [{https: ":80", tls: {cert: c, key: k, acme: {}}}], routes: []}`, false},
		"cert without key":          {`{listen: [{https: ":80", tls: {cert: c}}], routes: []}`, false},
		"an unknown challenge":      {`{listen: [{https: ":80", tls: {acme: {challenges: [dns-01]}}}], routes: []}`, false},
		"a bad duration":            {`{listen: [{http: ":80"}], defaults: {timeout: {idle: 5 minutes}}}`, false},
		"a bad size":                {`{listen: [{http: ":80"}], defaults: {body: {max: 65536}}}`, false},
		"a bad mode":                {`{listen: [{http: ":80"}], defaults: {mode: worm}}`, false},
		"a route of no kind":        {`{listen: [{http: ":80"}], routes: [{path: /}]}`, false},
		"a route without a path":    {`{listen: [{http: ":80"}], routes: [{files: {root: a}}]}`, false},
	} {
		err := schema.Validate(asJSON(t, []byte(c.yaml)))
		assert.Equal(t, c.fits, err == nil, "%s: %v", name, err)
	}
}
