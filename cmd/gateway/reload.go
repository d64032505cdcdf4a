package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"warmcgi/internal/gateway"
)

type reloadCmd struct{ adminFlags }

// Help is what it does, and does not.
func (reloadCmd) Help() string {
	return `It asks the running gateway by its admin door, and says what came of it; the exit status is 0 only if the configuration was taken.
SIGHUP does the same, with the outcome in the log.

What is new is opened, started and loaded first: doors, FastCGI programs, the warm parents of scripts that are warm now or whose route says
mode: warm or reuse. If anything of that fails, or the file is not valid, everything stays as it was. Requests that run end as they began.

admin and log.format are read at the start only: gateway upgrade takes them.`
}

func (c *reloadCmd) Run(out io.Writer) error {
	return c.act(out, http.MethodPost, "/api/v1/reload", nil)
}

type upgradeCmd struct{ adminFlags }

// Help is what it does, and where it can't.
func (upgradeCmd) Help() string {
	return `The running gateway starts its program anew, as it is on disk now and with the arguments that it has itself. The new process takes the
doors' sockets and loads what is warm; when it serves, the old one lets its requests end (--wait of gateway serve), and ends. If the new
one does not start, the old one goes on, and the exit status is 1. SIGUSR2 does the same, with the outcome in the log.

The process has another number afterwards: systemd is told (Type=notify), and --pid-file of gateway serve has it. As process 1 of a container a gateway
can't be upgraded.`
}

func (c *upgradeCmd) Run(out io.Writer) error {
	return c.act(out, http.MethodPost, "/api/v1/upgrade", nil)
}

// printReload says what there is to be said of the configuration: that it is not what the file says, and that requests still
// run on older ones.
func printReload(out io.Writer, st gateway.ReloadStatus, now time.Time) error {
	var b strings.Builder
	if st.Error != "" && st.Tried != nil {
		fmt.Fprintf(&b, "The configuration of %s ago is served. A reload %s ago was refused: %s\n\n", since(st.Since, now), since(*st.Tried, now), st.Error)
	}
	for _, old := range st.Leaving {
		fmt.Fprintf(&b, "%d %s on the configuration of %s ago\n", old.Requests, plural(int(old.Requests), "request still runs", "requests still run"), since(old.Since, now))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func since(then, now time.Time) string { return now.Sub(then).Round(time.Second).String() }
