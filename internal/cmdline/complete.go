package cmdline

import (
	"strings"

	"github.com/alecthomas/kong"
)

// A candidate is what a word can be.
type candidate struct{ word, about string }

// What the shell completes itself.
const (
	files   = ":files"
	folders = ":folders"
)

// complete says what the last of the words can be.
func complete(root *kong.Node, words []string) []candidate {
	words = joined(words)
	if len(words) == 0 {
		words = []string{""}
	}
	at := place{node: root}
	for _, w := range words[:len(words)-1] {
		at.pass(w)
	}
	return at.candidates(words[len(words)-1])
}

// joined undoes what bash does to words: it splits them at = and at :.
func joined(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		w, last := words[i], len(words)-1
		switch {
		case w == "=" && i == last: // nothing of the value is there yet
			out = append(out, "")
		case w == "=" && len(out) > 0 && strings.HasPrefix(out[len(out)-1], "-"): // the value is a word of its own
		case w == "=" && len(out) > 0:
			i++
			out[len(out)-1] += "=" + words[i]
		case w == ":" && len(out) > 0 && i < last:
			i++
			out[len(out)-1] += ":" + words[i]
		default:
			out = append(out, w)
		}
	}
	return out
}

// A place is how far the command line has come.
type place struct {
	node   *kong.Node
	args   int        // positional arguments that were given
	value  *kong.Flag // that waits for its value
	noMore bool       // flags: behind --
}

// pass goes on behind a word.
func (p *place) pass(word string) {
	switch {
	case p.value != nil:
		p.value = nil
	case p.noMore || !strings.HasPrefix(word, "-") || word == "-":
		if child := p.command(word); child != nil {
			p.node, p.args = child, 0
			return
		}
		p.args++
	case word == "--":
		p.noMore = true
	default:
		name, _, has := strings.Cut(word, "=")
		if f := p.flag(name); f != nil && !has && !f.IsBool() {
			p.value = f
		}
	}
}

func (p *place) command(name string) *kong.Node {
	for _, c := range p.node.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// flag finds one by --name, or by -x, which may be the last of several letters.
func (p *place) flag(word string) *kong.Flag {
	long, isLong := strings.CutPrefix(word, "--")
	for _, f := range p.flags() {
		switch {
		case isLong && f.Name == long:
			return f
		case !isLong && f.Short != 0 && strings.HasSuffix(word, string(f.Short)):
			return f
		}
	}
	return nil
}

// flags are those of the command and of what it is a command of.
func (p *place) flags() (list []*kong.Flag) {
	for _, group := range p.node.AllFlags(true) {
		list = append(list, group...)
	}
	return list
}

func (p *place) candidates(word string) []candidate {
	if p.value != nil {
		return valuesOf(p.value.Value, p.value.FormatPlaceHolder(), "", word)
	}
	if strings.HasPrefix(word, "-") && !p.noMore {
		name, value, has := strings.Cut(word, "=")
		if !has {
			return p.flagNames(word)
		}
		if f := p.flag(name); f != nil && !f.IsBool() {
			return valuesOf(f.Value, f.FormatPlaceHolder(), name+"=", value)
		}
		return nil
	}
	var list []candidate
	for _, c := range p.node.Children {
		if !c.Hidden && strings.HasPrefix(c.Name, word) {
			list = append(list, candidate{c.Name, c.Help})
		}
	}
	if arg := p.argument(); arg != nil {
		list = append(list, valuesOf(arg, strings.ToUpper(arg.Name), "", word)...)
	}
	return list
}

// argument is the positional one that comes next.
func (p *place) argument() *kong.Value {
	list := p.node.Positional
	switch {
	case p.args < len(list):
		return list[p.args]
	case len(list) > 0 && list[len(list)-1].IsCumulative():
		return list[len(list)-1]
	}
	return nil
}

func (p *place) flagNames(word string) (list []candidate) {
	for _, f := range p.flags() {
		if name := "--" + f.Name; strings.HasPrefix(name, word) {
			list = append(list, candidate{name, f.Help})
		}
	}
	return list
}

// valuesOf is what a value can be: one of its words, or what its name says.
func valuesOf(v *kong.Value, name, before, word string) (list []candidate) {
	if v.Enum != "" {
		for _, e := range v.EnumSlice() {
			if strings.HasPrefix(e, word) {
				list = append(list, candidate{before + e, ""})
			}
		}
		return list
	}
	switch name {
	case "DIR", "FOLDER":
		return []candidate{{folders, ""}}
	case "FILE", "SCRIPT", "PROGRAM", "PATH", "BODY":
		return []candidate{{files, ""}}
	}
	return nil
}
