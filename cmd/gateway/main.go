// Gateway serves CGI programs: see README.md, and `gateway --help`.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/shim"
)

// cli is the command line; the help texts are its manual.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Serve a configuration file, a folder, or (with neither) a built-in example site."`
	Check   checkCmd   `cmd:"" help:"Read a configuration file and say what is wrong with it."`
	Config  configCmd  `cmd:"" help:"Print the manual of the configuration file, or its JSON Schema."`
	Run     runCmd     `cmd:"" help:"Run one CGI program once, from the shell, and print its answer."`
	Status  statusCmd  `cmd:"" help:"Ask a running gateway how its scripts are run: mode and why, workers, rates."`
	Worker  workerCmd  `cmd:"" help:"Try a script, or a runner of your own, in mode warm or reuse, and show the worker protocol."`
	Explain explainCmd `cmd:"" help:"Say which route of a configuration answers a URL, and with which variables."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

func (versionCmd) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, cgi.Software)
	return err
}

// errSilent ends with status 1; what went wrong has been said.
var errSilent = errors.New("failed")

func main() {
	if len(os.Args) == 2 && os.Args[1] == shimCommand {
		os.Exit(shim.Main())
	}
	if err := cleanProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
	tuneRuntime()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// shimCommand starts the shim's code in this program, so that nothing is needed beside
// it. It is not in the help: only the gateway itself has use for it.
const shimCommand = "shim"

// shimCommandLine is how the gateway starts a shim. On Linux the program is the one that
// runs, also when its file has been replaced by another version since.
func shimCommandLine() []string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return []string{self, shimCommand}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{exe, shimCommand}
}

// tuneRuntime sets what suits a program that forks a lot, unless the environment says
// otherwise.
func tuneRuntime() {
	// A fork holds one of the scheduler's processors until the child has called exec, and
	// forks take turns: with one more than the machine has, all of the machine is used.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1 + runtime.GOMAXPROCS(0))
	}
	// A heap of a few megabytes, collected after each few hundred requests: letting it
	// grow a little more saves the collector a part of its work.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
}

// run is main with its world as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("gateway"),
		kong.Description("A gateway for CGI programs: a web server, or a FastCGI server behind one, that runs any CGI program."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return 2
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %v\nTry `gateway --help`.\n", err)
		return 2
	}
	err = ctx.Run()
	var bad config.Errors
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, bad.Error())
	default:
		fmt.Fprintln(stderr, "gateway:", err)
	}
	return 1
}
