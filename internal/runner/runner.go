// Package runner holds the runners: the small programs, each in its script's own
// language, that turn an interpreter into a warm parent and its children into workers
// (docs/worker-protocol.md). They are embedded; nothing has to be installed.
package runner

import "fmt"

// A Language is one that has a runner.
type Language struct {
	// Name is the language's: perl, python or ruby.
	Name string
	// Text is the program that the interpreter is given in place of the script. It is
	// made for one script and one mode ("warm" or "reuse"), by a process that may read
	// the script. An error means that the script cannot be warm, and says why.
	Text func(script, mode string) ([]byte, error)
	// Switch reports whether the runner can keep what a one-letter switch of the #!
	// line means; a script with another one stays in mode spawn. arg is what follows
	// the letter in the same word, if the switch takes an argument there.
	Switch func(letter byte, arg string) bool
	// Argument lists the switches that take the rest of their word, or the next one.
	Argument string
}

// Text is the program of a language's runner for one script, see [Language].
func Text(language, script, mode string) ([]byte, error) {
	for _, l := range languages {
		if l.Name == language {
			return l.Text(script, mode)
		}
	}
	return nil, fmt.Errorf("%w: language %q", ErrNoRunner, language)
}
