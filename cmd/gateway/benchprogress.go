package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"warmcgi/internal/load"
	"warmcgi/internal/measure"
)

// progress is a line on a terminal that says how far a measurement has come. Where there is no terminal it says nothing.
type progress struct {
	out   *os.File
	width int
	quit  chan struct{}
	ended sync.WaitGroup

	mu   sync.Mutex
	name string
	span time.Duration
	at   func() (load.Progress, bool)
}

// newProgress draws until close.
func newProgress(out *os.File) *progress {
	p := &progress{out: out, width: terminalWidth(out), quit: make(chan struct{})}
	if p.width > 0 {
		p.ended.Go(p.draw) // ends with close
	}
	return p
}

// Phase implements [measure.Watcher].
func (p *progress) Phase(name string, takes time.Duration, at func() (load.Progress, bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.span, p.at = name, takes, at
}

func (p *progress) close() {
	close(p.quit)
	p.ended.Wait()
}

const (
	drawEvery = 150 * time.Millisecond
	barWidth  = 24
	eraseLine = "\r\x1b[K"
)

func (p *progress) draw() {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			fmt.Fprint(p.out, eraseLine)
			return
		case now := <-tick.C:
			line := []rune(p.line(now))
			fmt.Fprint(p.out, eraseLine+string(line[:min(len(line), p.width-1)]))
		}
	}
}

func (p *progress) line(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		return p.name
	}
	x, ok := p.at()
	if !ok {
		return p.name
	}
	gone := now.Sub(x.Began)
	line := p.name
	if p.span > 0 {
		full := int(min(1, gone.Seconds()/p.span.Seconds()) * barWidth)
		line += " [" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "]"
	}
	line += fmt.Sprintf(" %.1f s, %s right", gone.Seconds(), measure.Number(float64(x.Right)))
	if s := gone.Seconds(); s > 0.5 && !x.Ending {
		line += fmt.Sprintf(" (%s/s)", measure.Number(float64(x.Right)/s))
	}
	if x.Failed > 0 {
		line += fmt.Sprintf(", %s not", measure.Number(float64(x.Failed)))
	}
	if x.Ending {
		line += ", waiting for the last answers"
	}
	return line
}
