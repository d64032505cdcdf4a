package cgi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pattern is n octets in which every loss or doubling shows: a block of noise again
// and again, each beginning with its number.
func pattern(n int) []byte {
	const block = 4093
	b := make([]byte, max(n, block)+block)
	x := uint32(1)
	for i := range block {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	for i := block; i < n; i += block {
		copy(b[i:], b[:block])
		binary.BigEndian.PutUint32(b[i:], uint32(i))
	}
	return b[:n:n]
}

func TestABodyIsSpooledToMemoryOrToAFile(t *testing.T) {
	for name, test := range map[string]struct {
		size int
		c    SpoolConfig
		file bool
	}{
		"empty":                    {0, SpoolConfig{Max: 10, Memory: 10}, false},
		"empty, nothing allowed":   {0, SpoolConfig{}, false},
		"small":                    {5, SpoolConfig{Max: 100, Memory: 10}, false},
		"as much as fits":          {10, SpoolConfig{Max: 100, Memory: 10}, false},
		"one more":                 {11, SpoolConfig{Max: 100, Memory: 10}, true},
		"the largest":              {100, SpoolConfig{Max: 100, Memory: 10}, true},
		"the largest, in memory":   {100, SpoolConfig{Max: 100, Memory: 100}, false},
		"memory above the limit":   {100, SpoolConfig{Max: 100, Memory: 1 << 40}, false},
		"no limit at all":          {1000, SpoolConfig{Max: math.MaxInt64, Memory: math.MaxInt64}, false},
		"no memory":                {1, SpoolConfig{Max: 100}, true},
		"empty, no memory":         {0, SpoolConfig{Max: 100}, false},
		"size as announced":        {1000, SpoolConfig{Max: 1 << 20, Memory: 1 << 20, Size: 1000}, false},
		"size larger than it is":   {10, SpoolConfig{Max: 1 << 20, Memory: 1 << 20, Size: 1 << 19}, false},
		"size smaller than it is":  {1 << 19, SpoolConfig{Max: 1 << 20, Memory: 1 << 20, Size: 10}, false},
		"size is unknown":          {1000, SpoolConfig{Max: 1 << 20, Memory: 100, Size: -1}, true},
		"size is beyond memory":    {1000, SpoolConfig{Max: 1 << 20, Memory: 100, Size: 1 << 50}, true},
		"larger than every buffer": {3<<20 + 7, SpoolConfig{Max: 4 << 20, Memory: 64 << 10}, true},
	} {
		t.Run(name, func(t *testing.T) {
			want := pattern(test.size)
			for how, r := range map[string]io.Reader{
				"whole":    bytes.NewReader(want),
				"pieces":   iotest.HalfReader(bytes.NewReader(want)),
				"with EOF": iotest.DataErrReader(bytes.NewReader(want)),
			} {
				test.c.Dir = t.TempDir()
				s, err := Spool(r, test.c)
				require.NoError(t, err, how)
				assert.EqualValues(t, test.size, s.Len(), how)
				assert.Equal(t, test.file, s.File() != nil, how)
				if !test.file {
					assert.True(t, bytes.Equal(want, s.Bytes()), how)
				}
				got, err := io.ReadAll(s)
				require.NoError(t, err, how)
				assert.True(t, bytes.Equal(want, got), how)
				left, err := os.ReadDir(test.c.Dir)
				require.NoError(t, err)
				assert.Empty(t, left, "the file has no name")
				assert.NoError(t, s.Close())
			}
		})
	}
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	for name, c := range map[string]SpoolConfig{
		"in memory":       {Max: 100, Memory: 1000},
		"to a file":       {Max: 100, Memory: 10},
		"no memory":       {Max: 100},
		"nothing allowed": {Memory: 1000},
		"nothing at all":  {},
	} {
		t.Run(name, func(t *testing.T) {
			c.Dir = t.TempDir()
			body := strings.NewReader(strings.Repeat("x", 1<<20))
			s, err := Spool(body, c)
			assert.ErrorIs(t, err, ErrBodyTooLarge)
			assert.NotErrorIs(t, err, ErrBody)
			assert.Nil(t, s)
			left, err := os.ReadDir(c.Dir)
			require.NoError(t, err)
			assert.Empty(t, left)
			assert.Greater(t, body.Len(), 1<<19, "not all of it is read to find out")
		})
	}
}

func TestABodyThatBreaksOffSaysWhoseFaultItWas(t *testing.T) {
	boom := errors.New("boom")
	for _, memory := range []int64{1 << 20, 10} {
		for _, test := range []struct{ err, want error }{
			{boom, ErrBody},
			{io.ErrUnexpectedEOF, ErrBody},
			{ErrBodyTimeout, ErrBodyTimeout},
			{ErrBodyTooLarge, ErrBodyTooLarge},
			{ErrGone, ErrGone},
		} {
			s, err := Spool(io.MultiReader(strings.NewReader("0123456789abcdef"), iotest.ErrReader(test.err)), SpoolConfig{Max: 1 << 20, Memory: memory})
			assert.Nil(t, s)
			assert.ErrorIs(t, err, test.want)
			assert.ErrorIs(t, err, test.err, "the cause stays visible")
			if test.want != ErrBody {
				assert.NotErrorIs(t, err, ErrBody)
			}
		}
	}
}

func TestAFolderThatCannotBeSpooledToIsTheGatewaysFault(t *testing.T) {
	s, err := Spool(strings.NewReader("more than nothing"), SpoolConfig{Max: 100, Dir: t.TempDir() + "/none"})
	assert.Nil(t, s)
	assert.ErrorIs(t, err, ErrSpool)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Spool(strings.NewReader("fits"), SpoolConfig{Max: 100, Memory: 4, Dir: "/none"})
	assert.NoError(t, err, "no folder is needed for what fits into memory")
}
