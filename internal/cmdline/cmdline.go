// Package cmdline is what every command line of ours has besides its own commands: the version, shell completion and the
// manual page. All of it is read from the same structs that kong parses by, so that it can't go stale.
package cmdline

import (
	"github.com/alecthomas/kong"

	"warmcgi/internal/version"
)

// common is in every program.
type common struct {
	Version    kong.VersionFlag `name:"version" help:"Print the version, the commit and the Go that it was made of."`
	Completion completionCmd    `cmd:"" help:"Print a script by which a shell completes the command line: bash, zsh or fish."`
	Complete   completeCmd      `cmd:"" hidden:"" help:"Say what a word of the command line can be; for the scripts of completion."`
	Manual     manualCmd        `cmd:"" hidden:"" help:"Print the manual page, as Markdown for go-md2man."`
}

// Options add that to a program.
func Options(program string) []kong.Option {
	return []kong.Option{kong.Vars{"version": version.Text(program)}, kong.Embed(&common{})}
}
