package supply

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Page is docs/licences.md. It says nothing that differs between versions of Go, as the machines that it is made on have several.
func Page(ours Module, modules []Licensed) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Licences

What is linked into `+"`gateway` and `shim`"+` beside our own code, as the Debian package has it (Linux, without cgo): %d modules, %d of which
we import ourselves, and Go's standard library. Licences are what the modules' own files say, as github.com/google/licensecheck reads
them: those in a module's root, and those beside its packages that are linked. Several licences of one module all apply, each to a part
of it. The files themselves are in the package: /usr/share/doc/warmcgi/licences.txt.gz.

This page is made by `+"`make licences`"+`, which fails for a module without a licence, with one that is not known, or with one that is
none of these: %s.

| module | version | licence | imported by |
|---|---|---|---|
`, len(modules)-1, len(ours.Needs)-1, strings.Join(Allowed(), ", "))
	for _, m := range modules {
		by := []string{"us"}
		if m.Path == Standard {
			fmt.Fprintf(&b, "| Go's standard library and runtime | that of the build | %s | all |\n", m.Expression())
			continue
		}
		if !slices.Contains(ours.Needs, m.Path) {
			by = nil
			for _, other := range modules {
				if slices.Contains(other.Needs, m.Path) {
					by = append(by, other.Path)
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Path, m.Version, m.Expression(), strings.Join(by, ", "))
	}
	return b.String()
}

// Copyright is Debian's copyright file, in the form that machines read (DEP-5). What is under Files is no file of ours: it
// stands for the module's packages in the programs.
func Copyright(modules []Licensed) string {
	var b strings.Builder
	b.WriteString(`Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: warmcgi
Comment: The programs contain Go's standard library and the modules below; a
 paragraph's Files are a module's packages in the programs. The modules' licence
 files and notices, word for word, are in
 /usr/share/doc/warmcgi/licences.txt.gz.

Files: *
Copyright: The warmcgi authors
License: none-stated
 The sources of warmcgi do not say yet under which licence they are.
`)
	var used []string
	for _, m := range modules {
		names := m.Holders
		if len(names) == 0 {
			names = []string{"The authors of " + m.Path}
		}
		files := m.Path + "@" + m.Version + "/*"
		fmt.Fprintf(&b, "\nFiles: %s\nCopyright: %s\nLicense: %s\n", files, strings.Join(names, "\n           "), strings.Join(m.Licences, " and "))
		if slices.Contains(m.Licences, "MPL-2.0") { // its section 3.2 (a)
			fmt.Fprintf(&b, "Comment: Its sources, which are not changed: go mod download %s@%s\n", m.Path, m.Version)
		}
		used = append(used, m.Licences...)
	}
	slices.Sort(used)
	for _, id := range slices.Compact(used) {
		fmt.Fprintf(&b, "\nLicense: %s\n", id)
		if slices.Contains([]string{"Apache-2.0", "CC0-1.0", "MPL-2.0"}, id) { // these files are Debian's
			fmt.Fprintf(&b, " On Debian systems the text is in /usr/share/common-licenses/%s, too.\n", id)
		}
		b.WriteString(" As each module has it: /usr/share/doc/warmcgi/licences.txt.gz\n")
	}
	return b.String()
}

// Texts writes all licence files and notices word for word, each text once.
func Texts(w io.Writer, modules []Licensed) error {
	type text struct {
		of   []string
		text []byte
	}
	var texts []*text
	for _, m := range modules {
		for _, f := range m.Files {
			of := fmt.Sprintf("%s %s: %s", m.Path, m.Version, f.Name)
			i := slices.IndexFunc(texts, func(t *text) bool { return bytes.Equal(t.text, f.Text) })
			if i < 0 {
				texts = append(texts, &text{text: f.Text})
				i = len(texts) - 1
			}
			texts[i].of = append(texts[i].of, of)
		}
	}
	line := strings.Repeat("=", 80)
	for _, t := range texts {
		if _, err := fmt.Fprintf(w, "%s\n%s\n%s\n\n%s\n", line, strings.Join(t.of, "\n"), line, t.text); err != nil {
			return fmt.Errorf("the licences' texts: %w", err)
		}
	}
	return nil
}
