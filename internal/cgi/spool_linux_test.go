package cgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/census"
)

func TestASpoolFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	s, err := Spool(strings.NewReader("secret"), SpoolConfig{Max: 10, Dir: dir})
	require.NoError(t, err)
	link, err := os.Readlink(fmt.Sprint("/proc/self/fd/", s.File().Fd()))
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(link, dir+"/warmcgi-body-"), link)
	assert.True(t, strings.HasSuffix(link, " (deleted)"), link)
	info, err := s.File().Stat()
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode())
	assert.EqualValues(t, 6, info.Size())
	require.NoError(t, s.Close())
}

func TestASpoolThatFailsLeavesNoDescriptor(t *testing.T) {
	before := census.Take(t)
	for _, c := range []SpoolConfig{{Max: 10}, {Max: 100}, {Max: 100, Memory: 10}, {}, {Max: 100, Dir: "/none"}} {
		_, err := Spool(io.MultiReader(strings.NewReader(strings.Repeat("x", 50)), iotest.ErrReader(errors.New("boom"))), c)
		assert.Error(t, err)
	}
	before.Compare(t, patience)
}

func TestAFullDiskIsTheGatewaysFault(t *testing.T) {
	// /dev/full is no folder, but a file system without space is not at hand.
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	require.NoError(t, err)
	s := &Spooled{file: f}
	assert.ErrorIs(t, s.fill(make([]byte, 10), strings.NewReader("x"), 100), ErrSpool)
	assert.ErrorIs(t, s.fill(nil, strings.NewReader("x"), 100), ErrSpool)
	require.NoError(t, s.Close())
}
