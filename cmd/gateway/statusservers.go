package main

import (
	"fmt"
	"io"
	"strconv"

	"warmcgi/internal/gateway"
)

// printApplications writes one line per FastCGI server.
func printApplications(out io.Writer, apps []gateway.ApplicationStatus, width int) error {
	if len(apps) == 0 {
		return nil
	}
	t := serversTable(apps)
	if _, err := t.write(out, width); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// serversTable has a line for each FastCGI server.
func serversTable(apps []gateway.ApplicationStatus) *table {
	t := &table{columns: []column{{"ROUTE", 0}, {"SERVER", 0}, {"STATE", 0}, {"REQUESTS", 1}, {"ROOM", 2}, {"KEPT", 3}, {"WAIT", 1}}}
	for _, a := range apps {
		if a.Role == "authorizer" {
			a.Route += " (authorizer)"
		}
		wait := strconv.Itoa(a.Waiting)
		if a.Program {
			wait = "-" // it is in the figures of the route's queue
		}
		for _, s := range a.Servers {
			state := "in"
			if s.Out != "" {
				state = s.Out
			}
			t.rows = append(t.rows, []string{a.Route, s.Server, state, strconv.Itoa(s.Requests), strconv.Itoa(s.Room), strconv.Itoa(s.Idle), wait})
		}
		if len(a.Servers) == 0 {
			t.rows = append(t.rows, []string{a.Route, "none is known", "-", "-", "-", "-", wait})
		}
	}
	return t
}
