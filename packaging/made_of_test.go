//go:build linux

package packaging

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modulesOf are the modules and versions that the programs of an unpacked package say they have, and Go's version.
func modulesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	modules := map[string]string{}
	for _, program := range []string{"gateway", "shim"} {
		file := filepath.Join(dir, "usr/bin", program)
		for line := range strings.Lines(strings.ReplaceAll(output(t, "go", "version", "-m", file), file+":", "dep stdlib")) {
			if f := strings.Fields(line); f[0] == "dep" {
				modules[f[1]] = f[2]
			}
		}
	}
	require.Greater(t, len(modules), 60)
	return modules
}

func TestThePackageHasABillOfMaterialsOfItsPrograms(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", must[string](t)(newPackage()), dir)
	type component struct {
		Name, Version, PURL string
		Hashes              []struct{ Alg, Content string }
	}
	var bill struct {
		Metadata struct {
			Timestamp string
			Component component
		}
		Components []component
	}
	require.NoError(t, json.Unmarshal(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "usr/share/doc/warmcgi/warmcgi.cdx.json"))), &bill))
	assert.Equal(t, newVersion, bill.Metadata.Component.Version)
	assert.Equal(t, "2023-11-14T22:13:20Z", bill.Metadata.Timestamp, "SOURCE_DATE_EPOCH")

	versions, modules := map[string]string{}, modulesOf(t, dir)
	for _, c := range bill.Components {
		versions[c.Name] = c.Version
		if c.PURL == "" { // a program
			sum := sha256.Sum256(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "usr/bin", c.Name))))
			assert.Equal(t, fmt.Sprintf("%x", sum), c.Hashes[0].Content, c.Name)
			modules[c.Name] = newVersion
		}
	}
	assert.Contains(t, versions, "gateway")
	assert.Contains(t, versions, "shim")
	assert.Equal(t, modules, versions)
}

func TestThePackageHasTheLicencesOfAllThatIsInItsPrograms(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", must[string](t)(newPackage()), dir)
	doc := filepath.Join(dir, "usr/share/doc/warmcgi")
	texts := output(t, "gunzip", "-c", filepath.Join(doc, "licences.txt.gz"))
	copyright := string(must[[]byte](t)(os.ReadFile(filepath.Join(doc, "copyright"))))
	for path, version := range modulesOf(t, dir) {
		assert.Regexp(t, `(?im)^`+regexp.QuoteMeta(path+" "+version)+`: (LICEN[CS]E|COPYING)`, texts)
		assert.Contains(t, copyright, "\nFiles: "+path+"@"+version+"/*\nCopyright: ")
	}
	assert.True(t, bytes.Contains([]byte(texts), must[[]byte](t)(os.ReadFile(filepath.Join(strings.TrimSpace(output(t, "go", "env", "GOROOT")), "LICENSE")))))
}
