package cmdline

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a command line with one of everything.
type sample struct {
	Serve struct {
		Dir    string `arg:"" optional:"" help:"Folder to serve."`
		Config string `short:"c" placeholder:"FILE" help:"Configuration: a file."`
		Mode   string `enum:"spawn,warm,reuse" default:"warm" help:"How."`
		Quiet  bool   `short:"q" help:"No words."`
		Secret bool   `hidden:"" help:"Not for people."`
	} `cmd:"" help:"Serve it."`
	Run struct {
		Script string   `arg:"" help:"The program."`
		Env    []string `sep:"none" placeholder:"NAME=VALUE" help:"A variable."`
	} `cmd:"" help:"Run it."`
	Admin struct {
		Reload struct{} `cmd:"" help:"Read again."`
		Drain  struct{} `cmd:"" help:"Take no more."`
	} `cmd:"" help:"Control it."`
	Hidden struct{} `cmd:"" hidden:"" help:"Not for people."`
}

func newSample(t *testing.T, out io.Writer) *kong.Kong {
	t.Helper()
	k, err := kong.New(&sample{}, append(Options("sample"), kong.Name("sample"), kong.Description("An example. It does nothing."), kong.Writers(out, out), kong.BindTo(out, (*io.Writer)(nil)), kong.Exit(func(int) {}))...)
	require.NoError(t, err)
	return k
}

func TestAWordIsCompletedToWhatMayStandThere(t *testing.T) {
	k := newSample(t, io.Discard)
	for line, want := range map[string]string{
		"":                      "serve run admin completion",
		"s":                     "serve",
		"h":                     "",
		"admin ":                "reload drain",
		"serve ":                ":folders",
		"serve x ":              "",
		"serve --":              "--help --version --config --mode --quiet",
		"serve --c":             "--config",
		"serve -":               "--help --version --config --mode --quiet",
		"serve --config ":       ":files",
		"serve -c ":             ":files",
		"serve -qc ":            ":files",
		"serve -q ":             ":folders",
		"serve --config x ":     ":folders",
		"serve --config=x ":     ":folders",
		"serve --mode ":         "spawn warm reuse",
		"serve --mode w":        "warm",
		"serve --mode=":         "--mode=spawn --mode=warm --mode=reuse",
		"serve --mode=re":       "--mode=reuse",
		"serve --mode = re":     "reuse",            // as bash divides it
		"serve --mode =":        "spawn warm reuse", // and this
		"serve --mode = warm ":  ":folders",         // and this
		"run --env A = b ":      ":files",           // and this
		"run --env A=b x --":    "--help --version --env",
		"serve -- --":           ":folders",
		"serve --quiet=":        "",
		"completion ":           "bash zsh fish",
		"--no-such-flag serve ": ":folders",
	} {
		words := strings.Split(line, " ")
		var got []string
		for _, c := range complete(k.Model.Node, words) {
			got = append(got, c.word)
		}
		assert.Equal(t, want, strings.Join(got, " "), "%q", line)
	}
	assert.NotEmpty(t, complete(k.Model.Node, nil))
}

func TestTheManualPageHasEveryCommandAndFlag(t *testing.T) {
	text := manual(newSample(t, io.Discard).Model)
	assert.Contains(t, text, "% SAMPLE 1 ")
	assert.Contains(t, text, "sample - An example\n")
	for _, want := range []string{"## serve \\[DIR]", "**-c, --config=FILE**\n: Configuration: a file.", "**-q, --quiet**", "## run SCRIPT", "## admin reload", "**--version**"} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "Not for people")
}

// sampleOf is this test binary, as the program called sample: shells run it.
func sampleOf(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	exe, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sample"), fmt.Appendf(nil, "#!/bin/sh\nexport WARMCGI_SAMPLE=1\nexec %s \"$@\"\n", exe), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "files", "a folder"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "files", "a file.yaml"), nil, 0o644))
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var text bytes.Buffer
		k := newSample(t, &text)
		ctx, err := k.Parse([]string{"completion", shell})
		require.NoError(t, err)
		require.NoError(t, ctx.Run())
		require.NoError(t, os.WriteFile(filepath.Join(dir, "complete."+shell), text.Bytes(), 0o644))
	}
	return dir
}

