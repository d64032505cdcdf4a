package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"warmcgi/internal/cgi"
	"warmcgi/internal/runner"
)

// examineLine looks at the first line of a script, as execve(2) does.
func examineLine(req *cgi.Request, text string) []Finding {
	file := req.Script.File
	switch {
	case strings.HasPrefix(text, "\xef\xbb\xbf"):
		return []Finding{fault(`sed -i '1s/^\xEF\xBB\xBF//' `+file, "it begins with a byte order mark, so that the kernel does not see its #! line")}
	case strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff"):
		return []Finding{fault("save it as UTF-8 without a byte order mark", "it is in UTF-16")}
	case !strings.HasPrefix(text, "#!") && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "#!"):
		return []Finding{fault("", "something is before its #! line, which has to begin with its very first octet")}
	case !strings.HasPrefix(text, "#!"):
		return []Finding{fault(suggestLine(file), "it has no #! line, so that the system can't run it")}
	}
	line, _, whole := strings.Cut(text[len("#!"):], "\n")
	if !whole && len(text) > runner.MaxLine {
		return []Finding{fault("", "its #! line is longer than %d octets, and Linux cuts it there", runner.MaxLine)}
	}
	line, cr := strings.CutSuffix(line, "\r")
	prog, arg := runner.SplitLine(line)
	switch {
	case prog == "":
		return []Finding{fault(suggestLine(file), "its #! line names no interpreter")}
	case cr && arg == "":
		return []Finding{fault(`sed -i 's/\r$//' `+file, "its lines end in CRLF, as on Windows: the system looks for an interpreter whose name ends in a carriage return")}
	}
	var found []Finding
	if cr {
		found = append(found, warning(`sed -i 's/\r$//' `+file, "its lines end in CRLF, as on Windows: %s gets an argument that ends in a carriage return", prog))
	}
	root := req.Confine.Root()
	if f, ok := examineProgram(filepath.Join(root, prog)); !ok {
		return append(found, f)
	}
	if root == "" && filepath.Base(prog) == "env" {
		found = append(found, examineEnv(req, arg)...)
	}
	return found
}

// suggestLine is what the first line should be.
func suggestLine(file string) string {
	switch filepath.Ext(file) {
	case ".pl":
		return "begin it with #!/usr/bin/perl"
	case ".py":
		return "begin it with #!/usr/bin/python3"
	case ".rb":
		return "begin it with #!/usr/bin/ruby"
	}
	return "begin it with #! and the path of its interpreter, as in #!/bin/sh"
}

// examineProgram looks at the interpreter.
func examineProgram(prog string) (Finding, bool) {
	if !filepath.IsAbs(prog) {
		return fault("write its whole path", "the interpreter %q of its #! line is no absolute path", prog), false
	}
	info, err := os.Stat(prog)
	switch {
	case err != nil:
		advice := ""
		if other, lerr := exec.LookPath(filepath.Base(prog)); lerr == nil {
			advice = filepath.Base(prog) + " is " + other + " here"
		}
		return fault(advice, "its interpreter %s is not there", prog), false
	case !isProgram(info):
		return fault("", "its interpreter %s is not a program", prog), false
	}
	return Finding{}, true
}

func isProgram(info os.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// examineEnv looks at a command that env(1) has to find.
func examineEnv(req *cgi.Request, arg string) []Finding {
	if split, ok := strings.CutPrefix(arg, "-S"); ok {
		arg, _, _ = strings.Cut(strings.TrimLeft(split, " "), " ")
	} else if strings.Contains(arg, " ") {
		return []Finding{fault("write #!/usr/bin/env -S "+arg, "env gets %q as one word, the name of a program that is not there", arg)}
	}
	if arg == "" || strings.HasPrefix(arg, "-") || strings.Contains(arg, "=") {
		return nil // more than is understood here
	}
	path := ""
	for _, v := range req.Env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = p
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if info, err := os.Stat(filepath.Join(dir, arg)); err == nil && isProgram(info) {
			return nil
		}
	}
	advice := "set PATH in env: of the configuration"
	if other, err := exec.LookPath(arg); err == nil {
		advice = arg + " is " + other + " here; " + advice
	}
	return []Finding{fault(advice, "env does not find %s in its PATH (%s)", arg, path)}
}
