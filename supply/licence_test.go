package supply

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	mit = `MIT License

Copyright (c) 2020 Somebody Else

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so,
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
`
	mitEnd = `
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`
	gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as
published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.
`
)

// target is that of docs/licences.md.
var target = Target{Root: "..", Arch: "amd64"}

type linked struct {
	ours    Module
	modules []Module
}

var linkedModules = sync.OnceValues(func() (linked, error) {
	ours, modules, err := Linked(context.Background(), target, Programs()...)
	return linked{ours, modules}, err
})

// all are the modules in our programs, with their licences.
func all(t *testing.T) (Module, []Licensed) {
	t.Helper()
	l, err := linkedModules()
	require.NoError(t, err)
	licensed, err := License(l.modules)
	require.NoError(t, err)
	return l.ours, licensed
}

func TestEveryLinkedModuleIsUnderAnAllowedLicence(t *testing.T) {
	ours, modules := all(t)
	assert.Equal(t, "warmcgi", ours.Path)
	assert.Greater(t, len(modules), 60)
	for _, m := range modules {
		assert.NotEmpty(t, m.Licences, m.Path)
		assert.Subset(t, Allowed(), m.Licences, m.Path)
	}
}

func TestThePageOfLicencesIsThatOfTheModules(t *testing.T) {
	ours, modules := all(t)
	page, err := os.ReadFile("../docs/licences.md")
	require.NoError(t, err)
	assert.True(t, string(page) == Page(ours, modules), "docs/licences.md is not that of go.mod: run make licences")
}

// module makes one of some files, of whose folders those named are linked.
func module(t *testing.T, path string, files map[string]string, folders ...string) Module {
	t.Helper()
	m := Module{Path: path, Version: "v1.0.0", Dir: t.TempDir()}
	for name, text := range files {
		file := filepath.Join(m.Dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	for _, f := range folders {
		require.NoError(t, os.MkdirAll(filepath.Join(m.Dir, f), 0o755))
		m.Folders = append(m.Folders, filepath.Join(m.Dir, f))
	}
	return m
}

func TestAModuleWhoseLicenceIsNotAllowedIsRefused(t *testing.T) {
	good := mit + mitEnd
	for name, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"none at all":                     {map[string]string{"README.md": "MIT"}, ErrNone},
		"only a notice":                   {map[string]string{"NOTICE": good}, ErrNone},
		"only one of a package":           {map[string]string{"a/LICENSE": good}, ErrNone},
		"a program called licence":        {map[string]string{"license.go": "package a // " + good}, ErrNone},
		"the GPL":                         {map[string]string{"COPYING": gpl}, ErrNotAllowed},
		"the GPL by another spelling":     {map[string]string{"LICENCE.md": gpl}, ErrNotAllowed},
		"the GPL beside another":          {map[string]string{"LICENSE": good, "LICENSE-GPL.txt": gpl}, ErrNotAllowed},
		"the GPL in the same file":        {map[string]string{"LICENSE": good + gpl}, ErrNotAllowed},
		"the GPL for a linked package":    {map[string]string{"LICENSE": good, "a/b/LICENSE": gpl}, ErrNotAllowed},
		"the GPL on the way to it":        {map[string]string{"LICENSE": good, "a/LICENSE": gpl}, ErrNotAllowed},
		"a condition more that is known":  {map[string]string{"LICENSE": mit + "The Software shall be used for Good, not Evil.\n" + mitEnd}, ErrNotAllowed},
		"a condition more that is not":    {map[string]string{"LICENSE": mit + "The Software shall not be used by companies that have more than ten employees.\n" + mitEnd}, ErrUnknown},
		"words of nobody's":               {map[string]string{"LICENSE": "All rights reserved. Ask us."}, ErrUnknown},
		"an empty file":                   {map[string]string{"LICENSE": ""}, ErrUnknown},
		"no condition more":               {map[string]string{"LICENSE": good, "NOTICE": "We thank our mothers."}, nil},
		"the GPL for a package left out":  {map[string]string{"LICENSE": good, "c/LICENSE": gpl}, nil},
		"the GPL for a part of a package": {map[string]string{"LICENSE": good, "a/b/testdata/LICENSE": gpl}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := module(t, "example.org/x", c.files, "a/b")
			modules, err := License([]Module{m, m})
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				assert.ErrorContains(t, err, "example.org/x v1.0.0")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "MIT", modules[0].Expression())
			assert.Equal(t, []string{"Copyright (c) 2020 Somebody Else"}, modules[0].Holders)
		})
	}
}

func TestAFileThatSomebodyHasJudgedIsReadAnewWhenItChanges(t *testing.T) {
	require.NotEmpty(t, judged)
	for _, j := range judged {
		l, err := linkedModules()
		require.NoError(t, err)
		found := false
		for _, m := range l.modules {
			if m.Path != j.module {
				continue
			}
			found = true
			text, err := os.ReadFile(filepath.Join(m.Dir, j.file))
			require.NoError(t, err)
			_, err = License([]Module{module(t, j.module, map[string]string{j.file: string(text)})})
			require.NoError(t, err)
			_, err = License([]Module{module(t, j.module, map[string]string{j.file: string(text) + "."})})
			require.ErrorIs(t, err, ErrUnknown, "it need not be judged: its licence is known")
		}
		assert.True(t, found, "%s is not linked any more", j.module)
	}
}

func TestTheTextsAreThoseOfAllLinkedModulesWordForWord(t *testing.T) {
	_, modules := all(t)
	var texts bytes.Buffer
	require.NoError(t, Texts(&texts, modules))
	for _, m := range modules {
		for _, f := range m.Files {
			assert.Contains(t, texts.String(), m.Path+" "+m.Version+": "+f.Name+"\n")
			assert.True(t, bytes.Contains(texts.Bytes(), f.Text), "%s of %s", f.Name, m.Path)
		}
	}
	assert.Contains(t, texts.String(), "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION", "Apache-2.0 in full")
	assert.Contains(t, texts.String(), "zstd/internal/xxhash/LICENSE.txt", "what a linked package has copied from elsewhere")
	assert.Contains(t, texts.String(), Standard+" "+runtime.Version()+": LICENSE\n")
}
