package doctor

import (
	"context"
	_ "embed"
	"os/exec"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/cgi"
	"warmcgi/internal/runner"
)

// Perl's modules are looked for when a script is compiled. Python and Ruby find out about
// theirs when it runs, so its text is asked which ones it needs in any case: what it
// imports at the top, in no condition.

//go:embed modules.py
var pythonModules string

//go:embed modules.rb
var rubyModules string

// modulesTime is how long the interpreter may take to look for them.
const modulesTime = 20 * time.Second

// examineModules names the modules that a script will not find. Its interpreter is asked,
// which runs nothing of the script, and no module.
func examineModules(ctx context.Context, req *cgi.Request) (found []Finding) {
	program, err := runner.Find(req.Script.File, req.Script.Interpreter)
	if err != nil {
		return nil // in another language
	}
	args, path := []string(nil), ""
	switch program.Language.Name {
	case "python":
		args, path = []string{"-I", "-c", pythonModules}, "PYTHONPATH"
	case "ruby":
		args, path = []string{"-e", rubyModules}, "RUBYLIB"
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, modulesTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program.Argv[0], slices.Concat(program.Argv[1:], args, []string{req.Script.File})...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = req.Env, "/", time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil // of a version that is too old to be asked
	}
	for _, name := range strings.Fields(string(out)) {
		found = append(found, fault("install it, or set "+path+" in env:", "it needs the module %s, which %s does not find", name, program.Language.Name))
	}
	return found
}
