package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"warmcgi/internal/live"
)

var (
	topBold    = lipgloss.NewStyle().Bold(true)
	topFaint   = lipgloss.NewStyle().Faint(true)
	topRow     = lipgloss.NewStyle().Reverse(true)
	topTrouble = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red)
)

const (
	topKeys = "q quit  tab next table  ↑↓ select  s sort  / filter  r restart"
	// topAround are the lines above and below the table: state, figures, curve, names of the tables, keys.
	topAround = 7
)

// View implements [tea.Model].
func (m *topModel) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen, v.WindowTitle = true, "gateway top"
	return v
}

// screen is as high as the terminal, and no wider.
func (m *topModel) screen() string {
	if m.width == 0 {
		return "" // it is not known yet
	}
	lines := append(m.head(), m.tableNames(), "")
	head, rows := m.rowsOf(m.table)
	at := m.row(len(rows))
	room := max(m.height-len(lines)-2, 1) // below: the table's head, and the keys
	first := min(max(at-room/2, 0), max(len(rows)-room, 0))
	shown := rows[first:min(first+room, len(rows))]
	lines = append(lines, topBold.Render(head))
	for i, row := range shown {
		if first+i == at {
			row = topRow.Render(row + strings.Repeat(" ", max(m.width-ansi.StringWidth(row), 0)))
		}
		lines = append(lines, row)
	}
	if m.table == topErrors && len(rows) > 0 { // what is known of the selected one, in what room there is
		for _, d := range detailsOf(m.errors()[at]) {
			lines = append(lines, "  "+d)
		}
	}
	lines = lines[:min(len(lines), m.height-1)]
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines, m.foot())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// rows is how many of the table's rows have room.
func (m *topModel) rows() int { return max(m.height-topAround, 1) }

// head says what the gateway is and does.
func (m *topModel) head() []string {
	a := m.about
	title := fmt.Sprintf("%s  %s  process %d", a.Software, visible(a.Host), a.Pid)
	if !a.Started.IsZero() && m.seen {
		title += "  up " + m.state.At.Sub(a.Started).Round(time.Second).String()
	}
	s := m.state.Sample
	figures := fmt.Sprintf("%.1f requests/s  median %s  95 %% %s  99 %% %s  under way %d  waiting %d  ", s.Rate, percentile(s.P50), percentile(s.P95),
		percentile(s.P99), s.Running, s.Queue)
	errors := fmt.Sprintf("errors %.1f/s", s.Errors)
	if s.Errors > 0 {
		errors = topTrouble.Render(errors)
	}
	past := topFaint.Render(curve(m.history, m.width))
	if m.lost != nil {
		past = topTrouble.Render(visible(strings.SplitN(m.lost.Error(), "\n", 2)[0]))
	}
	return []string{m.condition() + "  " + topBold.Render(title), figures + errors, past, ""}
}

// condition is the gateway's, or that of the connection to it.
func (m *topModel) condition() string {
	switch {
	case m.lost != nil:
		return topTrouble.Render("CONNECTION LOST, this is old:")
	case !m.seen:
		return "…"
	case m.state.Stopping:
		return topTrouble.Render("stopping")
	case m.state.Draining != nil:
		return topTrouble.Render("draining, by " + visible(m.state.Draining.By))
	}
	return "ready"
}

func percentile(p *float64) string {
	if p == nil {
		return "–"
	}
	return shortTime(time.Duration(*p * float64(time.Second)))
}

