package supply

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// built are the programs as packaging/deb builds them, in a folder that TestMain removes.
var built struct {
	dir   string
	files func() ([]string, error)
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built.dir, err = os.MkdirTemp("", "warmcgi-supply-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(built.dir)
		built.files = sync.OnceValues(func() ([]string, error) {
			args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", built.dir + "/"}, Programs()...)
			_, err := target.run(context.Background(), args...)
			return []string{filepath.Join(built.dir, "gateway"), filepath.Join(built.dir, "shim")}, err
		})
		return m.Run()
	}())
}

var product = Product{Version: "1.2.3", Commit: "0123456789ab", Time: time.Unix(1700000000, 0)}

// theBill is that of the built programs, as it is read again.
func theBill(t *testing.T) *cdx.BOM {
	t.Helper()
	files, err := built.files()
	require.NoError(t, err)
	bill, err := Bill(t.Context(), target, product, files...)
	require.NoError(t, err)
	text, err := Encode(bill)
	require.NoError(t, err)
	var read cdx.BOM
	require.NoError(t, cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&read))
	return &read
}

// says are the modules and versions that `go version -m` reads from a program.
func says(t *testing.T, file string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "version", "-m", file).Output()
	require.NoError(t, err)
	modules := map[string]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if f[0] == "dep" || f[0] == "=>" {
			modules[f[1]] = f[2]
		}
	}
	require.Greater(t, len(modules), 30)
	return modules
}

func TestTheBillHasEveryModuleOfEachProgramWithItsVersion(t *testing.T) {
	bill := theBill(t)
	components, needs := map[string]cdx.Component{}, map[string][]string{}
	for _, c := range *bill.Components {
		components[c.BOMRef] = c
	}
	for _, d := range *bill.Dependencies {
		if d.Dependencies != nil {
			needs[d.Ref] = *d.Dependencies
		}
	}
	files, err := built.files()
	require.NoError(t, err)
	inSome := map[string]bool{"pkg:golang/stdlib@" + strings.TrimPrefix(output(t, "go", "env", "GOVERSION"), "go"): true}
	for _, file := range files {
		for path, version := range says(t, file) {
			c := components["pkg:golang/"+path+"@"+version]
			assert.Equal(t, path, c.Name)
			assert.Equal(t, version, c.Version, path)
			assert.Contains(t, needs["warmcgi/"+filepath.Base(file)], c.BOMRef)
			inSome[c.BOMRef] = true
			require.NotNil(t, c.Licenses, path)
			assert.Subset(t, Allowed(), strings.Split((*c.Licenses)[0].Expression, " AND "))
		}
	}
	for ref, c := range components {
		assert.True(t, inSome[ref] || c.Type == cdx.ComponentTypeApplication, "%s is in no program", ref)
		for _, need := range needs[ref] {
			assert.Contains(t, components, need, "which %s needs", ref)
		}
	}
	assert.Equal(t, []string{"warmcgi/gateway", "warmcgi/shim"}, needs["warmcgi"])
	assert.Contains(t, needs["pkg:golang/"+moduleAt(t, "github.com/caddyserver/certmagic")], "pkg:golang/"+moduleAt(t, "github.com/mholt/acmez/v3"))
}

func TestTheBillIsWhatItsSchemaSays(t *testing.T) {
	dir := output(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")
	compiler := jsonschema.NewCompiler()
	for url, name := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		f, err := os.Open(filepath.Join(dir, "schema", name))
		require.NoError(t, err)
		defer f.Close()
		schema, err := jsonschema.UnmarshalJSON(f)
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource(url, schema))
	}
	compiler.AssertFormat()
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	text, err := Encode(theBill(t))
	require.NoError(t, err)
	bill, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(bill))
	bill.(map[string]any)["serialNumber"] = "one of our own"
	require.Error(t, schema.Validate(bill), "the schema is asked")
}

func TestTheSameProgramsGetTheSameBillAndOthersAnother(t *testing.T) {
	files, err := built.files()
	require.NoError(t, err)
	text := func(p Product) string {
		bill, err := Bill(t.Context(), target, p, files...)
		require.NoError(t, err)
		b, err := Encode(bill)
		require.NoError(t, err)
		return string(b)
	}
	first := text(product)
	t.Setenv("TZ", "Asia/Kathmandu")
	assert.True(t, first == text(product))
	other := product
	other.Version = "1.2.4"
	var a, b struct{ SerialNumber string }
	require.NoError(t, json.Unmarshal([]byte(first), &a))
	require.NoError(t, json.Unmarshal([]byte(text(other)), &b))
	assert.NotEqual(t, a.SerialNumber, b.SerialNumber)
	assert.Contains(t, first, `"timestamp": "2023-11-14T22:13:20Z"`)
}

func TestAProgramThatTheSourcesDoNotAccountForGetsNoBill(t *testing.T) {
	files, err := built.files()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"a program of other modules":      {append([]string{build(t, "-trimpath")}, files...), "in the programs, but not in the sources: map["},
		"one of our two programs missing": {files[1:], "the sources have "},
		"built with tags":                 {[]string{build(t, "-tags=netgo")}, "not built as packaging/deb builds it, so other code may be in it: -tags=netgo"},
		"built for another machine":       {[]string{build(t, "GOARCH=386")}, "so other code may be in it: GOARCH=386"},
		"no Go program":                   {[]string{"/bin/sh"}, "which modules are in /bin/sh: "},
		"no program":                      {[]string{"doc.go"}, "which modules are in doc.go: "},
		"nothing":                         {[]string{"nowhere"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Bill(t.Context(), target, product, c.files...)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// build builds our command in a way of its own: a flag of the go command, or a variable.
func build(t *testing.T, how string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+target.Arch)
	if strings.HasPrefix(how, "-") {
		cmd.Args = append(cmd.Args, how)
	} else {
		cmd.Env = append(cmd.Env, how)
	}
	cmd.Args = append(cmd.Args, "./cmd/supply")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return file
}

// output is what a command prints, without the end of its line.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	require.NoError(t, err, "%s %v", name, args)
	return strings.TrimSpace(string(out))
}

// moduleAt is a linked module with its version.
func moduleAt(t *testing.T, path string) string {
	t.Helper()
	_, modules := all(t)
	for _, m := range modules {
		if m.Path == path {
			return path + "@" + m.Version
		}
	}
	require.Fail(t, "not linked", path)
	return ""
}
