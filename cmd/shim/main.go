// Shim hosts scripts. Without an argument it hosts one for the gateway that has started it:
// see docs/worker-protocol.md. The gateway has the same code in it (`gateway shim`) and needs
// this program only where it is told to. `shim serve` hosts scripts for other machines: see
// docs/script-host.md.
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
	Serve   serveCmd   `cmd:"" help:"Serve a script, or a folder of scripts, by FastCGI: to a gateway, nginx or Apache, on this or another machine."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

func (versionCmd) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, version.Text("shim"))
	return err
}

func main() {
	if len(os.Args) == 1 {
		os.Exit(shim.Main())
	}
	if err := serving.CleanProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "shim:", err)
		os.Exit(1)
	}
	serving.TuneRuntime()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its world as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	const about = "The script host: runs CGI scripts for front servers on this or other machines. Without an argument it is what a gateway starts for each script that it keeps warm."
	return serving.Command(&cli{}, "shim", about, args, stdout, stderr)
}
