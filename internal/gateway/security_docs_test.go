package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// namedTest is a test as docs/security.md, docs/reliability.md and docs/tests.md name it.
var namedTest = regexp.MustCompile("^`([a-z]+\\.(?:Test|Fuzz)\\w+)`$")

func TestEveryAttackFaultAndPromiseInTheDocsHasTestsThatExist(t *testing.T) {
	exist := testsOfTheTree(t, "../..")
	for doc, least := range map[string]int{"security.md": 40, "reliability.md": 25, "tests.md": 20} {
		assert.Greater(t, assertRowsHaveTests(t, "../../docs/"+doc, exist), least, doc)
	}
}

// assertRowsHaveTests returns how many rows of three cells a page has; in the last one are tests.
func assertRowsHaveTests(t *testing.T, file string, exist map[string]bool) (rows int) {
	t.Helper()
	doc, err := os.ReadFile(file)
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(doc), "<!-- soak -->") // whose table has figures
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || cells[0] == " attack " || cells[0] == " fault " || cells[0] == " promise " {
			continue
		}
		rows++
		require.Len(t, cells, 3, line)
		for cell := range strings.SplitSeq(cells[2], ",") {
			m := namedTest.FindStringSubmatch(strings.TrimSpace(cell))
			require.NotNil(t, m, "no test's name: %q in %s", cell, line)
			assert.Contains(t, exist, m[1], "there is no such test")
		}
	}
	return rows
}

// testsOfTheTree are the tests and fuzz targets in all Go files, as package.Name.
func testsOfTheTree(t *testing.T, root string) map[string]bool {
	t.Helper()
	exist := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				exist[strings.TrimSuffix(f.Name.Name, "_test")+"."+fn.Name.Name] = true
			}
		}
		return nil
	}))
	return exist
}
