package config

import (
	"encoding"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"warmcgi/internal/confine"
)

// decoder fills the structs from the syntax tree. It is our own because the library's stops at the first error,
// and because every key's place must be known later, to say where a combination of keys is wrong.
type decoder struct {
	src     *source
	root    *Config
	lookup  func(string) (string, bool)
	user    func(string) (*confine.User, error)
	groups  func() map[string]error
	anchors map[string]ast.Node
	errs    []*Error
	bad     map[string]bool // key paths that have an error
}

// defaulter is a struct that does not begin empty. What the file says is written over it.
type defaulter interface{ setDefaults(root *Config) }

func (d *decoder) fail(e *Error) {
	d.errs = append(d.errs, e)
	d.bad[e.Key] = true
}

// decode reads n, which stands at key, into v.
func (d *decoder) decode(n ast.Node, v reflect.Value, key string, tag reflect.StructTag) {
	n, ok := d.unwrap(n, key)
	if !ok {
		return
	}
	m := d.src.marks[key]
	m.value = start(n)
	if m.key == (position{}) {
		m.key = m.value // an item of a list
	}
	d.src.marks[key] = m

	if _, ok := n.(*ast.NullNode); ok {
		d.fail(d.src.key(key, "has no value (give it one, or remove the key)"))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if t, ok := v.Addr().Interface().(defaulter); ok {
		t.setDefaults(d.root)
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.decodeScalar(n, v, key, tag)
		return
	}
	if s, ok := v.Addr().Interface().(short); ok {
		if _, one := scalarText(n); one {
			d.decodeShort(n, v, key, s.short())
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, v, key)
	case reflect.Slice:
		d.decodeList(n, v, key, tag)
	case reflect.Map:
		d.decodeMap(n, v, key, tag)
	default:
		d.decodeScalar(n, v, key, tag)
	}
}

// short is a block that may be written as one value: that of the key which it names.
type short interface{ short() string }

func (d *decoder) decodeShort(n ast.Node, v reflect.Value, key, name string) {
	for _, f := range keysOf(v.Type()) {
		if f.name == name {
			d.decodeScalar(n, v.FieldByIndex(f.Index), key, f.Tag)
		}
	}
}

// unwrap looks through anchors and aliases.
func (d *decoder) unwrap(n ast.Node, key string) (ast.Node, bool) {
	switch t := n.(type) {
	case *ast.AnchorNode:
		inner, ok := d.unwrap(t.Value, key)
		if ok {
			d.anchors[t.Name.String()] = inner
		}
		return inner, ok
	case *ast.AliasNode:
		name := t.Value.String()
		if inner, ok := d.anchors[name]; ok {
			return inner, true
		}
		d.fail(d.src.at(start(n), key, "no anchor &%s stands above (put text that begins with * in quotes)", name))
		return nil, false
	case *ast.TagNode:
		d.fail(d.src.at(start(n), key, "tags such as %s are not known here (put text that begins with ! in quotes)", t.Start.Value))
		return nil, false
	}
	return n, true
}

// start is where a node begins; the library counts a block mapping from its first colon.
func start(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return start(m.Values[0].Key)
	}
	p := n.GetToken().Position
	return position{p.Line, p.Column}
}

// pair is one key of a mapping.
type pair struct {
	name  string
	at    position
	value ast.Node
}

// pairs lists a mapping's keys, without those it has twice.
func (d *decoder) pairs(n ast.Node, key string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch t := n.(type) {
	case *ast.MappingNode:
		values = t.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{t}
	default:
		d.fail(d.src.value(key, "must be a block of keys, not %s", describe(n)))
		return nil, false
	}
	var pairs []pair
	seen := map[string]position{}
	for _, v := range values {
		at := start(v.Key)
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			d.fail(d.src.at(at, key, "the merge key << is not known here (put what routes share under defaults)"))
			continue
		}
		k, ok := v.Key.(ast.ScalarNode)
		if !ok {
			d.fail(d.src.at(at, key, "a key must be plain text"))
			continue
		}
		name := k.GetToken().Value
		if first, twice := seen[name]; twice {
			d.fail(d.src.at(at, childKey(key, name), "stands here twice (first in line %d)", first.line))
			continue
		}
		seen[name] = at
		pairs = append(pairs, pair{name, at, v.Value})
	}
	return pairs, true
}

func (d *decoder) decodeStruct(n ast.Node, v reflect.Value, key string) {
	pairs, ok := d.pairs(n, key)
	if !ok {
		return
	}
	byName := map[string]pair{}
	for _, p := range pairs {
		byName[p.name] = p
	}
	fields := keysOf(v.Type())
	// In the order of the struct, not of the file: defaults come before the routes that build on them.
	for _, f := range fields {
		child := childKey(key, f.name)
		p, given := byName[f.name]
		if given {
			delete(byName, f.name)
			d.src.marks[child] = mark{key: p.at, value: p.at}
			d.decode(p.value, v.FieldByIndex(f.Index), child, f.Tag)
		} else if f.required() {
			d.fail(d.src.key(child, "is missing"))
		}
	}
	for _, p := range pairs {
		if _, unknown := byName[p.name]; unknown {
			d.fail(d.src.at(p.at, childKey(key, p.name), "unknown key%s", hint(p.name, key, fields)))
		}
	}
}

