package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/config"
)

// site makes a folder of files: name to content and mode.
type file struct {
	text string
	mode os.FileMode
}

func site(t *testing.T, files map[string]file, routes string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cgi"), 0o755))
	for name, f := range files {
		path := filepath.Join(dir, "cgi", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(f.text), 0o644))
		require.NoError(t, os.Chmod(path, f.mode))
	}
	if routes == "" {
		routes = "[{path: /, cgi: {dir: " + dir + "/cgi}}]"
	}
	c, err := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte("listen: [{http: 127.0.0.1:0}]\nroutes: "+strings.ReplaceAll(routes, "@", dir)+"\n"), config.Options{})
	require.NoError(t, err)
	return c
}

// texts are those of all findings of a patient.
func texts(p Patient) (list []string) {
	for _, f := range p.Findings {
		list = append(list, f.Text)
	}
	return list
}

func byName(t *testing.T, c *config.Config, o Options) map[string]Patient {
	t.Helper()
	all, err := Examine(context.Background(), c, o)
	require.NoError(t, err)
	m := map[string]Patient{}
	for _, p := range all {
		if p.Kind != KindRoute { // who runs the test is no matter of its
			m[p.Name] = p
		}
	}
	return m
}

func TestWhatIsWrongWithAScriptsFileIsSaid(t *testing.T) {
	const perl = "#!/usr/bin/perl\nprint 1;\n"
	tests := map[string]struct {
		file
		says string // "": nothing
	}{
		"fine.pl":     {file{perl, 0o755}, ""},
		"env.pl":      {file{"#!/usr/bin/env perl\n", 0o755}, ""},
		"env-s.pl":    {file{"#!/usr/bin/env -S perl -w\n", 0o755}, ""},
		"blank.pl":    {file{"#! /usr/bin/perl -w\n", 0o755}, ""},
		"no-end.sh":   {file{"#!/bin/sh", 0o755}, ""},
		"plain.pl":    {file{perl, 0o644}, "it is not executable, and no interpreter is set"},
		"crlf.pl":     {file{strings.ReplaceAll(perl, "\n", "\r\n"), 0o755}, "its lines end in CRLF"},
		"crlf-w.py":   {file{"#!/usr/bin/python3 -u\r\nprint()\r\n", 0o755}, "gets an argument that ends in a carriage return"},
		"crlf-env.py": {file{"#!/usr/bin/env python3\r\n", 0o755}, "gets an argument that ends in a carriage return"},
		"bom.pl":      {file{"\xef\xbb\xbf" + perl, 0o755}, "it begins with a byte order mark"},
		"utf16.pl":    {file{"\xff\xfe#\x00!\x00", 0o755}, "it is in UTF-16"},
		"late.pl":     {file{"\n" + perl, 0o755}, "something is before its #! line"},
		"none.cgi":    {file{"print 1\n", 0o755}, "it has no #! line"},
		"empty.cgi":   {file{"", 0o755}, "it is empty"},
		"nothing.cgi": {file{"#!\nprint 1\n", 0o755}, "its #! line names no interpreter"},
		"long.cgi":    {file{"#!/bin/" + strings.Repeat("x", 300) + "\n", 0o755}, "is longer than 255 octets"},
		"gone.pl":     {file{"#!/usr/local/bin/no-such-perl\n", 0o755}, "its interpreter /usr/local/bin/no-such-perl is not there"},
		"folder.pl":   {file{"#!/usr/bin\n", 0o755}, "its interpreter /usr/bin is not a program"},
		"relative.pl": {file{"#!perl\n", 0o755}, "is no absolute path"},
		"env-no.pl":   {file{"#!/usr/bin/env no-such-perl\n", 0o755}, "env does not find no-such-perl in its PATH"},
		"env-arg.pl":  {file{"#!/usr/bin/env perl -w\n", 0o755}, `env gets "perl -w" as one word`},
		"open.pl":     {file{perl, 0o777}, "everybody on this machine may change it"},
		"setuid.pl":   {file{perl, 0o755 | os.ModeSetuid}, "its set-uid or set-gid bit has no effect"},
		"README.txt":  {file{"no script\n", 0o644}, "-"},
		".hidden.pl":  {file{"no script\n", 0o755}, "-"},
		"old.pl~":     {file{"no script\n", 0o755}, "-"},
	}
	files := map[string]file{}
	for name, test := range tests {
		files[name] = test.file
	}
	found := byName(t, site(t, files, ""), Options{})
	for name, test := range tests {
		p, known := found["/"+name]
		switch list := texts(p); test.says {
		case "-":
			assert.False(t, known, name)
		case "":
			assert.True(t, known, name)
			assert.Empty(t, list, name)
		default:
			if assert.Len(t, list, 1, name) {
				assert.Contains(t, list[0], test.says, name)
			}
		}
	}
}

