package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"warmcgi/internal/gateway"
	"warmcgi/internal/live"
)

// topTable is one of the tables of gateway top.
type topTable int

const (
	topScripts topTable = iota
	topProcesses
	topServers
	topErrors
	topTables // how many there are
)

// topOrder is what scripts are sorted by.
type topOrder int

const (
	byLoad topOrder = iota
	byName
	byTime
	byErrors
	topOrders // how many there are
)

func (o topOrder) String() string { return [...]string{"load", "name", "time", "errors"}[o] }

// historyMax is how many seconds are kept for the curve.
const historyMax = 300

// topModel is what gateway top knows and shows.
type topModel struct {
	door          *adminDoor
	width, height int

	about    gateway.About
	state    gateway.LiveState
	history  []live.Sample
	failures []live.Failure // the newest first
	seen     bool           // a state has come
	lost     error          // nil: connected

	table     topTable
	order     topOrder
	filter    string
	filtering bool             // what is typed goes into the filter
	selected  map[topTable]int // rows
	script    string           // the selected one
	confirm   string           // the script that is to be restarted, if the user says so
	said      string           // what came of it
}

func newTopModel(door *adminDoor) *topModel {
	return &topModel{door: door, selected: map[topTable]int{}}
}

// historyList is the answer of /api/v1/history.
type historyList struct {
	Samples []live.Sample `json:"samples"`
}

// restartedMsg is what came of a restart.
type restartedMsg struct {
	done string
	err  error
}

// Init implements [tea.Model].
func (m *topModel) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg)
	case restartedMsg:
		if m.said = msg.done; msg.err != nil {
			m.said = msg.err.Error()
		}
	default:
		m.take(msg)
	}
	return m, nil
}

// take takes what the gateway says.
func (m *topModel) take(msg tea.Msg) {
	switch msg := msg.(type) {
	case aboutMsg:
		m.about, m.lost = gateway.About(msg), nil
	case historyMsg:
		m.history = msg.Samples
	case failureMsg:
		m.failures = msg.Failures
	case lostMsg:
		m.lost = msg.err
	case liveMsg:
		m.state, m.seen, m.lost = gateway.LiveState(msg), true, nil
		if n := len(m.history); n == 0 || m.history[n-1].At != m.state.Sample.At {
			m.history = append(m.history, m.state.Sample)
			m.history = m.history[max(0, len(m.history)-historyMax):]
		}
	}
}

// key does what a key asks for.
func (m *topModel) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	m.said = ""
	switch {
	case m.confirm != "":
		return m.answer(name)
	case m.filtering:
		m.typed(k)
		return nil
	}
	switch name {
	case "q":
		return tea.Quit
	case "esc":
		m.filter = ""
	case "tab":
		m.table = (m.table + 1) % topTables
	case "shift+tab":
		m.table = (m.table + topTables - 1) % topTables
	case "1", "2", "3", "4":
		m.table = topTable(name[0] - '1')
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(+1)
	case "pgup":
		m.move(-m.rows())
	case "pgdown":
		m.move(+m.rows())
	case "home", "g":
		m.move(-1 << 30)
	case "end", "G":
		m.move(1 << 30)
	case "s":
		m.order = (m.order + 1) % topOrders
	case "/":
		m.filtering = true
	case "r":
		m.confirm = m.restartable()
	}
	return nil
}

// typed is a key while the filter is typed.
func (m *topModel) typed(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.filtering = false
	case "esc":
		m.filtering, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		m.filter += k.Text
	}
}

// restartable is the selected script, or "" and why not.
func (m *topModel) restartable() string {
	switch {
	case m.table != topScripts:
		m.said = "select a script (1) to restart it"
	case m.lost != nil:
		m.said = "there is no connection to the gateway"
	default:
		if list := m.scripts(); len(list) > 0 {
			s := list[m.row(len(list))]
			if s.Pooled {
				return s.Script
			}
			m.said = s.Script + " has no workers to restart"
		}
	}
	return ""
}

// answer is a key while the user is asked.
func (m *topModel) answer(key string) tea.Cmd {
	script := m.confirm
	m.confirm = ""
	if key != "y" {
		return nil
	}
	m.said = "restarting " + script
	door := m.door
	return func() tea.Msg {
		done, err := door.act(http.MethodPost, "/api/v1/scripts/restart", map[string]any{"script": script})
		return restartedMsg{done, err}
	}
}

// move moves the selection by some rows.
func (m *topModel) move(by int) {
	n := m.length()
	row := min(max(m.row(n)+by, 0), max(n-1, 0))
	m.selected[m.table] = row
	if m.table == topScripts && n > 0 {
		m.script = m.scripts()[row].Script
	}
}

// row is the selected one of so many. A script stays selected where the order changes.
func (m *topModel) row(n int) int {
	row := m.selected[m.table]
	if m.table == topScripts && m.script != "" {
		if at := slices.IndexFunc(m.scripts(), func(s gateway.LiveScript) bool { return s.Script == m.script }); at >= 0 {
			row = at
		}
	}
	return min(max(row, 0), max(n-1, 0))
}

// length is how many rows the table has.
func (m *topModel) length() int {
	switch m.table {
	case topProcesses:
		return len(m.workers())
	case topServers:
		return len(serversTable(m.state.Applications).rows)
	case topErrors:
		return len(m.errors())
	}
	return len(m.scripts())
}

func (m *topModel) shows(name string) bool { return strings.Contains(name, m.filter) }

// scripts are those that are shown, in their order.
func (m *topModel) scripts() []gateway.LiveScript {
	list := slices.DeleteFunc(slices.Clone(m.state.Scripts), func(s gateway.LiveScript) bool { return !m.shows(s.Script) })
	slices.SortStableFunc(list, func(a, b gateway.LiveScript) int {
		var by int
		switch m.order {
		case byLoad:
			by = cmp.Compare(b.Rate, a.Rate)
		case byTime:
			by = cmp.Compare(seconds(b.P95), seconds(a.P95))
		case byErrors:
			by = cmp.Or(cmp.Compare(b.ErrorRate, a.ErrorRate), cmp.Compare(b.Failed, a.Failed))
		}
		return cmp.Or(by, cmp.Compare(a.Script, b.Script))
	})
	return list
}

func seconds(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

// workers are the processes that are shown: those that work first, for the longest.
func (m *topModel) workers() []gateway.LiveWorker {
	list := slices.DeleteFunc(slices.Clone(m.state.Workers), func(w gateway.LiveWorker) bool { return !m.shows(w.Script) })
	since := func(w gateway.LiveWorker) time.Duration {
		if w.Current == nil {
			return -1
		}
		return m.state.At.Sub(w.Current.Began)
	}
	slices.SortStableFunc(list, func(a, b gateway.LiveWorker) int { return cmp.Compare(since(b), since(a)) })
	return list
}

// errors are the failures that are shown.
func (m *topModel) errors() []live.Failure {
	return slices.DeleteFunc(slices.Clone(m.failures), func(f live.Failure) bool { return !m.shows(f.Script + f.Path) })
}
