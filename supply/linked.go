package supply

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are the packages of what the Debian package installs, from the tree's root.
func Programs() []string { return []string{"./cmd/gateway", "./cmd/shim"} }

// Standard is the path that stands for Go's standard library and runtime, as scanners know it.
const Standard = "stdlib"

// Target is what programs are built for.
type Target struct {
	Root string // of our sources
	Arch string // GOARCH; the system is Linux
}

// Module is one whose packages are linked into a program.
type Module struct {
	Path    string
	Version string   // v1.2.3; that of Go for the standard library
	Sum     string   // as in go.sum; none for the standard library
	Dir     string   // its root on this machine
	Folders []string // of the packages that are linked
	Needs   []string // paths of the modules that those packages import from
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	ImportMap  map[string]string
	Module     *listedModule
}

type listedModule struct {
	Path, Version, Sum, Dir string
	Main                    bool
	Replace                 *listedModule
}

// Linked are the modules in some of our programs, sorted by path. The first of what is returned is our own.
func Linked(ctx context.Context, to Target, programs ...string) (ours Module, others []Module, err error) {
	out, err := to.run(ctx, append([]string{"list", "-deps", "-json=ImportPath,Dir,Standard,Imports,ImportMap,Module"}, programs...)...)
	if err != nil {
		return Module{}, nil, err
	}
	goRoot, err := to.run(ctx, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return Module{}, nil, err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(goRoot)), "\n")

	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Module{}, nil, fmt.Errorf("what go list says: %w", err)
		}
		packages = append(packages, p)
	}

	modules, of, main := map[string]*Module{}, map[string]string{}, ""
	for _, p := range packages {
		m, err := moduleOf(p, root, version)
		if err != nil {
			return Module{}, nil, err
		}
		if p.Module != nil && p.Module.Main {
			main = m.Path
		}
		if modules[m.Path] == nil {
			modules[m.Path] = &m
		}
		modules[m.Path].Folders = append(modules[m.Path].Folders, p.Dir)
		of[p.ImportPath] = m.Path
	}
	for _, p := range packages {
		m := modules[of[p.ImportPath]]
		for _, imported := range p.Imports {
			if to, ok := of[cmp.Or(p.ImportMap[imported], imported)]; ok && to != m.Path && !slices.Contains(m.Needs, to) {
				m.Needs = append(m.Needs, to)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		m := modules[path]
		slices.Sort(m.Needs)
		if path == main {
			ours = *m
		} else {
			others = append(others, *m)
		}
	}
	return ours, others, nil
}

// moduleOf is the module that a package is from. A module that go.mod replaces is what it is replaced with.
func moduleOf(p listed, goRoot, goVersion string) (Module, error) {
	if p.Standard {
		return Module{Path: Standard, Version: goVersion, Dir: goRoot}, nil
	}
	m := p.Module
	if m == nil {
		return Module{}, fmt.Errorf("package %s is of no module", p.ImportPath)
	}
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Dir == "" || (m.Version == "" && !m.Main) {
		return Module{}, fmt.Errorf("module %s of package %s has no version, or is not on this machine", m.Path, p.ImportPath)
	}
	return Module{Path: m.Path, Version: m.Version, Sum: m.Sum, Dir: m.Dir}, nil
}

// run runs the go command as packaging/deb does, for the target.
func (to Target) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = to.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+to.Arch, "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w\n%s", args[0], filepath.Clean(to.Root), err, stderr.Bytes())
	}
	return out, nil
}