// hint says what an unknown key may have been meant to be.
func hint(name, parent string, fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if s := Suggest(name, names); s != "" {
		return fmt.Sprintf(" (did you mean %s?)", s)
	}
	if parent == "" {
		for _, f := range keysOf(reflect.TypeFor[Settings]()) {
			if f.name == name {
				return " (it belongs under defaults or in a route)"
			}
		}
		for _, f := range keysOf(reflect.TypeFor[Route]()) {
			if f.name == name {
				return " (it belongs in a route)"
			}
		}
	}
	return ""
}

// oneOrMore is a list that may be written as its one item.
type oneOrMore interface{ oneOrMore() }

func (d *decoder) decodeList(n ast.Node, v reflect.Value, key string, tag reflect.StructTag) {
	seq, ok := n.(*ast.SequenceNode)
	_, single := scalarText(n)
	if _, may := v.Interface().(oneOrMore); may && single {
		list := reflect.MakeSlice(v.Type(), 1, 1)
		d.decode(n, list.Index(0), key+"[0]", tag)
		v.Set(list)
		return
	}
	if !ok {
		d.fail(d.src.value(key, "must be a list, not %s (put it in [ ])", describe(n)))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.decode(item, list.Index(i), fmt.Sprintf("%s[%d]", key, i), tag)
	}
	v.Set(list)
}

func (d *decoder) decodeMap(n ast.Node, v reflect.Value, key string, tag reflect.StructTag) {
	pairs, ok := d.pairs(n, key)
	if !ok {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	_, isEnv := v.Interface().(Env)
	for _, p := range pairs {
		child := childKey(key, p.name)
		d.src.marks[child] = mark{key: p.at, value: p.at}
		value := reflect.New(v.Type().Elem()).Elem()
		before := len(d.errs)
		if isEnv {
			d.decode(p.value, value, child, `scalar:"any"`)
		} else {
			d.decode(p.value, value, child, tag)
		}
		if isEnv && len(d.errs) == before {
			if err := checkVariable(p.name, value.String()); err != nil {
				d.fail(d.src.key(child, "%v", err))
			}
		}
		v.SetMapIndex(reflect.ValueOf(p.name), value)
	}
}

func (d *decoder) decodeScalar(n ast.Node, v reflect.Value, key string, tag reflect.StructTag) {
	text, ok := scalarText(n)
	if !ok {
		hint := ""
		if describe(n) == "a block of keys" && v.Kind() == reflect.String { // {preload: [A::B]}
			hint = " (text with a colon in it wants quotes)"
		}
		d.fail(d.src.value(key, "must be one value, not %s%s", describe(n), hint))
		return
	}
	expanded, bad, err := expand(text, d.lookup)
	if err != nil {
		d.fail(d.src.at(d.within(start(n), bad), key, "%v", err))
		return
	}
	m := d.src.marks[key]
	m.text = expanded
	d.src.marks[key] = m

	switch t := v.Addr().Interface().(type) {
	case *Address:
		if err = t.UnmarshalText([]byte(expanded)); err == nil {
			err = t.resolve(d.src.dir)
		}
	case encoding.TextUnmarshaler:
		err = t.UnmarshalText([]byte(expanded))
	case word:
		err = setWord(v, t, expanded)
	default:
		// A number in quotes is text, but one that comes out of a variable may be either.
		fromVariable := expanded != text
		err = d.setPlain(v, expanded, isText(n) || fromVariable, !isText(n) || fromVariable, tag)
	}
	if err != nil {
		d.fail(d.src.value(key, "%v", err))
	}
}

// within finds the piece of a value that an error is about, if it stands in the value's first line.
func (d *decoder) within(p position, piece string) position {
	rest := []rune(d.src.lines[p.line-1])[p.column-1:]
	if i := strings.Index(string(rest), piece); i > 0 {
		p.column += len([]rune(string(rest)[:i]))
	}
	return p
}

func setWord(v reflect.Value, w word, text string) error {
	for _, known := range w.words() {
		if text == known {
			v.SetString(text)
			return nil
		}
	}
	if s := Suggest(text, w.words()); s != "" {
		return fmt.Errorf("%q is not one of %s (did you mean %s?)", text, strings.Join(w.words(), ", "), s)
	}
	return fmt.Errorf("%q is not one of %s", text, strings.Join(w.words(), ", "))
}

func (d *decoder) setPlain(v reflect.Value, text string, asText, asNumber bool, tag reflect.StructTag) error {
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil || !asNumber {
			return fmt.Errorf("%q is not a whole number", text)
		}
		if n < 0 {
			return fmt.Errorf("%d is negative", n)
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		if text != "true" && text != "false" || !asNumber {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	default:
		if !asText && tag.Get("scalar") != "any" {
			return fmt.Errorf("must be text (write %q)", text)
		}
		kind, isPath := tag.Lookup("path")
		if isPath {
			if text == "" || strings.ContainsRune(text, 0) {
				return fmt.Errorf("%q is not a path", text)
			}
			text = d.resolve(text, kind)
		}
		v.SetString(text)
	}
	return nil
}

// resolve makes a path absolute, from the file's folder.
func (d *decoder) resolve(path, kind string) string {
	switch {
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	case strings.HasPrefix(kind, "absolute"), strings.HasPrefix(kind, "stdout") && (path == "stdout" || path == "stderr"):
		return path
	}
	return filepath.Join(d.src.dir, path)
}
