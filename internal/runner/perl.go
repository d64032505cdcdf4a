package runner

import (
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"strings"
)

//go:embed perl.pl
var perlRunner string

//go:embed perl_reuse.pl
var perlReuse string

// perl: the script's source follows the runner's in one text, so that it is the main
// program to perl.
var perl = Language{
	Name:     "perl",
	Text:     perlText,
	Argument: "CIMmlW0",
	Switch: func(letter byte, arg string) bool {
		switch letter {
		case 'w', 'W', 'X', 'T', 't', 'U', 'C', 'I', 'M', 'm', 'f':
			return true
		}
		return false // -n, -p, -x, -i and their like change what the program is
	},
}

func perlText(script, mode string) ([]byte, error) {
	if strings.ContainsAny(script, "\"\n\r\x00") {
		return nil, fmt.Errorf("%w: its path %q can't stand in a #line of Perl's", ErrNoRunner, script)
	}
	source, err := os.ReadFile(script)
	if err != nil {
		return nil, err
	}
	runner := perlRunner
	if mode == "reuse" {
		runner += perlReuse
	}
	// PREFIX is how much stands before the source, itself included, and so has a fixed width.
	before := func(prefix int) string {
		text := "BEGIN {\n" + runner + fmt.Sprintf("\n$SCRIPT = %s; $MODE = '%s'; $PREFIX = '%08d' + 0; $0 = $SCRIPT;\nstart(); }\n", perlQuote(script), mode, prefix) +
			"INIT { WarmCGI::loaded() }\nEND { WarmCGI::ended() }\n"
		if mode == "reuse" {
			text += "REQUEST: while (WarmCGI::next_in_reuse()) {\n"
		}
		return text + "#line 1 \"" + script + "\"\n"
	}
	if mode == "reuse" {
		source = perlBlock(source)
	}
	return append([]byte(before(len(before(0)))), source...), nil
}

var (
	perlEnd = regexp.MustCompile(`(?m)^__(END|DATA)__[ \t\r]*$`)
	perlPod = regexp.MustCompile(`(?m)^=([a-zA-Z]\w*)`)
)

// perlBlock makes a block's inside of a program. What follows __DATA__ is left to the handle.
func perlBlock(source []byte) []byte {
	data := ""
	if at := perlEnd.FindSubmatchIndex(source); at != nil {
		end := at[1] + 1 // behind the end of the line
		source = source[:at[0]]
		data = fmt.Sprintf("\n;BEGIN { WarmCGI::data_at(__PACKAGE__, %d) }", end)
	}
	pod := ""
	if all := perlPod.FindAllSubmatch(source, -1); len(all) > 0 && string(all[len(all)-1][1]) != "cut" {
		pod = "\n\n=cut\n"
	}
	return []byte(string(source) + pod + data + "\n}\n")
}

// perlQuote writes a string of Perl's.
func perlQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
