package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

// act has the running gateway do something, as its configuration file says where it is.
func (f *adminFlags) act(out io.Writer, method, path string, body any) error {
	door, err := f.door()
	var bad config.Errors
	if errors.As(err, &bad) {
		return fmt.Errorf("the running gateway was not asked, and goes on as it was (--admin says where it is):\n%w", plain{bad})
	}
	if err != nil {
		return err
	}
	done, err := door.act(method, path, body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, visibleLines(done))
	return err
}

// plain keeps errors of the configuration within the text around them.
type plain struct{ error }

// scriptFlags name a script to the admin door.
type scriptFlags struct {
	Script string `arg:"" help:"The script as gateway status has it: /cgi-bin/NAME."`
	adminFlags
}

// actOn is act for a script. Where there is none of that name, it says which there are.
func (f *scriptFlags) actOn(out io.Writer, method, path string, body map[string]any) error {
	body["script"] = f.Script
	err := f.act(out, method, path, body)
	var no *refusedError
	if !errors.As(err, &no) || no.status != http.StatusNotFound {
		return err
	}
	door, derr := f.door()
	if derr != nil {
		return err
	}
	var live gateway.LiveState
	if door.read("/api/v1/live", &live) != nil {
		return err
	}
	return fmt.Errorf("%w%s", err, meant(f.Script, live.Scripts))
}

// maxMeant is how many scripts are shown to whoever has named none of them.
const maxMeant = 10

// meant says which scripts there are: the one that was likely meant, or the first ones.
func meant(name string, scripts []gateway.LiveScript) string {
	var pooled, ends []string
	for _, s := range scripts {
		if s.Script = visible(s.Script); s.Pooled {
			pooled = append(pooled, s.Script)
			if strings.HasSuffix(s.Script, "/"+strings.TrimPrefix(name, "/")) {
				ends = append(ends, s.Script)
			}
		}
	}
	switch near := config.Suggest(name, pooled); {
	case len(ends) > 0:
		return "\nDid you mean " + strings.Join(ends[:min(len(ends), maxMeant)], ", ") + "?"
	case near != "":
		return "\nDid you mean " + near + "?"
	case len(pooled) == 0:
		return "\nNo script that could be warm was asked for yet"
	case len(pooled) > maxMeant:
		return fmt.Sprintf("\nThere are %d, among them %s", len(pooled), strings.Join(pooled[:maxMeant], ", "))
	}
	return "\nThere are " + strings.Join(pooled, ", ")
}

type restartCmd struct{ scriptFlags }

// Help is what becomes of requests.
func (restartCmd) Help() string {
	return `The script is loaded anew in the background. Its workers answer until the new ones are ready, and end what they do: no request is lost, and
none waits for it. What was demoted (broken, unsafe, trouble) is tried again.`
}

func (c *restartCmd) Run(out io.Writer) error {
	return c.actOn(out, http.MethodPost, "/api/v1/scripts/restart", map[string]any{})
}

type modeCmd struct {
	scriptFlags
	Mode string `arg:"" enum:"spawn,warm,reuse,configured" help:"spawn, warm, reuse; or configured: as the configuration says."`
}

// Help is how long it holds.
func (modeCmd) Help() string {
	return `spawn holds the script there; warm and reuse let it have them at once, as long as that is safe: it is demoted as ever. It holds until it is taken back
(configured) or the gateway is started again, and gateway status says who has set it.`
}

func (c *modeCmd) Run(out io.Writer) error {
	return c.actOn(out, http.MethodPut, "/api/v1/scripts/mode", map[string]any{"mode": c.Mode})
}

type workersCmd struct {
	scriptFlags
	Max   *int `placeholder:"N" help:"At most so many of its requests at once."`
	Spare *int `placeholder:"N" help:"At least so many idle workers (default: 0)."`
}

// Help is how long it holds.
func (workersCmd) Help() string {
	return `Without --max and --spare the script has the workers of the configuration again. It holds until then, or until the gateway is started again.`
}

func (c *workersCmd) Run(out io.Writer) error {
	body := map[string]any{}
	switch {
	case c.Max == nil && c.Spare != nil:
		return errors.New("--spare goes with --max")
	case c.Max != nil:
		body["max"], body["spare"] = *c.Max, 0
		if c.Spare != nil {
			body["spare"] = *c.Spare
		}
	}
	return c.actOn(out, http.MethodPut, "/api/v1/scripts/workers", body)
}

type drainCmd struct {
	adminFlags
	Undo bool `help:"Be ready again."`
}

// Help is what it is for.
func (drainCmd) Help() string {
	return `/readyz says 503 from now on, so that a load balancer sends nothing new. Whatever comes is served: SIGTERM ends the gateway when nothing does any more.`
}

func (c *drainCmd) Run(out io.Writer) error {
	return c.act(out, http.MethodPut, "/api/v1/drain", map[string]any{"draining": !c.Undo})
}

type logLevelCmd struct {
	adminFlags
	Level string `arg:"" enum:"debug,info,warn,error" help:"debug, info, warn or error: the least that is logged."`
}

// Help is how long it holds.
func (logLevelCmd) Help() string { return "It holds until the gateway is started again." }

func (c *logLevelCmd) Run(out io.Writer) error {
	return c.act(out, http.MethodPut, "/api/v1/log-level", map[string]any{"level": c.Level})
}
