package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// printed is what a command line prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	require.Zero(t, run(args, &out, &errs), "%v: %s", args, &errs)
	return out.String()
}

// firstWords are the first words of the lines that a pattern matches.
func firstWords(pattern, text string) (words []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}

func TestEveryCommandAndFlagOfTheHelpIsCompletedAndInTheManual(t *testing.T) {
	_, commands, ok := strings.Cut(printed(t, "--help"), "Commands:\n")
	require.True(t, ok)
	names := firstWords(`(?m)^  ([a-z-]+)`, commands)
	require.Contains(t, names, "serve")
	assert.ElementsMatch(t, names, firstWords(`(?m)^(\S+)`, printed(t, "complete", "--", "")))
	manual := printed(t, "manual")
	for _, name := range names {
		assert.Regexp(t, `(?m)^## `+name+`( |$)`, manual)
		flags := firstWords(`(?m)^ +(?:-\w, +)?(--[a-z0-9-]+)`, printed(t, name, "--help"))
		require.Contains(t, flags, "--help")
		assert.ElementsMatch(t, flags, firstWords(`(?m)^(\S+)`, printed(t, "complete", "--", name, "--")), name)
		for _, f := range flags {
			assert.Contains(t, manual, f, name)
		}
	}
	assert.Contains(t, printed(t, "complete", "--", "serve", "--config", ""), ":files")
	assert.Contains(t, printed(t, "completion", "bash"), "complete -F _gateway gateway")
}
