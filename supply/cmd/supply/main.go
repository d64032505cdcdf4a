// Command supply says what the programs are made of. `make licences` and packaging/deb run it.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/alecthomas/kong"

	"warmcgi/supply"
)

type commands struct {
	Root string `default:".." placeholder:"FOLDER" help:"Our sources."`
	Arch string `default:"${arch}" env:"ARCH" help:"What the programs are built for (GOARCH)."`

	Licences  licences  `cmd:"" help:"Prints docs/licences.md. Fails for a module whose licence is not allowed."`
	Copyright copyright `cmd:"" help:"Prints Debian's copyright file."`
	Texts     texts     `cmd:"" help:"Prints all licence files and notices."`
	Bill      bill      `cmd:"" help:"Prints the bill of materials (CycloneDX) of built programs."`
}

func main() {
	var c commands
	k := kong.Parse(&c, kong.Name("supply"), kong.Description("What the programs are made of."), kong.Vars{"arch": runtime.GOARCH})
	k.FatalIfErrorf(k.Run(supply.Target{Root: c.Root, Arch: c.Arch}))
}

// licensed are our module and those that are linked into the programs, all of which may be.
func licensed(to supply.Target) (supply.Module, []supply.Licensed, error) {
	ours, modules, err := supply.Linked(context.Background(), to, supply.Programs()...)
	if err != nil {
		return ours, nil, err
	}
	all, err := supply.License(modules)
	return ours, all, err
}

type licences struct{}

func (licences) Run(to supply.Target) error {
	ours, modules, err := licensed(to)
	if err != nil {
		return err
	}
	return write([]byte(supply.Page(ours, modules)))
}

type copyright struct{}

func (copyright) Run(to supply.Target) error {
	_, modules, err := licensed(to)
	if err != nil {
		return err
	}
	return write([]byte(supply.Copyright(modules)))
}

type texts struct{}

func (texts) Run(to supply.Target) error {
	_, modules, err := licensed(to)
	if err != nil {
		return err
	}
	return supply.Texts(os.Stdout, modules)
}

type bill struct {
	Version  string   `required:"" help:"Of warmcgi."`
	Commit   string   `default:"unknown" help:"That the programs were built from."`
	Epoch    int64    `required:"" env:"SOURCE_DATE_EPOCH" help:"Seconds since 1970: the time of the commit."`
	Programs []string `arg:"" type:"existingfile" help:"Built programs."`
}

func (b bill) Run(to supply.Target) error {
	p := supply.Product{Version: b.Version, Commit: b.Commit, Time: time.Unix(b.Epoch, 0)}
	made, err := supply.Bill(context.Background(), to, p, b.Programs...)
	if err != nil {
		return err
	}
	text, err := supply.Encode(made)
	if err != nil {
		return err
	}
	return write(text)
}

func write(text []byte) error {
	if _, err := os.Stdout.Write(text); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}
