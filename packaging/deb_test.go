//go:build linux

package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheSameSourcesGiveTheSamePackageByteForByte(t *testing.T) {
	first := must[[]byte](t)(os.ReadFile(must[string](t)(newPackage())))
	// Another folder, another umask and other times of the files, and what go takes from the environment.
	sources := filepath.Join(t.TempDir(), "sources of another name")
	require.NoError(t, os.MkdirAll(sources, 0o700))
	output(t, "sh", "-euc", `tar -C .. --exclude=./.git --exclude=./bin --exclude=./dist --mode=go-rwx --mtime=2001-01-01 -c . | tar -C "$0" -x`, sources)
	t.Setenv("COMMIT", strings.TrimSpace(output(t, "sh", "-c", "git -C .. describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null || echo unknown")))
	for name, value := range map[string]string{"TZ": "Asia/Kathmandu", "GOFLAGS": "-tags=netgo", "GOAMD64": "v3", "GOARM64": "v8.2", "GOFIPS140": "latest", "GOEXPERIMENT": "jsonv2"} {
		t.Setenv(name, value)
	}
	second := must[[]byte](t)(os.ReadFile(must[string](t)(buildPackage(sources, "again", newVersion))))
	assert.True(t, bytes.Equal(first, second), "%d and %d octets", len(first), len(second))
}

func TestLintianHasNothingToSay(t *testing.T) {
	needs(t, "lintian", "lintian")
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", must[string](t)(newPackage())).CombinedOutput()
	assert.NoError(t, err)
	assert.Empty(t, string(out))
}

func TestTheManualPagesCanBeRead(t *testing.T) {
	needs(t, "mandoc", "mandoc")
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", must[string](t)(newPackage()), dir)
	overstrike := regexp.MustCompile(".\b")
	for page, wants := range map[string][]string{
		"man1/gateway.1.gz":      {"GATEWAY(1)", "serve [DIR]", "-c, --config=FILE", "Configuration file.", "fcgi-call"},
		"man1/shim.1.gz":         {"SHIM(1)", "serve PATH", "--listen=", "shim serve /srv/cgi-bin --listen tcp:10.0.0.5:9000 --allow 10.0.0.0/8"},
		"man5/gateway.yaml.5.gz": {"GATEWAY.YAML(5)", "listen[].http", "routes[].symlinks", "500ms, 30s, 5m"},
	} {
		plain := output(t, "sh", "-euc", `gunzip -c "$0" | mandoc -T utf8 -O width=160`, filepath.Join(dir, "usr/share/man", page))
		plain = overstrike.ReplaceAllString(plain, "")
		for _, want := range wants {
			assert.Contains(t, plain, want, page)
		}
		assert.NotContains(t, plain, "**", page)
	}
}

func TestTheProgramsOfThePackageAreStatic(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", must[string](t)(newPackage()), dir)
	for _, program := range []string{"gateway", "shim"} {
		out, err := exec.Command("ldd", filepath.Join(dir, "usr/bin", program)).CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(out), "not a dynamic executable")
		assert.Contains(t, output(t, filepath.Join(dir, "usr/bin", program), "--version"), program+" "+newVersion+" (commit ")
	}
	assert.NotEmpty(t, must[[]byte](t)(os.ReadFile(filepath.Join(dir, "usr/share/doc/warmcgi/copyright"))))
}
