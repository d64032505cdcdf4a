package main

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"warmcgi/internal/gateway"
)

type explainCmd struct {
	File   string `arg:"" optional:"" help:"Configuration file, or a folder as for serve."`
	URL    string `arg:"" optional:"" help:"A URL, or its path and query."`
	Config string `short:"c" placeholder:"FILE" help:"Configuration file, as serve has it; then the URL alone follows."`
	Method string `default:"GET" help:"Request method."`
}

// Run asks the real routing, and a backend that starts nothing.
func (c *explainCmd) Run(out io.Writer) error {
	if c.Config != "" && c.URL == "" {
		c.File, c.URL = c.Config, c.File
	} else if c.Config != "" {
		c.URL = ""
	}
	if c.URL == "" {
		return errors.New("give a configuration file and one URL: gateway explain FILE URL")
	}
	conf, err := loadConfigOrFolder(c.File)
	if err != nil {
		return err
	}
	r, err := newRequest(c.Method, c.URL, nil, 0)
	if err != nil {
		return err
	}
	e, err := gateway.Explain(conf, r)
	if err != nil {
		return err
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-12s %s\n", name, visible(value))
		}
	}
	line("route", e.Route)
	line("access", e.Access)
	if e.Script == nil {
		line("answer", e.Answer)
		return nil
	}
	sc := e.Script.Script
	line("answer", "script, mode "+e.Mode)
	line("program", sc.File)
	line("interpreter", sc.Interpreter)
	line("arguments", strings.Join(quoted(sc.Args), " "))
	line("folder", sc.Dir)
	if u := e.Script.Confine.RunsAs(); u != nil {
		line("user", u.String())
	}
	if words := e.Script.Confine.Words(); words != "" {
		line("limits", words)
	}
	if e.Script.Confine.Sandboxed() {
		line("sandbox", e.Script.Confine.Sandbox.String())
	}
	if sc.NPH {
		line("nph", "the script writes the whole answer itself")
	}
	vars := append(append([]string(nil), e.Script.Env...), e.Script.Vars...)
	sort.Strings(vars)
	fmt.Fprintln(out, "environment")
	for _, v := range vars {
		fmt.Fprintf(out, "  %s\n", visible(v))
	}
	return nil
}

func quoted(list []string) []string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return q
}
