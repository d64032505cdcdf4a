package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"

	"warmcgi/internal/gateway"
)

type topCmd struct {
	adminFlags
}

// Help is the legend and the keys.
func (topCmd) Help() string {
	return `It shows this second and the last minutes of a running gateway: requests per second, times, requests under way and waiting, and four tables: scripts with their mode,
processes with the request that they have, FastCGI servers, and requests that went wrong with what their scripts have written to standard error.

  q        quit                     up, down  select
  tab      next table               s         sort: load, name, time, errors
  1 2 3 4  scripts, processes,      /         show only names that hold a text
           servers, errors          r         restart the selected script

Rates of scripts are over the last ten to twenty seconds. Where it does not write to a terminal it shows the tables once, two seconds after it has begun to
look.`
}

// reconnect is how long it waits before it asks a gateway again that was lost.
const reconnect = 2 * time.Second

func (c *topCmd) Run(out io.Writer) error {
	door, err := c.door()
	if err != nil {
		return err
	}
	var about gateway.About
	if err := door.read("/api/v1/about", &about); err != nil {
		return err
	}
	f, ok := out.(*os.File)
	if !ok || terminalWidth(f) == 0 {
		return topOnce(door, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := tea.NewProgram(newTopModel(door), tea.WithContext(ctx), tea.WithOutput(f))
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		watchGateway(ctx, door, p.Send)
	}()
	_, err = p.Run()
	cancel()
	<-done
	if errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}

// What the model is told of the gateway.
type (
	aboutMsg   gateway.About
	historyMsg historyList
	liveMsg    gateway.LiveState
	failureMsg failureList
	lostMsg    struct{ err error }
)

// watchGateway tells of each event, until ctx ends. It asks again when the stream was lost.
func watchGateway(ctx context.Context, door *adminDoor, tell func(tea.Msg)) {
	for {
		err := door.events(ctx, func(name string, data []byte) error {
			msg, err := eventMsg(name, data)
			if msg != nil {
				tell(msg)
			}
			return err
		})
		if ctx.Err() != nil {
			return
		}
		tell(lostMsg{err})
		select {
		case <-time.After(reconnect):
		case <-ctx.Done():
			return
		}
	}
}

// eventMsg is nil for an event that is of no interest.
func eventMsg(name string, data []byte) (tea.Msg, error) {
	switch name {
	case "about":
		return decoded[aboutMsg](data)
	case "history":
		return decoded[historyMsg](data)
	case "live":
		return decoded[liveMsg](data)
	case "failures":
		return decoded[failureMsg](data)
	}
	return nil, nil
}

func decoded[T any](data []byte) (tea.Msg, error) {
	var m T
	err := json.Unmarshal(data, &m)
	return m, err
}

// topOnce shows everything once: when the rates of scripts are known, which nobody counts
// while nobody looks.
func topOnce(door *adminDoor, out io.Writer) error {
	m := newTopModel(door)
	m.width, m.height = onceWidth, 1<<20
	enough := errors.New("enough")
	states := 0
	err := door.events(context.Background(), func(name string, data []byte) error {
		msg, err := eventMsg(name, data)
		if err != nil {
			return err
		}
		m.take(msg)
		if _, is := msg.(liveMsg); is {
			states++
		}
		if states > 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		return err
	}
	_, err = io.WriteString(out, m.plain())
	return err
}

// onceWidth is as wide as tables are without a terminal.
const onceWidth = 160
