package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference is the manual of the configuration file, in Markdown: every key with its type, default and text.
func Reference() string {
	d, err := readDocs()
	if err != nil {
		panic("bug: the embedded source does not parse: " + err.Error())
	}
	r := &reference{docs: d, shown: map[reflect.Type]string{}}
	_, about, _ := strings.Cut(d["Config"], "Config is the whole file. ") // which a manual need not say
	r.printf("# Configuration file\n\nOne YAML file. %s\n\n## Values\n\n", about)
	for _, t := range []reflect.Type{
		reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[Rate](), reflect.TypeFor[Share](), reflect.TypeFor[Processors](), reflect.TypeFor[Address](),
		reflect.TypeFor[FileMode](), reflect.TypeFor[Prefix](), reflect.TypeFor[Host](), reflect.TypeFor[Env](),
	} {
		_, text, _ := strings.Cut(d[t.Name()], " ") // without the type's name
		r.printf("- **%s** %s\n", typeText(t, ""), text)
	}
	r.printf("\n## Keys\n\n")
	r.block(reflect.TypeFor[Config](), "")
	return r.String()
}

type reference struct {
	strings.Builder
	docs  docs
	shown map[reflect.Type]string // blocks already explained, and where
}

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

func (r *reference) block(t reflect.Type, key string) {
	if key != "" {
		r.shown[t] = key
	}
	inherited := false
	for _, f := range keysOf(t) {
		if f.owner == t {
			r.key(f, childKey(key, f.name))
			continue
		}
		if !inherited { // a route has every key of defaults, explained there
			r.printf("### `%s.*`\n\n%s See `%s`.\n\n", key, r.docs[t.Name()+"."+f.owner.Name()], r.shown[f.owner])
			inherited = true
		}
	}
}

func (r *reference) key(f field, key string) {
	text, def := r.docs.field(f)
	r.printf("### `%s`\n\n*%s", key, typeText(f.Type, f.Tag.Get("path")))
	if f.required() {
		r.printf(", required")
	}
	if def != "" {
		r.printf("*, default `%s`\n\n%s\n\n", def, text)
	} else {
		r.printf("*\n\n%s\n\n", text)
	}
	inner := elem(f.Type)
	if inner.Kind() != reflect.Struct || isScalar(inner) {
		return
	}
	if f.Type.Kind() == reflect.Slice {
		key += "[]"
	}
	if at, ok := r.shown[inner]; ok {
		r.printf("Its keys are those of `%s`.\n\n", at)
		return
	}
	r.block(inner, key)
}

// elem looks through pointers and lists.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// isScalar tells whether a struct is written as one value.
func isScalar(t reflect.Type) bool {
	return t == reflect.TypeFor[Address]() || t == reflect.TypeFor[Prefix]()
}

// typeText is what may stand at a key, in the manual's words; path is what kind of path it is, if it is one.
func typeText(t reflect.Type, path string) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Rate]():
		return "rate"
	case reflect.TypeFor[Processors]():
		return "number of processors"
	case reflect.TypeFor[Share]():
		return "share"
	case reflect.TypeFor[Address]():
		return "address"
	case reflect.TypeFor[FileMode]():
		return "file mode"
	case reflect.TypeFor[Prefix]():
		return "network"
	case reflect.TypeFor[Host]():
		return "host"
	case reflect.TypeFor[Hosts]():
		return "host, or list of: host"
	case reflect.TypeFor[Env]():
		return "environment variables"
	}
	if w, ok := reflect.Zero(t).Interface().(word); ok {
		return strings.Join(w.words(), " | ")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeText(t.Elem(), path)
	case reflect.Struct:
		if s, ok := reflect.Zero(t).Interface().(short); ok {
			for _, f := range keysOf(t) {
				if f.name == s.short() {
					return "block, or " + typeText(f.Type, path) + " alone"
				}
			}
		}
		return "block"
	case reflect.Slice:
		return "list of: " + typeText(t.Elem(), path)
	case reflect.Map:
		return "block of: " + typeText(t.Elem(), path)
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true | false"
	}
	if path != "" {
		return path
	}
	return "text"
}
