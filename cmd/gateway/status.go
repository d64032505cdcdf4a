package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
	"warmcgi/internal/pool"
)

type statusCmd struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file, for its admin: address."`
	Admin  string `placeholder:"ADDR" help:"The admin door: HOST:PORT or unix:/path (default: the configuration's, or 127.0.0.1:9180)."`
	JSON   bool   `help:"Print what the admin door says, as it is."`
}

// statusTime is how long an admin door may take: it never waits for a script.
const statusTime = 5 * time.Second

func (c *statusCmd) Run(out io.Writer) error {
	addr, err := c.address()
	if err != nil {
		return err
	}
	body, err := getStatus(addr)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := out.Write(body)
		return err
	}
	var st gateway.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("the admin door %s says something else: %w", addr, err)
	}
	return printStatus(out, st, time.Now())
}

func (c *statusCmd) address() (config.Address, error) {
	var addr config.Address
	switch {
	case c.Admin != "":
		if err := addr.UnmarshalText([]byte(c.Admin)); err != nil {
			return addr, fmt.Errorf("--admin %s: %w", c.Admin, err)
		}
	case c.Config != "":
		conf, err := loadConfig(c.Config)
		if err != nil {
			return addr, err
		}
		if addr = conf.Admin; addr.IsZero() {
			return addr, errors.New("the configuration has no admin: address, so there is nobody to ask")
		}
	default:
		return addr, addr.UnmarshalText([]byte(defaultAdmin))
	}
	return addr, nil
}

// defaultAdmin is where the examples of the documentation have the admin door.
const defaultAdmin = "127.0.0.1:9180"

func getStatus(addr config.Address) ([]byte, error) {
	client := http.Client{Timeout: statusTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network(), addr.Addr())
		},
	}}
	res, err := client.Get("http://admin/status")
	if err != nil {
		return nil, fmt.Errorf("no admin door answers at %s: %w", addr, errors.Unwrap(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the admin door %s answers %s: %s", addr, res.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}

// printStatus writes one line per script; reasons follow below the table, where they have room.
func printStatus(out io.Writer, st gateway.Status, now time.Time) error {
	if len(st.Scripts) == 0 {
		_, err := fmt.Fprintf(out, "%s: no script was asked for yet in a route of mode warm, reuse or auto\n", st.Software)
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SCRIPT\tMODE\tWANTED\tSTATE\tIDLE\tBUSY\tWAIT\tREQ/S\tFORKS/S\tFORK\tPARENT\tSPAWN\tWARM\tREUSE\tLAST")
	for _, s := range st.Scripts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.1f\t%.1f\t%s\t%s\t%d\t%d\t%d\t%s\n",
			s.Script, s.Mode, s.Wanted, s.State, s.Idle, s.Busy, s.Waiting, s.Rate, s.ForkRate, brief(s.ForkTime), octets(s.ParentMemory),
			s.Answers[cgi.ModeSpawn], s.Answers[cgi.ModeWarm], s.Answers[cgi.ModeReuse], ago(s, now))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range st.Scripts {
		if s.Why != "" {
			fmt.Fprintf(out, "\n%s is %s: %s\n", s.Script, inWords(s.State), strings.TrimSpace(s.Why))
		}
		if len(s.Demotions) > 0 {
			fmt.Fprintf(out, "%s lost its mode: %s\n", s.Script, demotions(s.Demotions))
		}
		if len(s.Waits) > 0 {
			fmt.Fprintf(out, "%s had requests wait for a worker: %s\n", s.Script, waits(s.Waits))
		}
	}
	return nil
}

// inWords is what a script in the state is.
func inWords(s pool.State) string {
	if s == pool.NoRunner {
		return "spawned"
	}
	return string(s)
}

// demotions is how often, by reason.
func demotions(by map[string]int64) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%s %d", reason, by[reason]))
	}
	return strings.Join(all, ", ")
}

// waits is a histogram in words.
func waits(classes []pool.Waits) string {
	var all []string
	for _, w := range classes {
		limit := "longer"
		if w.UpTo > 0 {
			limit = "up to " + w.UpTo.String()
		}
		all = append(all, fmt.Sprintf("%s %d", limit, w.Requests))
	}
	return strings.Join(all, ", ")
}

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