func TestAScriptThatARoutesUserCannotRunIsFound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, which the tests run as in CI")
	}
	const perl = "#!/usr/bin/perl\nprint 1;\n"
	c := site(t, map[string]file{
		"fine.pl": {perl, 0o755}, "owner.pl": {perl, 0o700}, "unreadable.pl": {perl, 0o711}, "in/closed.pl": {perl, 0o755},
	}, "[{path: /, cgi: {dir: @/cgi}, user: nobody}]")
	require.NoError(t, os.Chmod(filepath.Join(c.Routes[0].CGI.Dir, "in"), 0o700))
	found := byName(t, c, Options{})
	assert.Empty(t, found["/fine.pl"].Findings)
	assert.Contains(t, fmt.Sprint(texts(found["/owner.pl"])), "user nobody may not execute it (its mode is -rwx------)")
	assert.Contains(t, fmt.Sprint(texts(found["/unreadable.pl"])), "user nobody may not read it")
	assert.Contains(t, fmt.Sprint(texts(found["/in/closed.pl"])), "user nobody may not enter the folder "+filepath.Join(c.Routes[0].CGI.Dir, "in"))
}

func TestAScriptThatAnotherRouteAnswersForIsFound(t *testing.T) {
	c := site(t, map[string]file{"a.pl": {"#!/usr/bin/perl\n", 0o755}},
		"[{path: /, cgi: {dir: @/cgi}}, {path: /a.pl, files: {root: @}}]")
	assert.Contains(t, fmt.Sprint(texts(byName(t, c, Options{})["/a.pl"])), "the route /a.pl answers")
}

func TestTheScriptsOfASiteWithANameOfItsOwnAreFound(t *testing.T) {
	c := site(t, map[string]file{"a.pl": {"#!/usr/bin/perl\n", 0o755}, "b.pl": {"#!/no/such\n", 0o755}},
		"[{path: /one/, host: www.example.org, cgi: {dir: @/cgi}}, {path: /any/, host: '*.example.net', cgi: {dir: @/cgi, only: [a.*]}}]")
	found := byName(t, c, Options{})
	require.Len(t, found, 4)
	assert.Equal(t, KindMachine, found["sandbox"].Kind)
	require.Len(t, found["sandbox"].Findings, 8)
	assert.Equal(t, "no_new_privs: can be had", found["sandbox"].Findings[0].Text)
	assert.Regexp(t, `^limits\.script\.memory: (can be had|no control groups: .*)$`, found["sandbox"].Findings[5].Text)
	assert.Equal(t, "www.example.org/one/", found["/one/a.pl"].Route)
	assert.Empty(t, found["/one/a.pl"].Findings)
	assert.Empty(t, found["/any/a.pl"].Findings)
	assert.Contains(t, fmt.Sprint(texts(found["/one/b.pl"])), "its interpreter /no/such is not there")
}

func TestAServerThatIsNotThereIsFound(t *testing.T) {
	c := site(t, nil, `[{path: /, fastcgi: {servers: ["unix:@/no.sock", "tcp:127.0.0.1:1"]}}]`)
	found := byName(t, c, Options{})
	require.Len(t, found, 2)
	for name, p := range found {
		assert.Equal(t, Fault, p.Worst(), name)
		assert.Contains(t, p.Findings[0].Text, "can't be reached")
		assert.Contains(t, p.Findings[0].Advice, "is it running?")
	}
}
