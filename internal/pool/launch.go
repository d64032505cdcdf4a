package pool

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/puddle/v2"

	"warmcgi/internal/cgi"
	"warmcgi/internal/shim"
)

// newGeneration makes the shim and sends it its orders. The rest is told by the control socket.
func (p *Pool) newGeneration(mode cgi.Mode, hints map[string]string) (*generation, error) {
	g := &generation{
		p: p, mode: mode, began: time.Now(), cookie: rand.Text(), hints: hints,
		workers: map[int]*worker{}, left: make(chan struct{}), handed: make(chan struct{}), files: newFiles(p.script.File),
	}
	var err error
	g.idlers, err = puddle.NewPool(&puddle.Config[*worker]{
		// Workers come by themselves, see arrive.
		Constructor: workerOf,
		Destructor:  func(*worker) {},
		MaxSize:     maxWorkers,
	})
	if err != nil {
		return nil, err
	}
	if g.dir, err = os.MkdirTemp(p.set.dir.Path, "s"); err != nil {
		return nil, err
	}
	if g.ln, err = p.listen(g.dir); err != nil {
		os.RemoveAll(g.dir)
		return nil, err
	}
	if g.group, err = p.set.c.Groups.Use(p.confine, p.script.File); err == nil {
		err = g.exec()
	}
	if err != nil {
		g.group.Release()
		g.ln.Close()
		os.RemoveAll(g.dir)
		return nil, err
	}
	return g, nil
}

// exec starts the shim. Descriptor 0 holds an octet that must stay there, and
// descriptor 1 must stay empty: that is how loading is seen to touch neither.
func (g *generation) exec() (err error) {
	order, err := g.order()
	if err != nil {
		return err
	}
	var ours, theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	pair, err := socketpair()
	if err != nil {
		return err
	}
	g.control = os.NewFile(uintptr(pair[0]), "control socket")
	control := os.NewFile(uintptr(pair[1]), "control socket")
	ours, theirs = append(ours, g.control), append(theirs, control)
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	ours, theirs = append(ours, inR), append(theirs, inW)
	inW.Write([]byte{'x'})
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	ours, theirs = append(ours, outR), append(theirs, outW)
	errR, errW, err := os.Pipe()
	if err != nil {
		return err
	}
	theirs = append(theirs, errR, errW)
	if g.log, err = cgi.StderrOf(errR); err != nil {
		return err
	}
	g.in, g.out = inR, outR
	cmd := exec.Command(g.p.set.c.Shim[0], g.p.set.c.Shim[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	cmd.ExtraFiles = []*os.File{control}
	cmd.Env = []string{} // that of the script comes with the order
	cmd.SysProcAttr = shimAttr()
	g.group.Begin(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		g.log.Close()
		return fmt.Errorf("shim: %w", err)
	}
	g.proc.Store(cmd.Process)
	g.log.Follow(g.stderrLine)
	go g.control.Write(order) // ends when the shim has read it, or has gone
	return nil
}

// order is what the shim is to execute, and the runner to load.
func (g *generation) order() ([]byte, error) {
	p := g.p
	o := shim.Order{
		Version: shim.Version, Script: p.script.File, Dir: p.script.Dir, Mode: string(g.mode),
		Executable: p.script.Interpreter == "" && p.settings.Runner == "",
		Argv:       p.program.Argv, Runner: p.settings.Runner, Env: p.env,
		Confine: p.confine, Gateway: os.Getpid(), Socket: filepath.Join(g.dir, "s"),
	}
	if p.program.Language != nil {
		o.Language = p.program.Language.Name
	}
	first, err := o.Encode()
	if err != nil {
		return nil, err
	}
	captured := "refuse"
	if p.settings.AcceptCaptured {
		captured = "accept"
	}
	words := []string{"version", "1", "cookie", g.cookie, "mode", string(g.mode), "script", p.script.File,
		"socket", o.Socket, "captured", captured}
	if p.confine != nil && p.confine.Limits.Processes > 0 {
		words = append(words, "processes", strconv.Itoa(p.confine.Limits.Processes))
	}
	for _, name := range requestVariables(p.vars, p.env) {
		words = append(words, "variable", name)
	}
	for _, v := range p.env {
		words = append(words, "env", v)
	}
	for _, m := range p.settings.Preload {
		words = append(words, "preload", m)
	}
	for name, file := range g.hints {
		words = append(words, "late", name+"="+file)
	}
	return append(first, shim.Netstring(shim.Pairs(words...))...), nil
}

// runnersFile is what an interpreter takes for the name of its program.
const runnersFile = "/proc/self/fd/4"

func (g *generation) stderrLine(s string) {
	s = strings.ReplaceAll(s, runnersFile, g.p.script.File)
	g.p.mu.Lock()
	g.lastLine = s
	g.p.mu.Unlock()
	g.p.set.c.Log.Warn("a warm parent wrote to standard error", "script", g.p.script.Name, "line", s)
}
