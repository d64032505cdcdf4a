package config

import (
	"embed"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

// The manual is made of this package's own source, so that there is no copy of it to keep up to date.
//
//go:embed config.go admin.go settings.go owner.go route.go sandbox.go scriptlimits.go types.go address.go hosts.go fronting.go tracing.go acme.go
var sources embed.FS

// docs are the doc comments, each in one line, by "Type" and "Type.Field".
type docs map[string]string

func readDocs() (docs, error) {
	d := docs{}
	entries, err := sources.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		src, err := sources.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), src, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.TYPE {
				d.add(g)
			}
		}
	}
	return d, nil
}

func (d docs) add(g *ast.GenDecl) {
	for _, s := range g.Specs {
		t, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		d[t.Name.Name] = oneLine(g.Doc)
		body, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range body.Fields.List {
			for _, name := range f.Names {
				d[t.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
			if embedded, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
				d[t.Name.Name+"."+embedded.Name] = oneLine(f.Doc)
			}
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

var defaultClause = regexp.MustCompile(`\s*Default: (.+)\.$`)

// field is a field's text, and its default as it would stand in the file; empty if it has none.
func (d docs) field(f field) (text, def string) {
	text = d[f.owner.Name()+"."+f.Name]
	if m := defaultClause.FindStringSubmatchIndex(text); m != nil {
		return text[:m[0]], text[m[2]:m[3]]
	}
	return text, ""
}
