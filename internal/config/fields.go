package config

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// field is a struct field that is a key of the file.
type field struct {
	reflect.StructField
	name  string
	owner reflect.Type // the struct whose source holds the field's doc comment
}

func (f field) required() bool { return f.Tag.Get("jsonschema") == "required" }

// keysOf lists the keys of a struct, those of embedded structs in place.
func keysOf(t reflect.Type) []field {
	var keys []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("yaml") == ",inline" {
			for _, inner := range keysOf(f.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				keys = append(keys, inner)
			}
			continue
		}
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			keys = append(keys, field{f, name, t})
		}
	}
	return keys
}

// scalarText is a single value as written, without its quotes.
func scalarText(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return t.Value.Value, true
	case ast.ScalarNode:
		return strings.TrimSpace(t.GetToken().Value), true
	}
	return "", false
}

// isText tells whether a single value is text, and not a number, true or false.
func isText(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a block of keys"
	case *ast.SequenceNode:
		return "a list"
	}
	return "one value"
}