// shortTime has three digits.
func shortTime(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// curve draws requests per second, as many seconds as have room.
func curve(samples []live.Sample, width int) string {
	const steps = "▁▂▃▄▅▆▇█"
	most := 0.0
	samples = samples[max(0, len(samples)-max(width-20, 1)):]
	for _, s := range samples {
		most = max(most, s.Rate)
	}
	if most == 0 {
		return ""
	}
	var b strings.Builder
	marks := []rune(steps)
	for _, s := range samples {
		b.WriteRune(marks[min(int(s.Rate/most*float64(len(marks))), len(marks)-1)])
	}
	return fmt.Sprintf("%s  to %.1f/s", b.String(), most)
}

// tableNames shows which table is seen.
func (m *topModel) tableNames() string {
	names := []string{
		fmt.Sprintf("1 Scripts (%d)", m.state.AllScripts), fmt.Sprintf("2 Processes (%d)", len(m.state.Workers)),
		fmt.Sprintf("3 Servers (%d)", len(serversTable(m.state.Applications).rows)), fmt.Sprintf("4 Errors (%d)", len(m.failures)),
	}
	for i := range names {
		if topTable(i) == m.table {
			names[i] = topRow.Render(names[i])
		}
	}
	line := strings.Join(names, "  ")
	if m.table == topScripts {
		line += "  by " + m.order.String()
	}
	if m.filter != "" {
		line += "  /" + visible(m.filter)
	}
	return line
}

// foot is what the user is asked, or told, or can do.
func (m *topModel) foot() string {
	switch {
	case m.confirm != "":
		return topBold.Render("Restart the workers of " + visible(m.confirm) + "? y for yes, any other key for no")
	case m.filtering:
		return topBold.Render("Only names with: " + visible(m.filter) + "▏  enter, or esc for all")
	case m.said != "":
		return topBold.Render(visible(strings.SplitN(m.said, "\n", 2)[0]))
	}
	return topFaint.Render(topKeys)
}

// rowsOf are a table's lines.
func (m *topModel) rowsOf(which topTable) (head string, rows []string) {
	t := m.tableOf(which)
	var b bytes.Buffer
	t.write(&b, m.width) // a buffer takes all
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	return lines[0], lines[1:]
}

func (m *topModel) tableOf(which topTable) *table {
	switch which {
	case topProcesses:
		return m.processTable()
	case topServers:
		return serversTable(m.state.Applications)
	case topErrors:
		return m.errorTable()
	}
	return m.scriptTable()
}

func (m *topModel) scriptTable() *table {
	t := &table{columns: []column{
		{"SCRIPT", 0}, {"MODE", 0}, {"STATE", 2}, {"REQ/S", 0}, {"MEDIAN", 3}, {"95 %", 1}, {"ERR/S", 1}, {"FAILED", 4}, {"WAIT", 2}, {"IDLE", 3}, {"BUSY", 2},
	}}
	for _, s := range m.scripts() {
		t.rows = append(t.rows, []string{
			s.Script, string(s.Mode), string(s.State), fmt.Sprintf("%.1f", s.Rate), percentile(s.P50), percentile(s.P95), fmt.Sprintf("%.1f", s.ErrorRate),
			strconv.FormatUint(s.Failed, 10), strconv.Itoa(s.Waiting), strconv.Itoa(s.Idle), strconv.Itoa(s.Busy),
		})
	}
	return t
}

func (m *topModel) processTable() *table {
	t := &table{columns: []column{
		{"SCRIPT", 0}, {"PID", 0}, {"MODE", 2}, {"STATE", 1}, {"AGE", 4}, {"ANSWERED", 5}, {"PSS", 2}, {"FOR", 0}, {"REQUEST", 0},
	}}
	for _, w := range m.workers() {
		since, request := "", ""
		if c := w.Current; c != nil {
			since, request = shortTime(max(m.state.At.Sub(c.Began), 0)), c.Method+" "+c.Path
		}
		t.rows = append(t.rows, []string{
			w.Script, strconv.Itoa(w.Pid), string(w.Mode), w.State, shortTime(max(m.state.At.Sub(w.Born), 0)), strconv.Itoa(w.Requests), octets(w.Memory), since, request,
		})
	}
	return t
}

func (m *topModel) errorTable() *table {
	t := &table{columns: []column{{"REQUEST", 0}, {"AT", 0}, {"STATUS", 0}, {"WHY", 0}, {"MODE", 2}, {"ID", 3}}}
	for _, f := range m.errors() {
		t.rows = append(t.rows, []string{f.Method + " " + f.Path, f.At.Local().Format(time.TimeOnly), strconv.Itoa(f.Status), f.Why, f.Mode, f.ID})
	}
	return t
}

// plain is all of it as text, for what is no terminal.
func (m *topModel) plain() string {
	lines := slices.Clone(m.head())
	for which, name := range []string{"Scripts", "Processes", "FastCGI servers", "Errors"} {
		head, rows := m.rowsOf(topTable(which))
		if len(rows) == 0 {
			continue
		}
		lines = append(append(append(lines, name, ""), append([]string{head}, rows...)...), "")
	}
	return ansi.Strip(strings.Join(lines, "\n"))
}
