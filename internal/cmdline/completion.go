package cmdline

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

//go:embed scripts
var scripts embed.FS

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says where the script goes.
func (completionCmd) Help() string {
	return `The Debian package installs the scripts for every user. For one user, with gateway or shim for PROGRAM:

  bash  put  source <(PROGRAM completion bash)  into ~/.bashrc
  zsh   put  source <(PROGRAM completion zsh)  into ~/.zshrc, behind compinit
  fish  PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish`
}

// Run prints the script. It asks the program itself for each word.
func (c completionCmd) Run(k *kong.Kong, out io.Writer) error {
	text, err := scripts.ReadFile("scripts/complete." + c.Shell)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, strings.ReplaceAll(string(text), "PROGRAM", k.Model.Name))
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words behind the program's name; the last is the one to complete."`
}

// Run prints a candidate per line, and its description behind a tab. A line :files or :folders has the shell complete the
// name of one.
func (c completeCmd) Run(k *kong.Kong, out io.Writer) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, cand := range complete(k.Model.Node, words) {
		line := cand.word
		if cand.about != "" {
			line += "\t" + cand.about
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
