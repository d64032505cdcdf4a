package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The first stage's commands are run here, by the machine's own Go, in a folder that has what COPY puts there.
func TestTheImagesHaveTheProgramsAndTheLicencesOfWhatIsInThem(t *testing.T) {
	parsed, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	require.NoError(t, err)
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
	require.NoError(t, err)
	src, out := t.TempDir(), t.TempDir()
	for _, c := range stages[0].Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			for _, source := range c.SourcePaths {
				text, err := exec.Command("cp", "-r", filepath.Join("../..", source), filepath.Join(src, c.DestPath)).CombinedOutput()
				require.NoError(t, err, string(text))
			}
		case *instructions.RunCommand:
			line := strings.Join(c.CmdLine, " ")
			if line == "go mod download" { // of modules for tests, too
				continue
			}
			cmd := exec.Command("sh", "-euc", strings.ReplaceAll(line, "/out/", out+"/"))
			cmd.Dir = src
			cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH)
			text, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", line, text)
		}
	}
	texts := read(t, filepath.Join(out, "usr/share/doc/warmcgi/licences.txt"))
	for _, program := range []string{"gateway", "shim"} {
		says, err := exec.Command("go", "version", "-m", filepath.Join(out, "usr/bin", program)).Output()
		require.NoError(t, err)
		found := 0
		for line := range strings.Lines(string(says)) {
			if f := strings.Fields(line); f[0] == "dep" {
				found++
				assert.Contains(t, texts, "\n"+f[1]+" "+f[2]+": ")
			}
		}
		assert.Greater(t, found, 30)
	}
	// Each image takes what the first stage made.
	for _, stage := range stages[1:] {
		var from []string
		for _, c := range stage.Commands {
			if c, ok := c.(*instructions.CopyCommand); ok && c.From == "build" {
				from = append(from, c.SourcePaths...)
			}
		}
		assert.True(t, strings.Contains(strings.Join(from, " ")+" ", "/out/ ") || strings.Contains(strings.Join(from, " ")+" ", "/out/usr/ "), "%s has %v", stage.Name, from)
	}
}
