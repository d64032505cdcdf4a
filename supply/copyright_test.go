package supply

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paragraph is one of a file as Debian's machine-readable ones are made: fields, and lines that go on.
func paragraph(t *testing.T, text string) map[string]string {
	t.Helper()
	fields, last := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			require.NotEmpty(t, last, line)
			fields[last] += "\n" + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		require.True(t, ok, line)
		require.NotContains(t, fields, name, "in %q", text)
		fields[name], last = value, name
	}
	return fields
}

func TestTheCopyrightFileIsOfTheFormThatMachinesRead(t *testing.T) {
	_, modules := all(t)
	paragraphs := strings.Split(strings.TrimSpace(Copyright(modules)), "\n\n")
	header := paragraph(t, paragraphs[0])
	assert.Equal(t, "https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/", header["Format"])
	files, licences, used := map[string]map[string]string{}, []string{}, []string{}
	for _, text := range paragraphs[1:] {
		p := paragraph(t, text)
		short, long, _ := strings.Cut(p["License"], "\n")
		if p["Files"] == "" {
			assert.NotEmpty(t, long, short)
			licences = append(licences, short)
			continue
		}
		assert.NotEmpty(t, p["Copyright"], p["Files"])
		files[p["Files"]] = p
		if long == "" {
			used = append(used, strings.Split(short, " and ")...)
		}
	}
	slices.Sort(used)
	assert.Equal(t, slices.Compact(used), licences, "each licence has a paragraph that says where its text is")
	assert.Len(t, files, len(modules)+1, "ours, and each module")
	assert.Contains(t, files, "*")
	for _, m := range modules {
		p := files[m.Path+"@"+m.Version+"/*"]
		assert.Equal(t, strings.Join(m.Licences, " and "), p["License"], m.Path)
		if slices.Contains(m.Licences, "MPL-2.0") {
			assert.Contains(t, p["Comment"], "go mod download "+m.Path+"@"+m.Version, "where its sources are")
		}
	}
	zap := files[moduleAt(t, "go.uber.org/zap")+"/*"]
	assert.Contains(t, zap["Copyright"], "Uber Technologies")
}
