package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/confine"
)

var update = flag.Bool("update", false, "write the errors that come out into testdata/errors.txt")

// errorCase is one file of testdata/errors.txt and the text its errors make.
type errorCase struct{ name, yaml, want string }

func readErrorCases(t *testing.T) []errorCase {
	t.Helper()
	data, err := os.ReadFile("testdata/errors.txt")
	require.NoError(t, err)
	var cases []errorCase
	for block := range strings.SplitSeq(string(data), "=== ") {
		if block == "" {
			continue
		}
		name, rest, _ := strings.Cut(block, "\n")
		yaml, want, found := strings.Cut(rest, "---\n")
		require.True(t, found, name)
		cases = append(cases, errorCase{name, yaml, want})
	}
	return cases
}

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"HOST": "127.0.0.1", "PORT": "8080", "EMPTY": ""}[name]
	return v, ok
}

// lookupUser knows one user.
func lookupUser(name string) (*confine.User, error) {
	switch name {
	case "www-data":
		return &confine.User{Name: name, UID: 33, GID: 33, Groups: []uint32{33}}, nil
	case "other":
		return nil, fmt.Errorf("%w (it is user me)", confine.ErrNotRoot)
	}
	return nil, fmt.Errorf("there is no user %q", name)
}

func TestEveryErrorNamesItsPlaceAndShowsTheLine(t *testing.T) {
	var out strings.Builder
	for _, c := range readErrorCases(t) {
		t.Run(c.name, func(t *testing.T) {
			// A document separator would look like the end of the case.
			yaml := strings.ReplaceAll(c.yaml, "-8<-", "---")
			_, err := Parse("gateway.yaml", []byte(yaml), Options{LookupEnv: lookup, LookupUser: lookupUser})
			require.Error(t, err)
			got := err.Error() + "\n"
			out.WriteString("=== " + c.name + "\n" + c.yaml + "---\n" + got)
			if !*update {
				assert.Equal(t, c.want, got)
			}
			var list Errors
			require.ErrorAs(t, err, &list)
			for _, e := range list {
				assert.Positive(t, e.Line, e.Msg)
				assert.Positive(t, e.Column, e.Msg)
				assert.Equal(t, strings.Split(yaml, "\n")[e.Line-1], e.Source)
			}
		})
	}
	if *update {
		require.NoError(t, os.WriteFile("testdata/errors.txt", []byte(out.String()), 0o644))
	}
}

func TestErrorsAreSortedByLineAndUnwrap(t *testing.T) {
	_, err := Parse("f.yaml", []byte("routes: [{path: x, files: {root: a}}]\nlisten: [{http: x}]\nfoo: 1\n"), Options{})
	var list Errors
	require.ErrorAs(t, err, &list)
	require.Len(t, list, 3)
	assert.Equal(t, []int{1, 2, 3}, []int{list[0].Line, list[1].Line, list[2].Line})
	var one *Error
	require.ErrorAs(t, err, &one)
	assert.Equal(t, &Error{File: "f.yaml", Line: 1, Column: 17, Key: "routes[0].path", Msg: `"x" must begin with /`,
		Source: "routes: [{path: x, files: {root: a}}]"}, one)
	assert.Equal(t, `f.yaml:1:17: routes[0].path: "x" must begin with /`, one.Summary())
}

func TestAnErrorWithoutAFileIsOneLine(t *testing.T) {
	assert.Equal(t, "document_root: /x is not a folder", (&Error{Key: "document_root", Msg: "/x is not a folder"}).Error())
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	_, err := Load("testdata/none.yaml", Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.EqualError(t, err, "cannot read the configuration: open testdata/none.yaml: no such file or directory")
	var list Errors
	assert.False(t, errors.As(err, &list))
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	_, err := Parse("f.yaml", []byte("listen: []\nenv: {A: \"a\xffb\"}\n"), Options{})
	assert.EqualError(t, err, "f.yaml:2:12: is not UTF-8 text\n    2 | env: {A: \"a\uFFFDb\"}\n      |            ^")
}

// Whatever the text is, reading it ends with a configuration or with errors, never with a panic.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/full.yaml", "testdata/probe.yaml"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("a: &x [*x]\nb: *x\n"))
	f.Add([]byte("listen: !!x\n? a\n: b\n- c: {<<: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data, Options{LookupEnv: lookup, LookupUser: lookupUser})
		if err == nil {
			require.NotEmpty(t, c.Listen)
			return
		}
		require.NotEmpty(t, err.Error())
	})
}