func TestMain(m *testing.M) {
	if os.Getenv("WARMCGI_SAMPLE") == "" {
		os.Exit(m.Run())
	}
	k, err := kong.New(&sample{}, append(Options("sample"), kong.Name("sample"), kong.BindTo(os.Stdout, (*io.Writer)(nil)))...)
	if err == nil {
		var ctx *kong.Context
		if ctx, err = k.Parse(os.Args[1:]); err == nil {
			err = ctx.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shell runs a shell's commands in the folder with the sample.
func shell(t *testing.T, name, pkg, script string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(name + " is missing: apt-get install " + pkg)
		}
		t.Skip(name + " is missing: apt-get install " + pkg)
	}
	dir := sampleOf(t)
	args := map[string][]string{"bash": {"--norc", "-c", script}, "zsh": {"-f", "-c", script}, "fish": {"--no-config", "-c", script}}[name]
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(dir, "files")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "DIR="+dir, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "TERM=dumb", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestBashCompletes(t *testing.T) {
	out := shell(t, "bash", "bash bash-completion", `
. /usr/share/bash-completion/bash_completion || exit 1
. "$DIR/complete.bash"
try() { # the words, as bash divides them
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
	_sample sample "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	printf '<%s>' "${COMPREPLY[@]}"
	echo
}
complete -p sample
try sample se
try sample serve --co
try sample serve --mode = w
try sample serve --config 'a f'
try sample serve ''
`)
	assert.Equal(t, `complete -F _sample sample
<serve>
<--config>
<warm>
<a file.yaml><a folder>
<a folder>
`, sorted(out))
}

// sorted: a folder's entries come in no order.
func sorted(out string) string {
	return strings.Replace(out, "<a folder><a file.yaml>", "<a file.yaml><a folder>", 1)
}

func TestFishCompletes(t *testing.T) {
	out := shell(t, "fish", "fish", `
source "$DIR/complete.fish"
for line in 'sample se' 'sample serve --co' 'sample serve --mode=w' 'sample serve --mode ' 'sample serve --config a' 'sample serve '
	echo "[$line]"
	complete -C $line | sort
end
`)
	assert.Equal(t, `[sample se]
serve	Serve it.
[sample serve --co]
--config	Configuration: a file.
[sample serve --mode=w]
--mode=warm
[sample serve --mode ]
reuse
spawn
warm
[sample serve --config a]
a file.yaml
a folder/
[sample serve ]
a folder/
`, strings.ReplaceAll(strings.ReplaceAll(out, "\tDirectory", ""), "\tdirectory", ""))
}

// Zsh completes only at a prompt; zpty is one.
func TestZshCompletes(t *testing.T) {
	out := shell(t, "zsh", "zsh", `
zmodload zsh/zpty
cat > $DIR/.zshrc <<'RC'
PS1='> '
autoload -U compinit
compinit -u -D
source $DIR/complete.zsh
show() { print -r -- "$BUFFER" >> $DIR/shown; BUFFER= }
zle -N show
bindkey '^T' show
bindkey '^I' complete-word
zle-line-init() { [[ -e $DIR/shown ]] || : > $DIR/shown }
zle -N zle-line-init
RC
ZDOTDIR=$DIR zpty -b z zsh -i
until [[ -e $DIR/shown ]]; do sleep 0.05; zpty -r -t z x; done
integer n=0
for line in 'sample se' 'sample serve --co' 'sample serve --mode=w' 'sample serve --config a\ fi' 'sample serve '; do
	n+=1
	zpty -w -n z $line$'\t\C-t'
	until [[ $(wc -l < $DIR/shown) -ge $n ]]; do sleep 0.05; zpty -r -t z x; done
done
zpty -d z
cat $DIR/shown
`)
	assert.Equal(t, `sample serve 
sample serve --config 
sample serve --mode=warm 
sample serve --config a\ file.yaml 
sample serve a\ folder/
`, out)
}
