package main

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

type explainCmd struct {
	File   string `arg:"" help:"Configuration file, or a folder as for serve."`
	URL    string `arg:"" help:"A URL, or its path and query."`
	Method string `default:"GET" help:"Request method."`
}

// Run asks the real routing, and a backend that starts nothing.
func (c *explainCmd) Run(out io.Writer) error {
	conf, err := loadConfig(c.File)
	if err != nil {
		dir, derr := config.ForDir(c.File)
		if derr != nil {
			return err
		}
		conf = dir
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
			fmt.Fprintf(out, "%-12s %s\n", name, value)
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
	if e.Script.Confine.Limited() {
		line("limits", e.Script.Confine.Limits.String())
	}
	if sc.NPH {
		line("nph", "the script writes the whole answer itself")
	}
	vars := append(append([]string(nil), e.Script.Env...), e.Script.Vars...)
	sort.Strings(vars)
	fmt.Fprintln(out, "environment")
	for _, v := range vars {
		fmt.Fprintf(out, "  %s\n", v)
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
