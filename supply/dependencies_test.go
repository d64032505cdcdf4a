package supply

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// direct are the modules that a go.mod asks for itself, tools included; not those of ours.
func direct(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	require.NoError(t, err)
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	require.NoError(t, json.Unmarshal(out, &file))
	var paths []string
	for _, r := range file.Require {
		tool := false // the module with the longest path that a tool's package is in
		for _, p := range file.Tool {
			best := ""
			for _, other := range file.Require {
				if strings.HasPrefix(p.Path+"/", other.Path+"/") && len(other.Path) > len(best) {
					best = other.Path
				}
			}
			tool = tool || best == r.Path
		}
		if (!r.Indirect || tool) && r.Path != "warmcgi" {
			paths = append(paths, r.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

var backticks = regexp.MustCompile("`[^`]*`")

// rows are the cells of a section's table in docs/dependencies.md.
func rows(t *testing.T, section string) [][]string {
	t.Helper()
	doc, err := os.ReadFile("../docs/dependencies.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(doc), "\n## "+section+"\n")
	require.True(t, ok, section)
	text, _, _ = strings.Cut(text, "\n## ")
	var all [][]string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| module ") || strings.HasPrefix(line, "| go.mod ") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(backticks.ReplaceAllString(line, "`")), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			assert.NotEmpty(t, cells[i], line)
		}
		all = append(all, cells)
	}
	require.NotEmpty(t, all, section)
	return all
}

// named are the modules of a section, each of which may be there once.
func named(t *testing.T, section string) []string {
	t.Helper()
	var paths []string
	for _, cells := range rows(t, section) {
		require.Len(t, cells, 3, cells[0])
		paths = append(paths, strings.Split(cells[0], ", ")...)
	}
	slices.Sort(paths)
	return paths
}

func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	programs, rest := named(t, "In the programs"), named(t, "In tests, checks and the benchmark")
	both := slices.Concat(programs, rest)
	slices.Sort(both)
	assert.Equal(t, direct(t, ".."), both, "docs/dependencies.md against go.mod")

	_, modules := all(t)
	for _, m := range modules {
		assert.NotContains(t, rest, m.Path, "it is in the programs")
		programs = slices.DeleteFunc(programs, func(p string) bool { return p == m.Path })
	}
	assert.Empty(t, programs, "they are not in the programs")
}

func TestEveryDependencyOfAModuleOfItsOwnHasItsReason(t *testing.T) {
	want := map[string][]string{}
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		if dir := filepath.Dir(path); dir != ".." {
			name, err := filepath.Rel("..", dir)
			require.NoError(t, err)
			want[filepath.ToSlash(name)] = direct(t, dir)
		}
		return nil
	}))
	got := map[string][]string{}
	for _, cells := range rows(t, "Modules of their own") {
		require.Len(t, cells, 4, cells[0])
		for dir := range strings.SplitSeq(cells[0], ", ") {
			got[dir] = append(got[dir], strings.Split(cells[1], ", ")...)
		}
	}
	for dir := range got {
		slices.Sort(got[dir])
	}
	assert.Equal(t, want, got, "docs/dependencies.md against the go.mod files")
}
