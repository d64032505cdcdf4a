package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"warmcgi/internal/config"
	"warmcgi/internal/gateway"
)

// A Process is a program around a server: what its signals do, and the commands that reach it by the admin door.
// It is a [gateway.Process].
type Process struct {
	Server *gateway.Server
	Log    *slog.Logger
	// Wait is how long requests may go on when the program ends.
	Wait time.Duration
	// Load reads the configuration again; nil: there is none to reload.
	Load func() (*config.Config, error)
	// Upgrader starts the program that takes over; nil: it can't be upgraded.
	Upgrader *Upgrader

	upgraded chan int // gets the process that has taken over

	// turn is held by a reload and by an upgrade: what the new process takes over must not change meanwhile.
	turn  chan struct{}
	leave bool // an upgrade was done; of whoever has the turn
}

// ErrNoReload: the program has no configuration file.
var ErrNoReload = errors.New("there is no configuration to be read again")

// Run serves until SIGINT or SIGTERM, and then lets requests end for as long as Wait; a second signal does not wait. SIGUSR1
// reopens the logs, SIGHUP reads the configuration again, SIGUSR2 starts the program anew, as it is on disk now, and has it
// take over. What scripts have left behind ends with it.
func (p *Process) Run() error {
	p.upgraded, p.turn = make(chan int, 1), make(chan struct{}, 1)
	endOrphans := ReapOrphans(p.Log, func(pid int) bool { return p.Server.Owns(pid) || p.Upgrader.owns(pid) })
	successor := 0
	defer func() { endOrphans(successor) }()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	if p.Load != nil {
		signal.Notify(signals, syscall.SIGHUP)
	}
	if p.Upgrader != nil {
		signal.Notify(signals, syscall.SIGUSR2)
		defer p.Upgrader.Stop()
	}
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked := newAsked(ctx, p)
	defer asked.wait()
	defer cancel()
	terminal := openTerminals()

	p.Upgrader.loadAhead(ctx, p.Server)
	failed := make(chan error, 1)
	go func() { failed <- p.Server.Serve() }() // ends with Shutdown
	if err := p.ready(); err != nil {
		return errors.Join(err, p.shutdown(5*time.Second), <-failed)
	}
	for {
		select {
		case err := <-failed:
			return errors.Join(err, p.shutdown(5*time.Second))
		case successor = <-p.upgraded:
			p.Log.Info("another process has taken over: waiting for requests", "pid", successor, "at_most", p.Wait)
			return errors.Join(p.end(signals, p.Server.Leave), <-failed)
		case sig := <-signals:
			switch {
			case sig == syscall.SIGUSR1:
				p.reopenLogs()
			case sig == syscall.SIGHUP && !terminal.gone():
				asked.reload()
			case sig == syscall.SIGUSR2:
				asked.upgrade()
			default:
				notify("STOPPING=1")
				p.Log.Info("ending: waiting for requests", "signal", sig.String(), "at_most", p.Wait)
				p.Upgrader.Stop()
				return errors.Join(p.end(signals, p.Server.Shutdown), <-failed)
			}
		}
	}
}

// ready tells whoever has started the program that it serves.
func (p *Process) ready() error {
	if err := p.Upgrader.ready(); err != nil {
		return err
	}
	p.Server.TakeOver()
	p.Server.SetProcess(p)
	notify("READY=1\nSTATUS=serving")
	return nil
}

func (p *Process) shutdown(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return p.Server.Shutdown(ctx)
}

// end lets requests end for as long as Wait, or until a second signal.
func (p *Process) end(signals <-chan os.Signal, how func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Wait)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() { // ends with the server
		for {
			select {
			case sig := <-signals:
				switch sig {
				case syscall.SIGUSR1:
					p.reopenLogs()
				case syscall.SIGINT, syscall.SIGTERM:
					p.Log.Info("ending at once", "signal", sig.String())
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	return how(ctx)
}

func (p *Process) reopenLogs() {
	if err := p.Server.ReopenLogs(); err != nil {
		p.Log.Error("can't reopen the access log; the old one stays", "err", err)
	}
}

// ErrLeaving: another process has taken over, and is the one to ask.
var ErrLeaving = errors.New("another process has taken over from this one")

// take has the turn, until done is called.
func (p *Process) take(ctx context.Context) (done func(), err error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("a reload or an upgrade is under way: %w", context.Cause(ctx))
	}
	if p.leave {
		<-p.turn
		return nil, ErrLeaving
	}
	return func() { <-p.turn }, nil
}

// Reload implements [gateway.Process].
func (p *Process) Reload(ctx context.Context) (*gateway.Reloaded, error) {
	if p.Load == nil {
		return nil, ErrNoReload
	}
	done, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	notifyReloading()
	r, err := p.Server.Reload(ctx, p.Load)
	status := "STATUS=serving"
	if err != nil {
		status = "STATUS=the last reload was refused, the configuration before it is served"
	}
	notify("READY=1\n" + status)
	return r, err
}

// Upgrade implements [gateway.Process].
func (p *Process) Upgrade(ctx context.Context) (pid int, err error) {
	if p.Upgrader == nil {
		return 0, fmt.Errorf("%w: this program can't be upgraded", ErrUpgrade)
	}
	done, err := p.take(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	p.Log.Info("starting the program anew, to have it take over")
	if pid, err = p.Upgrader.upgrade(p.Server); err != nil {
		p.Log.Error("the upgrade has failed, this process goes on", "err", err)
		return 0, err
	}
	p.leave = true
	notify(fmt.Sprintf("MAINPID=%d", pid))
	p.upgraded <- pid
	return pid, nil
}

// asked does what signals ask for, one after another. It ends with its context.
type asked struct {
	ctx      context.Context
	p        *Process
	reloads  chan struct{} // what is asked for twice is done once
	upgrades chan struct{}
	done     chan struct{}
}

func newAsked(ctx context.Context, p *Process) *asked {
	a := &asked{ctx: ctx, p: p, reloads: make(chan struct{}, 1), upgrades: make(chan struct{}, 1), done: make(chan struct{})}
	go a.run() // ends with ctx
	return a
}

func (a *asked) run() {
	defer close(a.done)
	for {
		select {
		case <-a.reloads:
			a.p.Reload(a.ctx) // says itself what came of it
		case <-a.upgrades:
			a.p.Upgrade(a.ctx)
		case <-a.ctx.Done():
			return
		}
	}
}

func (a *asked) reload()  { ask(a.reloads) }
func (a *asked) upgrade() { ask(a.upgrades) }
func (a *asked) wait()    { <-a.done }

func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
