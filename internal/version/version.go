// Package version says which build of the programs this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker sets both where the build knows better (-ldflags -X): number for a package with a version of its own,
// commit where the go command can't ask git, as in a container.
var (
	number = "0.1.0"
	commit string
)

// Number is the version: MAJOR.MINOR.PATCH.
func Number() string { return number }

// Text is what `gateway --version` prints: the program, its version, the commit and the Go it was made of.
func Text(program string) string {
	return fmt.Sprintf("%s %s (%s, %s %s/%s)", program, number, commitText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func commitText() string {
	if commit != "" {
		return "commit " + short(commit)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "commit unknown"
	}
	return "commit " + fromSettings(info.Settings)
}

// fromSettings is the commit as the go command has stamped it.
func fromSettings(settings []debug.BuildSetting) string {
	at := map[string]string{}
	for _, s := range settings {
		at[s.Key] = s.Value
	}
	revision := at["vcs.revision"]
	if revision == "" {
		return "unknown"
	}
	if at["vcs.modified"] == "true" {
		return short(revision) + " and changes"
	}
	return short(revision)
}

// short is what git shows of a commit; what is behind it (-dirty) stays.
func short(revision string) string {
	hash, rest, _ := strings.Cut(revision, "-")
	if len(hash) > 12 {
		hash = hash[:12]
	}
	if rest != "" {
		return hash + " and changes"
	}
	return hash
}
