package supply

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Product is what the bill is of.
type Product struct {
	Version string
	Commit  string
	Time    time.Time // of the commit: the bill of the same sources has the same bytes
}

// Bill is the bill of materials of built programs, in CycloneDX. Which module of which version is in which program is what the linker
// has written into that program; who needs whom, and the licences, come from the sources.
func Bill(ctx context.Context, to Target, p Product, programs ...string) (*cdx.BOM, error) {
	_, modules, err := Linked(ctx, to, Programs()...)
	if err != nil {
		return nil, err
	}
	licensed, err := License(modules)
	if err != nil {
		return nil, err
	}
	product := cdx.Component{
		BOMRef: "warmcgi", Type: cdx.ComponentTypeApplication, Name: "warmcgi", Version: p.Version,
		Properties: &[]cdx.Property{{Name: "warmcgi:commit", Value: p.Commit}, {Name: "warmcgi:target", Value: "linux/" + to.Arch}},
	}
	var components []cdx.Component
	needs := []cdx.Dependency{{Ref: product.BOMRef, Dependencies: &[]string{}}}
	found := map[string]string{}
	for _, file := range programs {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("which modules are in %s: %w", file, err)
		}
		if how := unlike(info, to); how != "" {
			return nil, fmt.Errorf("%s was not built as packaging/deb builds it, so other code may be in it: %s", file, how)
		}
		program, err := programComponent(file, p.Version)
		if err != nil {
			return nil, err
		}
		refs := []string{}
		for _, m := range inProgram(info) {
			found[m.Path] = m.Version
			refs = append(refs, purl(m.Path, m.Version))
		}
		slices.Sort(refs)
		components = append(components, program)
		needs = append(needs, cdx.Dependency{Ref: program.BOMRef, Dependencies: &refs})
		*needs[0].Dependencies = append(*needs[0].Dependencies, program.BOMRef)
	}
	for _, m := range licensed {
		if found[m.Path] != m.Version {
			return nil, fmt.Errorf("module %s: the sources have %s, the programs %q: they are not of these sources", m.Path, m.Version, found[m.Path])
		}
		delete(found, m.Path)
		c, err := moduleComponent(m)
		if err != nil {
			return nil, err
		}
		components = append(components, c)
		refs := []string{}
		for _, need := range m.Needs {
			i := slices.IndexFunc(licensed, func(l Licensed) bool { return l.Path == need })
			refs = append(refs, purl(need, licensed[i].Version))
		}
		needs = append(needs, cdx.Dependency{Ref: c.BOMRef, Dependencies: &refs})
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("in the programs, but not in the sources: %v", found)
	}

	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{
		Timestamp:  p.Time.UTC().Format(time.RFC3339),
		Component:  &product,
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhaseBuild}},
	}
	bill.Components, bill.Dependencies = &components, &needs
	bill.SerialNumber, err = serial(bill)
	return bill, err
}

// Encode writes a bill as JSON.
func Encode(bill *cdx.BOM) ([]byte, error) {
	var b bytes.Buffer
	// Of the versions that scanners read by now the newest but one.
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bill, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

// inProgram are the modules that a program says it has, and the standard library.
func inProgram(info *debug.BuildInfo) []debug.Module {
	modules := []debug.Module{{Path: Standard, Version: info.GoVersion}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		modules = append(modules, *m)
	}
	return modules
}

// unlike is a way of building that links what the sources' list does not have.
func unlike(info *debug.BuildInfo, to Target) string {
	wants := map[string]string{"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": to.Arch, "-tags": "", "GOEXPERIMENT": ""}
	for _, s := range info.Settings {
		if want, ok := wants[s.Key]; ok && s.Value != want {
			return s.Key + "=" + s.Value
		}
	}
	return ""
}

func programComponent(file, version string) (cdx.Component, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("bill of materials: %w", err)
	}
	name := filepath.Base(file)
	return cdx.Component{
		BOMRef: "warmcgi/" + name, Type: cdx.ComponentTypeApplication, Name: name, Version: version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(content))}},
	}, nil
}

func moduleComponent(m Licensed) (cdx.Component, error) {
	c := cdx.Component{
		BOMRef: purl(m.Path, m.Version), Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
		PackageURL: purl(m.Path, m.Version), Scope: cdx.ScopeRequired,
		Licenses: &cdx.Licenses{{Expression: m.Expression()}},
	}
	if m.Path == Standard {
		return c, nil
	}
	// go.sum's h1 is the SHA-256 of a list of the module's files.
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return cdx.Component{}, fmt.Errorf("module %s: no sum: %q", m.Path, m.Sum)
	}
	c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return c, nil
}

// purl is the package URL by which scanners look a module up. The standard library's version has no "go" in it there.
func purl(path, version string) string {
	if path == Standard {
		return "pkg:golang/stdlib@" + strings.TrimPrefix(version, "go")
	}
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// serial is a UUID (version 5) made of what is in the bill.
func serial(bill *cdx.BOM) (string, error) {
	text, err := Encode(bill)
	if err != nil {
		return "", err
	}
	u := sha1.Sum(text)
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]), nil
}
