package config

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
)

// Schema is a JSON Schema (draft 2020-12) of the configuration file, for editors. It refuses less than Load does.
func Schema() ([]byte, error) {
	d, err := readDocs()
	if err != nil {
		return nil, err
	}
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		Mapper:                     schemaOf,
		CommentMap:                 map[string]string{},
	}
	pkg := reflect.TypeFor[Config]().PkgPath()
	for name, text := range d {
		r.CommentMap[pkg+"."+name] = text
	}
	s := r.Reflect(&Config{})
	s.Title = "Gateway configuration"
	if err := d.addDefaults(s, reflect.TypeFor[Config](), s.Definitions); err != nil {
		return nil, err
	}
	return json.MarshalIndent(s, "", "  ")
}

// addDefaults moves the default of each key from its text to where editors look for it.
func (d docs) addDefaults(s *jsonschema.Schema, t reflect.Type, defs jsonschema.Definitions) error {
	for _, f := range keysOf(t) {
		p, ok := s.Properties.Get(f.name)
		if !ok {
			return fmt.Errorf("the schema lacks %s.%s", t.Name(), f.name)
		}
		text, def := d.field(f)
		p.Description = text
		if def != "" {
			if err := yaml.Unmarshal([]byte(def), &p.Default); err != nil {
				return fmt.Errorf("the default of %s.%s: %w", t.Name(), f.name, err)
			}
		}
		inner := elem(f.Type)
		if next, ok := defs[inner.Name()]; ok && inner.Kind() == reflect.Struct && !isScalar(inner) {
			if err := d.addDefaults(next, inner, defs); err != nil {
				return err
			}
		}
	}
	return nil
}

// orVariable also lets ${VAR} stand for the value.
func orVariable(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Pattern: `\$\{[A-Za-z_]`}}}
}

// schemaOf describes the types that cannot have a method for it, or share one way.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	if w, ok := reflect.Zero(t).Interface().(word); ok {
		s := &jsonschema.Schema{Type: "string"}
		for _, word := range w.words() {
			s.Enum = append(s.Enum, word)
		}
		return orVariable(s)
	}
	switch t {
	case reflect.TypeFor[int]():
		return orVariable(&jsonschema.Schema{Type: "integer", Minimum: "0"})
	case reflect.TypeFor[bool]():
		return orVariable(&jsonschema.Schema{Type: "boolean"})
	}
	return nil
}

// JSONSchema describes a duration.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$`}),
		{Const: 0},
	}}
}

// JSONSchema describes a size.
func (Size) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(0|[0-9]+(B|KiB|MiB|GiB|TiB))$`}),
		{Const: 0},
	}}
}

// JSONSchema describes a rate.
func (Rate) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(0|[0-9]{1,9}/[smhd])$`}),
		{Const: 0},
	}}
}

// JSONSchema describes a number of processors.
func (Processors) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		orVariable(&jsonschema.Schema{Type: "string", Pattern: `^[0-9.]+$`}),
		{Type: "number", Minimum: "0"},
	}}
}

// JSONSchema describes a share.
func (Share) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		orVariable(&jsonschema.Schema{Type: "string", Pattern: `^[0-9.]+%?$`}),
		{Type: "number", Minimum: "0", Maximum: "1"},
	}}
}

// JSONSchema describes an address.
func (Address) JSONSchema() *jsonschema.Schema {
	return orVariable(&jsonschema.Schema{Type: "string", Pattern: `^((tls:)?[^/ ]*:[0-9]+|(unix|systemd):.+)$`})
}

// JSONSchema describes a file mode.
func (FileMode) JSONSchema() *jsonschema.Schema {
	return orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(0o)?0*[0-7]{1,3}$`})
}

// JSONSchema describes a network.
func (Prefix) JSONSchema() *jsonschema.Schema {
	return orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(unix|[0-9.]+(/[0-9]+)?|[0-9A-Fa-f:.]+(/[0-9]+)?)$`})
}

// JSONSchema describes the name of a site.
func (Host) JSONSchema() *jsonschema.Schema {
	return orVariable(&jsonschema.Schema{Type: "string", Pattern: `^(\*\.)?[^*/ ]+$`})
}

// JSONSchema describes one name, or several.
func (Hosts) JSONSchema() *jsonschema.Schema {
	one := Host("").JSONSchema()
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, {Type: "array", Items: one}}}
}

// JSONSchema describes environment variables.
func (Env) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{
		AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}},
	}}
}

// JSONSchemaExtend adds which keys go together.
func (ParamStep) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = needsOneOf("set", "unset", "rename", "use")
}

func needsOneOf(keys ...string) []*jsonschema.Schema {
	s := make([]*jsonschema.Schema, len(keys))
	for i, k := range keys {
		s[i] = &jsonschema.Schema{Required: []string{k}}
	}
	return s
}

// JSONSchemaExtend adds that the address may stand alone.
func (Admin) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Type, s.AnyOf = "", []*jsonschema.Schema{Address{}.JSONSchema(), {Type: "object"}}
}

// JSONSchemaExtend adds which keys go together.
func (Listener) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = needsOneOf("http", "https", "fastcgi")
	s.DependentRequired = map[string][]string{"https": {"tls"}, "tls": {"https"}, "scripts": {"fastcgi"}, "redirect": {"http"}, "redirect_port": {"redirect"}}
}

// JSONSchemaExtend adds which keys go together.
func (DoorTLS) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = []*jsonschema.Schema{{Required: []string{"cert", "key"}}, {Required: []string{"acme"}}}
}

// JSONSchemaExtend adds which keys go together.
func (Route) JSONSchemaExtend(s *jsonschema.Schema) {
	s.AnyOf = needsOneOf("cgi", "fastcgi", "files", "php", "redirect")
}

// JSONSchemaExtend adds which keys go together.
func (CGI) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = needsOneOf("program", "dir")
	s.DependentRequired = map[string][]string{
		"args": {"program"}, "only": {"dir"}, "index": {"dir"}, "listing": {"dir"},
	}
}

// JSONSchemaExtend adds which keys go together.
func (FastCGI) JSONSchemaExtend(s *jsonschema.Schema) {
	s.OneOf = needsOneOf("servers", "dns", "program")
	s.DependentRequired = map[string][]string{"args": {"program"}, "processes": {"program"}, "refresh": {"dns"}}
}
