package fcgi

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParamsAreDecoded(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for name, test := range map[string]struct {
		in   string
		want Params
	}{
		"none":             {"", Params{}},
		"one":              {"\x01\x02Abc", Params{{"A", "bc"}}},
		"empty value":      {"\x01\x00A", Params{{"A", ""}}},
		"in order":         {"\x01\x01Bb\x01\x01Aa", Params{{"B", "b"}, {"A", "a"}}},
		"long form":        {"\x80\x00\x00\x01\x80\x00\x00\x01Aa", Params{{"A", "a"}}},
		"long value":       {string(appendParam(nil, "A", long)), Params{{"A", long}}},
		"last wins":        {"\x01\x01A1\x01\x01Bb\x01\x01A2", Params{{"A", "2"}, {"B", "b"}}},
		"not UTF-8":        {"\x01\x02A\xff\xfe", Params{{"A", "\xff\xfe"}}},
		"equals in values": {"\x01\x03Aa=b", Params{{"A", "a=b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := decodeParams(test.in)
			require.NoError(t, err)
			assert.Equal(t, test.want, p)
		})
	}
}

func TestBadParamsAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"no value length":        "\x01",
		"cut length":             "\x80\x00\x00",
		"cut second length":      "\x01\x80\x00\x00",
		"name past the end":      "\x05\x00abc",
		"value past the end":     "\x01\x05Aabc",
		"lengths that overflow":  "\xff\xff\xff\xff\xff\xff\xff\xffA",
		"NUL in a name":          "\x03\x01A\x00Bc",
		"NUL in a value":         "\x01\x03Aa\x00b",
		"equals sign in a name":  "\x03\x01A=Bc",
		"empty name":             "\x00\x01a",
		"garbage after the last": "\x01\x01Aa\x07",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeParams(in)
			assert.ErrorIs(t, err, ErrParams)
		})
	}
}

func TestManyParamsKeepTheirOrderAndTheLastValue(t *testing.T) {
	var b []byte
	var want Params
	for i := range 10 * fewParams {
		b = appendParam(b, fmt.Sprint("N", i), "old")
		want = append(want, Param{fmt.Sprint("N", i), "new"})
	}
	for i := range want {
		b = appendParam(b, want[len(want)-1-i].Name, "new")
	}
	p, err := decodeParams(string(b))
	require.NoError(t, err)
	assert.Equal(t, want, p)
}

func TestParamsCanBeLookedUp(t *testing.T) {
	p := Params{{"A", "1"}, {"EMPTY", ""}}
	assert.Equal(t, "1", p.Get("A"))
	v, ok := p.Lookup("EMPTY")
	assert.True(t, ok)
	assert.Empty(t, v)
	_, ok = p.Lookup("a")
	assert.False(t, ok)
	assert.Equal(t, map[string]string{"A": "1", "EMPTY": ""}, maps.Collect(p.All()))
	assert.Equal(t, []string{"A=1", "EMPTY="}, p.Environ())
	_, ok = ParamsFromContext(context.Background())
	assert.False(t, ok)
}
