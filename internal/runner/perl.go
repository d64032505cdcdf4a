package runner

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"strings"
)

//go:embed perl.pl
var perlMain string

//go:embed perl_load.pl
var perlLoad string

//go:embed perl_rehearsal.pl
var perlRehearsal string

//go:embed perl_objects.pl
var perlObjects string

//go:embed perl_reuse.pl
var perlReuse string

// perl: the script's source follows the runner's in one text, so that it is the main
// program to perl.
var perl = Language{
	Name:     "perl",
	Text:     perlText,
	Argument: perlArgument,
	Switch:   perlSwitch,
}

const perlArgument = "CIMml0"

func perlSwitch(letter byte, arg string) bool {
	switch letter {
	case 'w', 'W', 'X', 'T', 't', 'U', 'C', 'I', 'M', 'm', 'f', 'l', '0':
		return true
	}
	return false // -n, -p, -x, -i and their like change what the program is
}

func perlText(script, mode string) ([]byte, error) {
	if strings.ContainsAny(script, "\"\n\r\x00") {
		return nil, fmt.Errorf("%w: its path %q can't stand in a #line of Perl's", ErrNoRunner, script)
	}
	source, err := os.ReadFile(script)
	if err != nil {
		return nil, err
	}
	runner := perlMain + perlLoad + perlRehearsal + perlObjects
	if mode == "reuse" {
		runner += perlReuse
	}
	runner = perlStrict.ReplaceAllString(runner, "")
	first, source, err := perlFirstLine(source)
	if err != nil {
		return nil, err
	}
	// PREFIX is how much stands before the source, itself included, and so has a fixed width.
	before := func(prefix int) string {
		text := first + "BEGIN { ($WarmCGI::WARN, $^W) = ($^W, 0) }\nBEGIN {\n" + runner +
			fmt.Sprintf("\n$SCRIPT = %s; $MODE = '%s'; $PREFIX = '%08d' + 0; $0 = $SCRIPT;\nstart(); $^W = $WARN; }\n", perlQuote(script), mode, prefix) +
			"INIT { WarmCGI::loaded() }\nEND { WarmCGI::ended() }\n"
		if mode == "reuse" {
			text += "REQUEST: while (WarmCGI::next_in_reuse()) { local *ARGV; @ARGV = @WarmCGI::ARGS; @_ = ();\n"
		}
		return text + "#line 1 \"" + script + "\"\n"
	}
	if mode == "reuse" {
		source = perlBlock(source)
	}
	return append([]byte(before(len(before(0)))), source...), nil
}

// perlStrict is for who changes the runner. It is left out when a script is loaded, as its
// module would be there for the script, too.
var perlStrict = regexp.MustCompile(`\b(use|no) strict( 'refs')?;`)

// perlFirstLine is a script's #! line, from which perl takes switches (again, if the
// kernel has given them to it), and the source without a mark of its encoding.
func perlFirstLine(source []byte) (first string, rest []byte, err error) {
	rest = bytes.TrimPrefix(source, []byte("\xef\xbb\xbf"))
	if len(rest) > 1 && (rest[0] == 0 || rest[0]^rest[1] == 1 && rest[0] >= 0xfe || rest[1] == 0) {
		return "", nil, fmt.Errorf("%w: it is written in UTF-16", ErrNoRunner)
	}
	line, _, _ := strings.Cut(string(rest), "\n")
	command, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "", rest, nil
	}
	_, switches, ok := strings.Cut(command, "perl")
	if !ok {
		return "", nil, fmt.Errorf("%w: perl hands it to %q", ErrNoRunner, strings.TrimSpace(command))
	}
	var words []string
	if _, switches, ok = strings.Cut(switches, " -"); ok {
		words = strings.Fields("-" + switches)
	}
	return line + "\n", rest, (&Language{Name: "perl", Argument: perlArgument, Switch: perlSwitch}).keeps(words)
}

var (
	perlEnd = regexp.MustCompile(`(?m)^__(END|DATA)__\b.*$`)
	perlPod = regexp.MustCompile(`(?m)^=([a-zA-Z]\w*)`)
)

// perlEndOf finds the line that ends a program, which is not one in its pod.
func perlEndOf(source []byte) []int {
	for _, at := range perlEnd.FindAllIndex(source, -1) {
		if !perlInPod(source[:at[0]]) {
			return at
		}
	}
	return nil
}

func perlInPod(before []byte) bool {
	all := perlPod.FindAllSubmatch(before, -1)
	return len(all) > 0 && string(all[len(all)-1][1]) != "cut"
}

// perlBlock makes a block's inside of a program. What follows __DATA__ is left to the handle.
func perlBlock(source []byte) []byte {
	data := ""
	if at := perlEndOf(source); at != nil {
		end := at[1] + 1 // behind the end of the line
		source = source[:at[0]]
		data = fmt.Sprintf("\n;BEGIN { WarmCGI::data_at(__PACKAGE__, %d) }", end)
	}
	pod := ""
	if perlInPod(source) {
		pod = "\n\n=cut\n"
	}
	return []byte(string(source) + pod + data + "\n}\nWarmCGI::left_loop();\n")
}

// perlQuote writes a string of Perl's.
func perlQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
