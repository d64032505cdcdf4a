// Shim hosts one script for a gateway: see docs/worker-protocol.md. The gateway has the
// same code in it (`gateway shim`) and needs this program only where it is told to.
package main

import (
	"os"

	"warmcgi/internal/shim"
)

func main() { os.Exit(shim.Main()) }
