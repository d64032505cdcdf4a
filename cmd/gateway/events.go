package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// silence is after how long without anything the events count as lost: the gateway's state comes every second.
	silence = 20 * time.Second
	// maxEvent is the longest event.
	maxEvent = 64 << 20
)

// errNoEvents: the stream has ended.
var errNoEvents = errors.New("the gateway has ended, or its admin door has")

// events gives take each of the admin door's events, until ctx ends, or the stream does.
func (d *adminDoor) events(ctx context.Context, take func(name string, data []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing has come for %s", silence)) })
	defer lost.Stop()
	res, err := d.send(ctx, http.MethodGet, "/api/v1/events", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		lost.Reset(silence)
		switch key, value, _ := strings.Cut(lines.Text(), ": "); key {
		case "event":
			name = value
		case "data":
			if err := take(name, []byte(value)); err != nil {
				return err
			}
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return errNoEvents
}
