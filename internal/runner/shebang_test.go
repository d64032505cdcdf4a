//go:build linux

package runner

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInterpreterLineOfAFileWithDOSLineEnds(t *testing.T) {
	for line, works := range map[string]bool{
		"/usr/bin/perl -w":           true, // perl ends its switches there
		"/usr/bin/env -S perl -w":    true, // env splits there
		"/usr/bin/env -S perl":       true,
		"/usr/bin/env -S python3":    true,
		"/usr/bin/env -S python3 -u": true,
		"/usr/bin/perl":              false, // no such program
		"/usr/bin/env perl":          false,
		"/usr/bin/python3 -u":        false, // an unknown option
		"/usr/bin/ruby -w":           false, // warns
		"/usr/bin/env -S ruby -w":    false,
		"/usr/bin/env -S VAR=1 perl": true,
	} {
		text := "#!" + line + "\r\nprint(\"a\\n\");\r\n"
		script := write(t, "dos", text)
		_, err := Find(script, "")
		if !works {
			assert.ErrorIs(t, err, ErrNoRunner, line)
			continue
		}
		if assert.NoError(t, err, line) {
			p := start(t, script, setup{})
			p.ready(t)
			assert.Equal(t, plain(t, script, request{}).out, p.ask(t, request{}).out, line)
			assert.Equal(t, "", p.stderr(), line)
		}
	}
}
