package runner

import (
	_ "embed"
	"fmt"
	"strings"
)

// Ruby can't be told another name for its main program, so the interpreter starts twice:
// ruby_start.rb replaces itself by an interpreter that has the script as its program,
// and requires what follows __END__ here, the runner, before it.
var (
	//go:embed ruby_start.rb
	rubyStart string
	//go:embed ruby.rb
	rubyParent string
	//go:embed ruby_begin.rb
	rubyBegin string
	//go:embed ruby_ahead.rb
	rubyAhead string
	//go:embed ruby_worker.rb
	rubyWorker string
	//go:embed ruby_reuse.rb
	rubyReuse string
	//go:embed ruby_main.rb
	rubyMain string
)

var ruby = Language{
	Name:     "ruby",
	Text:     rubyText,
	Argument: "IrEKWT0F",
	Switch: func(letter byte, arg string) bool {
		return strings.IndexByte("wWUEKIrT", letter) >= 0 // the others change what the program is, or show the runner (-d, -v)
	},
}

func rubyText(script, mode string) ([]byte, error) {
	if strings.ContainsAny(script, "\x00\n\r") {
		return nil, fmt.Errorf("%w: its path %q", ErrNoRunner, script)
	}
	parts := []string{rubyAhead, rubyWorker, rubyBegin, rubyParent}
	if mode == "reuse" {
		parts = append(parts, rubyReuse)
	}
	parts = append(parts, rubyMain)
	quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(script) + "'"
	return []byte("# -*- coding: binary -*-\nSCRIPT = " + quoted + "\n" + rubyStart + "\n__END__\n" +
		strings.Join(parts, "\n")), nil
}
