// Gateway serves CGI programs: see README.md, and `gateway --help`.
package main

import (
	"fmt"
	"io"
	"os"

	"warmcgi/internal/serving"
	"warmcgi/internal/shim"
	"warmcgi/internal/version"
)

// cli is the command line; the help texts are its manual.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Serve a configuration file, a folder, or (with neither) a built-in example site."`
	Check    checkCmd    `cmd:"" help:"Read a configuration file and say what is wrong with it."`
	Config   configCmd   `cmd:"" help:"Print the manual of the configuration file, or its JSON Schema."`
	Run      runCmd      `cmd:"" help:"Run one CGI program once, from the shell, and print its answer."`
	Status   statusCmd   `cmd:"" help:"Ask a running gateway how its scripts are run: mode and why, workers, rates."`
	Top      topCmd      `cmd:"" help:"Watch a running gateway in the terminal: rates, times, scripts, processes, errors."`
	Logs     logsCmd     `cmd:"" help:"Show the last requests of a running gateway that went wrong, with what their scripts have written to standard error."`
	Restart  restartCmd  `cmd:"" help:"Have a script of a running gateway loaded anew, and its workers replaced; no request is lost."`
	Mode     modeCmd     `cmd:"" help:"Give a script of a running gateway another mode."`
	Workers  workersCmd  `cmd:"" help:"Give a script of a running gateway more workers, or fewer."`
	Drain    drainCmd    `cmd:"" help:"Have a running gateway say that it is not ready, while it serves on."`
	LogLevel logLevelCmd `cmd:"" name:"log-level" help:"Have a running gateway log more, or less."`
	Reload   reloadCmd   `cmd:"" help:"Have a running gateway read its configuration again; no request is lost."`
	Upgrade  upgradeCmd  `cmd:"" help:"Have a running gateway replaced by the program that is on disk now; no request is lost."`
	Worker   workerCmd   `cmd:"" help:"Try a script, or a runner of your own, in mode warm or reuse, and show the worker protocol."`
	Explain  explainCmd  `cmd:"" help:"Say which route of a configuration answers a URL, and with which variables."`
	FCGICall fcgiCallCmd `cmd:"" name:"fcgi-call" help:"Ask a FastCGI application once, from the shell: a script, php-fpm's status or ping."`
	Bench    benchCmd    `cmd:"" help:"Measure a URL under load, or a script in every mode: requests per second, latency, processor time, memory."`
	Doctor   doctorCmd   `cmd:"" help:"Look at a configuration and its scripts, and say what would go wrong; runs none of them."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

func (versionCmd) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, version.Text("gateway"))
	return err
}

// errSilent ends with status 1; what went wrong has been said.
var errSilent = serving.ErrSilent

func main() {
	if len(os.Args) == 2 && os.Args[1] == shimCommand {
		os.Exit(shim.Main())
	}
	if err := serving.CleanProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
	serving.TuneRuntime()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// shimCommand starts the shim's code in this program, so that nothing is needed beside
// it. It is not in the help: only the gateway itself has use for it.
const shimCommand = "shim"

// shimCommandLine is how the gateway starts a shim.
func shimCommandLine() []string { return serving.Self(shimCommand) }

// run is main with its world as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	const about = "A gateway for CGI programs: a web server, or a FastCGI server behind one, that runs any CGI program."
	return serving.Command(&cli{}, "gateway", about, args, stdout, stderr)
}
