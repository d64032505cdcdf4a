package main

import (
	"errors"
	"fmt"
	"io"

	"warmcgi/internal/config"
)

type checkCmd struct {
	File   string `arg:"" optional:"" help:"Configuration file."`
	Config string `short:"c" placeholder:"FILE" help:"The same, as serve has it."`
}

// Run ends with status 1 where serving the file would not do all that it says.
func (c *checkCmd) Run(out io.Writer) error {
	file, err := oneOf(c.File, c.Config)
	if err != nil {
		return fmt.Errorf("%w: gateway check FILE", err)
	}
	conf, err := loadConfig(file)
	if err != nil {
		return err
	}
	if bad := conf.CheckFiles(); len(bad) > 0 {
		return config.Errors(bad)
	}
	for _, n := range conf.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	_, err = fmt.Fprintf(out, "%s is fine: %s, %s\n", file, count(len(conf.Listen), "door"), count(len(conf.Routes), "route"))
	return err
}

// oneOf is the configuration file that was named, as an argument or by --config.
func oneOf(argument, flag string) (string, error) {
	if (argument == "") == (flag == "") {
		return "", errors.New("give one configuration file")
	}
	return argument + flag, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type configCmd struct {
	Reference bool `help:"Print every key with its meaning, its values and its default."`
	Schema    bool `help:"Print the JSON Schema of the file, for editors."`
}

func (c *configCmd) Run(out io.Writer) error {
	switch {
	case c.Reference == c.Schema:
		return errors.New("give either --reference or --schema")
	case c.Reference:
		_, err := fmt.Fprint(out, config.Reference())
		return err
	}
	b, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}
