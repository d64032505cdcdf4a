package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/doctor"
)

// clinic is a folder of scripts with a configuration.
func clinic(t *testing.T, scripts map[string]string) (file string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cgi"), 0o755))
	for name, text := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgi", name), []byte(text), 0o755))
	}
	file = filepath.Join(dir, "gateway.yaml")
	require.NoError(t, os.WriteFile(file, []byte("listen: [{http: 127.0.0.1:0}]\nroutes: [{path: /, cgi: {dir: cgi}}]\n"), 0o644))
	return file
}

func TestDoctorSaysInWhichModeEachScriptMayBeAndWhy(t *testing.T) {
	file := clinic(t, map[string]string{
		"form.pl":     "#!/usr/bin/perl\nuse CGI;\nprint CGI->new->header;\n",
		"captured.pl": "#!/usr/bin/perl\nmy $n = 0; sub count { $n++ } count(); print \"Content-Type: text/plain\\n\\n$n\\n\";\n",
		"module.pl":   "#!/usr/bin/perl\nuse No::Such::Module;\n",
		"module.py":   "#!/usr/bin/python3\nimport os, no_such_module\nfrom json import dumps\ntry:\n    import not_needed\nexcept ImportError:\n    pass\n",
		"module.rb":   "#!/usr/bin/ruby\nrequire 'json'\nrequire 'thread'\nrequire 'no/such'\nbegin\n  require 'not_needed'\nrescue LoadError\nend\n",
		"syntax.py":   "#!/usr/bin/python3\nprint(1\n",
		"shell.sh":    "#!/bin/sh\ntouch ran\n",
		"unsafe.pl":   "#!/usr/bin/perl\nBEGIN { print \"Content-Type: text/plain\\n\\n\" }\n",
		"runs.pl":     "#!/usr/bin/perl\nopen(my $f, '>', 'ran');\n",
		"runs.py":     "#!/usr/bin/python3\nopen('ran', 'w')\n",
		"runs.rb":     "#!/usr/bin/ruby\nFile.write('ran', '')\n",
	})
	status, stdout, stderr := runGateway(t, "doctor", "--json", file)
	assert.Equal(t, 1, status, stderr)
	var all []doctor.Patient
	require.NoError(t, json.Unmarshal([]byte(stdout), &all))
	found := map[string]doctor.Patient{}
	for _, p := range all {
		if p.Kind == doctor.KindScript {
			found[p.Name] = p
		}
	}
	for name, want := range map[string]struct {
		mode  string
		level doctor.Level
		says  string
	}{
		"/form.pl":     {"reuse", doctor.Note, "nothing was found against mode reuse"},
		"/captured.pl": {"warm", doctor.Note, "may not be reused: a named sub or BEGIN block captures $n"},
		"/module.pl":   {"spawn", doctor.Fault, "Can't locate No/Such/Module.pm"},
		"/module.py":   {"spawn", doctor.Fault, "it needs the module no_such_module, which python does not find"},
		"/module.rb":   {"spawn", doctor.Fault, "it needs the module no/such, which ruby does not find"},
		"/syntax.py":   {"spawn", doctor.Fault, "SyntaxError"},
		"/unsafe.pl":   {"spawn", doctor.Note, "it stays in mode spawn: "},
	} {
		p := found[name]
		assert.Equal(t, want.mode, string(p.Mode), name)
		if assert.Len(t, p.Findings, 1, name) {
			assert.Equal(t, want.level, p.Findings[0].Level, name)
			assert.Contains(t, p.Findings[0].Text, want.says, name)
		}
	}
	assert.Equal(t, "spawn", string(found["/shell.sh"].Mode))
	assert.Empty(t, found["/shell.sh"].Findings, "a shell script is never anything else")
	assert.Len(t, found, 11)
	assert.NoFileExists(t, filepath.Join(filepath.Dir(file), "cgi", "ran"), "no script was run")

	status, stdout, _ = runGateway(t, "doctor", file)
	assert.Equal(t, 1, status)
	assert.Contains(t, stdout, "11 scripts, 4 may be reuse, 1 may be warm, 2 may be spawn: 4 faults")
	assert.NotContains(t, stdout, "shell.sh")
	_, stdout, _ = runGateway(t, "doctor", "--all", "--no-load", file)
	assert.Contains(t, stdout, "shell.sh")
	assert.NotContains(t, stdout, "SyntaxError")
}

func TestDoctorFindsNothingWrongWithWhatIsFine(t *testing.T) {
	file := clinic(t, map[string]string{"a.sh": "#!/bin/sh\necho\n"})
	status, stdout, stderr := runGateway(t, "doctor", "-c", file)
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "1 script, 1 may be spawn: no fault found")
	status, _, stderr = runGateway(t, "doctor")
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "give one configuration file, or a folder")
	status, _, stderr = runGateway(t, "doctor", "no-such-file.yaml")
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "no such file")
}
