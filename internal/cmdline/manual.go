package cmdline

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"warmcgi/internal/version"
)

type manualCmd struct{}

// Run prints the manual page.
func (manualCmd) Run(k *kong.Kong, out io.Writer) error {
	_, err := io.WriteString(out, manual(k.Model))
	return err
}

// manual is what all --help together say, as go-md2man reads it.
func manual(app *kong.Application) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%% %s 1 \"\" \"warmcgi %s\" \"User Commands\"\n\n", strings.ToUpper(app.Name), version.Number())
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n", app.Name, escaped(firstSentence(app.Help)))
	fmt.Fprintf(&b, "# SYNOPSIS\n\n**%s** *COMMAND* [*flags*]\n\n# DESCRIPTION\n\n%s\n\n", app.Name, escaped(app.Help))
	writeFlags(&b, app.Node)
	b.WriteString("# COMMANDS\n\n")
	for _, n := range app.Leaves(true) {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", synopsis(n), escaped(n.Help))
		for _, a := range n.Positional {
			fmt.Fprintf(&b, "**%s**\n: %s\n\n", strings.ToUpper(a.Name), escaped(a.Help))
		}
		writeFlags(&b, n)
		if n.Detail != "" {
			b.WriteString(detail(n.Detail) + "\n\n")
		}
	}
	return b.String()
}

// synopsis is a command with its arguments.
func synopsis(n *kong.Node) string {
	text := n.Path()
	for _, a := range n.Positional {
		name := strings.ToUpper(a.Name)
		if a.IsCumulative() {
			name += "..."
		}
		if !a.Required {
			name = "[" + name + "]"
		}
		text += " " + name
	}
	return escaped(text)
}

func writeFlags(b *strings.Builder, n *kong.Node) {
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		name := f.Value.Summary()
		if f.Short != 0 {
			name = fmt.Sprintf("-%c, %s", f.Short, name)
		}
		fmt.Fprintf(b, "**%s**\n: %s\n\n", escaped(name), escaped(f.Help))
	}
}

// detail keeps what is indented as it is, which Markdown shows as code with four blanks.
func detail(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			b.WriteString("  " + line)
		} else {
			b.WriteString(escaped(line))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// escaped keeps Markdown from seeing anything in a text.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, ">", `\>`, "[", `\[`, "#", `\#`).Replace(text)
}

func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".")
}
