package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/gateway"
	"warmcgi/internal/pool"
)

type statusCmd struct {
	adminFlags
	JSON  bool `help:"Print what the admin door says, as it is." xor:"how"`
	Watch bool `short:"w" help:"Go on, once a second, until it is interrupted; gateway top shows more." xor:"how"`
}

// Help is the legend.
func (c *statusCmd) Help() string {
	return `MODE is how requests are answered now, WANTED what the configuration says.

STATE: cold (no warm parent: it is spawned; in auto it was not asked for often enough, or not for a while), loading, ready (workers answer), unsafe (it may not be
forked from: spawned until it changes), broken (it can't be loaded: spawned, and tried again), no runner (nothing can keep it warm).

IDLE, BUSY: workers. WAIT: requests that wait for one. REQ/S, FORKS/S: rates of the workers. FORK: time until a forked worker waits for a request. PARENT: memory
of the warm parent (PSS). SPAWN, WARM, REUSE: requests answered so. LAST: time since the last request.

FastCGI servers have a table of their own: IN or why they are left out (unreachable, failing: requests in a row have failed, unhealthy: its checks fail),
the requests that they have, how many they can have (ROOM), and the connections that are KEPT for the next one. WAIT: requests that wait for room.

Below the table of scripts stands why a script is not in the mode that it could have.`
}

func (c *statusCmd) Run(out io.Writer) error {
	door, err := c.door()
	if err != nil {
		return err
	}
	if c.JSON {
		body, err := door.get("/status")
		if err != nil {
			return err
		}
		_, err = out.Write(body)
		return err
	}
	if c.Watch {
		return c.watch(door, out)
	}
	return c.print(door, out)
}

func (c *statusCmd) print(door *adminDoor, out io.Writer) error {
	var st gateway.Status
	if err := door.read("/status", &st); err != nil {
		return err
	}
	return printStatus(out, st, time.Now(), widthOf(out))
}

// clearScreen has a terminal begin at its top (ECMA-48).
const clearScreen = "\x1b[H\x1b[2J\x1b[3J"

// watch ends with SIGINT or SIGTERM, or when the gateway can't be asked any more.
func (c *statusCmd) watch(door *adminDoor, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		var table bytes.Buffer
		var st gateway.Status
		if err := door.read("/status", &st); err != nil {
			return err
		}
		width := widthOf(out)
		if err := printStatus(&table, st, time.Now(), width); err != nil {
			return err
		}
		head, foot := time.Now().Format(time.TimeOnly)+"\n\n", "\n"
		if width > 0 {
			head, foot = clearScreen+head, ""
		}
		if _, err := io.WriteString(out, head+table.String()+foot); err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// columns of the table. Those that say the least are left out first.
var statusColumns = []column{
	{"SCRIPT", 0}, {"MODE", 0}, {"WANTED", 5}, {"STATE", 0}, {"IDLE", 1}, {"BUSY", 1}, {"WAIT", 4}, {"REQ/S", 2}, {"FORKS/S", 9},
	{"FORK", 8}, {"PARENT", 7}, {"SPAWN", 3}, {"WARM", 3}, {"REUSE", 3}, {"LAST", 6},
}

// printStatus writes one line per script; reasons follow below the table, where they have room. The FastCGI
// servers come first, as they are few.
func printStatus(out io.Writer, st gateway.Status, now time.Time, width int) error {
	if err := printReload(out, st.Configuration, now); err != nil {
		return err
	}
	if err := printGroups(out, st.Groups); err != nil {
		return err
	}
	if err := printApplications(out, st.Applications, width); err != nil {
		return err
	}
	if len(st.Scripts) == 0 {
		if len(st.Applications) > 0 {
			return nil
		}
		_, err := fmt.Fprintf(out, "%s: no script was asked for yet in a route of mode warm, reuse or auto\n", st.Software)
		return err
	}
	t := table{columns: statusColumns}
	for _, s := range st.Scripts {
		t.rows = append(t.rows, []string{
			s.Script, string(s.Mode), string(s.Wanted), string(s.State), strconv.Itoa(s.Idle), strconv.Itoa(s.Busy), strconv.Itoa(s.Waiting),
			fmt.Sprintf("%.1f", s.Rate), fmt.Sprintf("%.1f", s.ForkRate), brief(s.ForkTime), octets(s.ParentMemory), number(s.Answers[cgi.ModeSpawn]),
			number(s.Answers[cgi.ModeWarm]), number(s.Answers[cgi.ModeReuse]), ago(s, now),
		})
	}
	left, err := t.write(out, width)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(out, "(no room for %s: they are in a wider terminal, or a pipe)\n", strings.Join(left, ", "))
	}
	return printReasons(out, st.Scripts)
}

// printReasons says why, once for scripts that have it in common.
func printReasons(out io.Writer, scripts []pool.Status) error {
	var b strings.Builder
	told := map[string]bool{}
	scripts = slices.Clone(scripts)
	for i, s := range scripts {
		scripts[i].Script = visible(s.Script)
	}
	for _, s := range scripts {
		why := strings.TrimSpace(s.Why)
		if key := string(s.State) + why; why != "" && !told[key] {
			told[key] = true
			fmt.Fprintf(&b, "\n%s is %s: %s\n", s.Script, inWords(s), indented(why))
			var same []string
			for _, o := range scripts {
				if o.State == s.State && strings.TrimSpace(o.Why) == why && o.Script != s.Script {
					same = append(same, o.Script)
				}
			}
			if len(same) > 0 {
				fmt.Fprintf(&b, "  so %s: %s\n", plural(len(same), "is", "are"), strings.Join(same, ", "))
			}
		}
	}
	gap := "\n"
	for _, s := range scripts {
		if len(s.Demotions) > 0 {
			fmt.Fprintf(&b, "%s%s has lost its mode: %s\n", gap, s.Script, demotions(s.Demotions))
			gap = ""
		}
		if len(s.Waits) > 0 {
			fmt.Fprintf(&b, "%s%s had requests that waited for a worker: %s\n", gap, s.Script, waits(s.Waits))
			gap = ""
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// indented has the further lines of a reason stand below it.
func indented(s string) string { return strings.ReplaceAll(visibleLines(s), "\n", "\n  ") }

// inWords is what a script is.
func inWords(s pool.Status) string {
	switch s.State {
	case pool.NoRunner:
		return "spawned"
	case pool.Ready: // but not as was wanted
		return "only " + string(s.Mode)
	}
	return string(s.State)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// demotions is how often, by reason.
func demotions(by map[string]int64) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%s, %d %s", visible(reason), by[reason], plural(int(by[reason]), "time", "times")))
	}
	return strings.Join(all, "; ")
}

// waits is a histogram in words.
func waits(classes []pool.Waits) string {
	var all []string
	for _, w := range classes {
		limit := "longer"
		if w.UpTo > 0 {
			limit = "up to " + w.UpTo.String()
		}
		all = append(all, fmt.Sprintf("%d %s", w.Requests, limit))
	}
	return strings.Join(all, ", ")
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func ago(s pool.Status, now time.Time) string {
	if s.LastUse.IsZero() {
		return "-"
	}
	return now.Sub(s.LastUse).Round(time.Second).String()
}

func brief(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

func octets(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
}
