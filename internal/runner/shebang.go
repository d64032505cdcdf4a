package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
)

// ErrNoRunner: the script is not in a language that has a runner, or its #! line says
// something that the runner cannot keep.
var ErrNoRunner = errors.New("no runner for it")

// A Program is how a script's interpreter is started.
type Program struct {
	// Language is the interpreter's; nil where the route names its own runner.
	Language *Language
	// Argv is the command up to where the kernel would put the script's path.
	Argv []string
}

// languages are those that have a runner.
var languages = []*Language{&perl, &python, &ruby}

// MaxLine is how many octets of a script Linux reads to find its #! line (execve(2)).
const MaxLine = 255

// SplitLine splits what stands behind #! as the kernel does: an interpreter, and all that
// follows it as one argument, or "".
func SplitLine(line string) (program, arg string) {
	program, arg, _ = strings.Cut(strings.ReplaceAll(strings.Trim(line, " \t"), "\t", " "), " ")
	return program, strings.Trim(arg, " ")
}

// Find reads the #! line of a script. interpreter, if not "", is what runs it instead.
// The error wraps [ErrNoRunner] and says why the script can only be spawned.
func Find(script, interpreter string) (*Program, error) {
	p := &Program{}
	words := []string{interpreter}
	if interpreter == "" {
		line, err := interpreterLine(script)
		if err != nil {
			return nil, err
		}
		prog, arg := SplitLine(line)
		p.Argv = []string{prog}
		words = p.Argv
		if arg != "" {
			p.Argv = append(p.Argv, arg) // one word, as the kernel gives it
			words = append([]string{prog}, strings.Fields(arg)...)
		}
		if path.Base(prog) == "env" {
			if words, err = envWords(arg); err != nil {
				return nil, err
			}
		}
	} else {
		p.Argv = words
	}
	if p.Language = languageOf(strings.TrimSuffix(words[0], "\r")); p.Language == nil {
		return nil, fmt.Errorf("%w: it runs by %s", ErrNoRunner, words[0])
	}
	if strings.HasSuffix(p.Argv[len(p.Argv)-1], "\r") && !p.Language.takesCR(words[1:], p.Argv) {
		return nil, fmt.Errorf("%w: its #! line ends in CRLF, as if written on Windows", ErrNoRunner)
	}
	return p, p.Language.keeps(words[1:])
}

// takesCR reports whether the interpreter runs by a #! line of a file with DOS line ends. Only as part of an argument
// can it: perl takes it for the end of its switches, and env -S for a blank. (Ruby would warn.)
func (l *Language) takesCR(switches, argv []string) bool {
	return len(argv) > 1 && (l.Name == "perl" && len(switches) > 0 || l.Name != "ruby" && strings.HasPrefix(argv[1], "-S"))
}

// Interpreter is the program that runs a script by its #! line, or "".
func Interpreter(script string) string {
	line, err := interpreterLine(script)
	if err != nil {
		return ""
	}
	program, arg := SplitLine(line)
	if path.Base(program) == "env" {
		if words, err := envWords(arg); err == nil {
			program = words[0]
		}
	}
	return program
}

// interpreterLine is what stands behind #!.
func interpreterLine(script string) (string, error) {
	f, err := os.Open(script)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, MaxLine)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, whole := strings.Cut(string(b[:n]), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "", fmt.Errorf("%w: it has no #! line", ErrNoRunner)
	}
	switch line = strings.Trim(line, " 	"); {
	case line == "":
		return "", fmt.Errorf("%w: its #! line names no interpreter", ErrNoRunner)
	case !whole:
		return "", fmt.Errorf("%w: its #! line is longer than %d octets, or has no end", ErrNoRunner, MaxLine)
	}
	return line, nil
}

// envWords is the command that env(1) runs for the one argument that it gets.
func envWords(arg string) ([]string, error) {
	words := []string{arg}
	if s, ok := strings.CutPrefix(arg, "-S"); ok {
		if strings.ContainsAny(s, `"'\$#`) {
			return nil, fmt.Errorf("%w: quotes in its #! line", ErrNoRunner)
		}
		words = strings.Fields(s)
	}
	for len(words) > 0 && strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "-") {
		words = words[1:]
	}
	if len(words) == 0 || words[0] == "" || words[0][0] == '-' || strings.Contains(words[0], " ") {
		return nil, fmt.Errorf("%w: env %s", ErrNoRunner, arg)
	}
	return words, nil
}

var versioned = regexp.MustCompile(`^(perl|python|ruby)-?[0-9.]*$`)

func languageOf(interpreter string) *Language {
	m := versioned.FindStringSubmatch(path.Base(interpreter))
	if m == nil {
		return nil
	}
	for _, l := range languages {
		if l.Name == m[1] {
			return l
		}
	}
	return nil
}

// keeps checks the switches of a #! line.
func (l *Language) keeps(words []string) error {
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if w == "--" && l.Name == "perl" {
			return nil // perl looks no further, as the kernel has given it all as one word
		}
		if len(w) < 2 || w[0] != '-' || w[1] == '-' {
			return fmt.Errorf("%w: %q in its #! line", ErrNoRunner, w)
		}
		for i := 1; i < len(w); i++ {
			arg := ""
			takes := strings.IndexByte(l.Argument, w[i]) >= 0
			if takes {
				if arg = w[i+1:]; arg == "" && len(words) > 0 {
					arg, words = words[0], words[1:]
				}
			}
			if !l.Switch(w[i], arg) {
				return fmt.Errorf("%w: switch -%c in its #! line", ErrNoRunner, w[i])
			}
			if takes {
				break
			}
		}
	}
	return nil
}

// Foreign is how a runner of the route's own is started. One that is a binary, or has a
// #! line of its own, is a program. Otherwise it is run by what runs the script.
func Foreign(runner, script, interpreter string) (*Program, error) {
	magic := make([]byte, 4)
	f, err := os.Open(runner)
	if err != nil {
		return nil, err
	}
	n, _ := io.ReadFull(f, magic)
	f.Close()
	if string(magic[:n]) == "\x7fELF" {
		return &Program{}, nil
	}
	line, err := interpreterLine(runner)
	if err != nil && interpreter != "" {
		return &Program{Argv: []string{interpreter}}, nil
	}
	if err != nil {
		line, err = interpreterLine(script)
	}
	if err != nil {
		return nil, err
	}
	prog, arg, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	p := &Program{Argv: []string{prog}}
	if arg = strings.Trim(arg, " "); arg != "" {
		p.Argv = append(p.Argv, arg)
	}
	return p, nil
}
