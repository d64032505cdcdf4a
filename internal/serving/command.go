package serving

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"warmcgi/internal/cmdline"
	"warmcgi/internal/config"
)

// ErrSilent ends a command with status 1; what went wrong has been said.
var ErrSilent = errors.New("failed")

// Command runs a command line and returns its exit status. grammar is a pointer to the
// struct that kong makes the command line of; the commands get stdout as an io.Writer.
func Command(grammar any, name, description string, args []string, stdout, stderr io.Writer) int {
	exit := -1
	options := append(cmdline.Options(name),
		kong.Name(name),
		kong.Description(description),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	parser, err := kong.New(grammar, options...)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 2
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\nTry `%s --help`.\n", name, err, name)
		return 2
	}
	err = ctx.Run()
	var bad config.Errors
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrSilent):
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, bad.Error())
	default:
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	return 1
}
