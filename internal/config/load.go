package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"warmcgi/internal/cgroup"
	"warmcgi/internal/confine"
)

// Options change how a file is read. The zero value is right for a server.
type Options struct {
	// LookupEnv finds the variables of ${VAR}. Nil is os.LookupEnv.
	LookupEnv func(name string) (value string, set bool)

	// LookupUser finds the user of a route; nil is confine.Lookup.
	LookupUser func(name string) (*confine.User, error)

	// Groups tells why limits of a script's processes together can't be kept; nil is cgroup.Possible.
	Groups func() map[string]error
}

// Load reads a file. What is wrong with its contents comes back as Errors.
func Load(file string, opt Options) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return Parse(file, data, opt)
}

// Parse is Load for a file already read. Its name is needed for messages and for relative paths.
func Parse(file string, data []byte, opt Options) (*Config, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("cannot tell the folder of %s: %w", file, err)
	}
	if opt.LookupEnv == nil {
		opt.LookupEnv = os.LookupEnv
	}
	if opt.LookupUser == nil {
		opt.LookupUser = confine.Lookup
	}
	if opt.Groups == nil {
		opt.Groups = cgroup.Possible
	}
	opt.Groups = sync.OnceValue(opt.Groups)         // however many routes ask
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // some editors begin UTF-8 files with it
	src := newSource(file, filepath.Dir(abs), data)
	body, bad := src.parse(data)
	if bad != nil {
		return nil, Errors{bad}
	}
	c := &Config{src: src}
	c.setDefaults(nil)
	d := &decoder{src: src, root: c, lookup: opt.LookupEnv, user: opt.LookupUser, groups: opt.Groups, anchors: map[string]ast.Node{}, bad: map[string]bool{}}
	d.decodeRoot(body, reflect.ValueOf(c).Elem())
	if !d.bad[""] { // else nothing of it was read
		d.validate()
	}
	c.resolve()

	if len(d.errs) > 0 {
		sortErrors(d.errs)
		return nil, Errors(d.errs)
	}
	return c, nil
}

func (d *decoder) decodeRoot(body ast.Node, v reflect.Value) {
	d.src.marks[""] = mark{key: position{1, 1}, value: position{1, 1}}
	if body == nil {
		body = &ast.MappingNode{} // an empty file lacks what is required, as any other does
	} else if _, isMap := body.(*ast.MappingNode); isMap {
		d.src.marks[""] = mark{key: start(body), value: start(body)}
	}
	d.decodeStruct(body, v, "")
}

// parse gives the syntax tree of the file's only document, or the first error of syntax.
func (s *source) parse(data []byte) (ast.Node, *Error) {
	if bad := s.validText(); bad != nil {
		return nil, bad
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, s.syntaxError(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case isEmpty(doc.Body):
		case body != nil:
			return nil, s.at(start(doc.Body), "", "a second document begins here; the file must be one")
		default:
			body = doc.Body
		}
	}
	return body, nil
}

// isEmpty tells whether a document says nothing: comments, or a directive such as %YAML 1.2.
func isEmpty(n ast.Node) bool {
	switch n.(type) {
	case nil, *ast.CommentGroupNode, *ast.DirectiveNode:
		return true
	}
	return false
}

func (s *source) syntaxError(err error) *Error {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		return &Error{File: s.file, Msg: "is not YAML: " + err.Error()}
	}
	p := syntax.Token.Position
	at := position{p.Line, p.Column}
	e := s.at(at, "", "is not YAML: %s", syntax.Message)
	if syntax.Token.Value == "{" && p.Column > 1 && strings.HasSuffix(firstRunes(e.Source, p.Column-1), "$") {
		at.column--
		return s.at(at, "", `is not YAML: between { } or [ ] a value with ${VAR} must be in quotes`)
	}
	if indent := e.Source[:len(e.Source)-len(strings.TrimLeft(e.Source, " \t"))]; strings.Contains(indent, "\t") {
		e.Msg += " (indent with spaces, not tabs)"
	}
	return e
}
