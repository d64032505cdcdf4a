package fcgi

import (
	"bufio"
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordsAreWrittenAsTheSpecificationSays(t *testing.T) {
	for name, test := range map[string]struct{ got, want []byte }{
		"begin":          {appendBegin(nil, 1, roleResponder, flagKeepConn), []byte{1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0}},
		"begin filter":   {appendBegin(nil, 0x1234, roleFilter, 0), []byte{1, 1, 0x12, 0x34, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0}},
		"end":            {appendEnd(nil, 1, 0x01020304, statusOverloaded), []byte{1, 3, 0, 1, 0, 8, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0}},
		"end of stream":  {appendRecord(nil, typeStdin, 1, nil), []byte{1, 5, 0, 1, 0, 0, 0, 0}},
		"padded":         {appendRecord(nil, typeStdout, 1, []byte("abc")), []byte{1, 6, 0, 1, 0, 3, 5, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0}},
		"appended":       {appendRecord([]byte("x"), typeAbortRequest, 9, nil), []byte{'x', 1, 2, 0, 9, 0, 0, 0, 0}},
		"short lengths":  {appendParam(nil, "AB", "c"), []byte{2, 1, 'A', 'B', 'c'}},
		"empty value":    {appendParam(nil, "A", ""), []byte{1, 0, 'A'}},
		"longest short":  {appendParam(nil, "A", string(make([]byte, 127)))[:3], []byte{1, 127, 'A'}},
		"shortest long":  {appendParam(nil, "A", string(make([]byte, 128)))[:6], []byte{1, 0x80, 0, 0, 128, 'A'}},
		"long name":      {appendParam(nil, string(make([]byte, 300)), "")[:5], []byte{0x80, 0, 1, 0x2c, 0}},
		"largest record": {appendRecord(nil, typeStdout, 1, make([]byte, maxContent))[:8], []byte{1, 6, 0, 1, 0xff, 0xff, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, test.got) })
	}
}

func TestAHeaderIsReadBackAsItWasWritten(t *testing.T) {
	for _, h := range []header{
		{},
		{typ: typeStdin, id: 1, length: maxContent, padding: 255},
		{typ: 255, id: 65535, length: 8},
		newHeader(typeStdout, 7, 9),
	} {
		var b [headerLen]byte
		h.put(b[:])
		got, err := parseHeader(b[:])
		require.NoError(t, err)
		assert.Equal(t, h, got)
	}
}

func TestABadHeaderIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want error
	}{
		"no record":       {nil, io.EOF},
		"cut off":         {[]byte{1, 1, 0}, io.ErrUnexpectedEOF},
		"another version": {[]byte{2, 1, 0, 1, 0, 0, 0, 0}, ErrProtocol},
		"HTTP":            {[]byte("GET / HTTP/1.1\r\n"), ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readHeader(bufio.NewReader(bytes.NewReader(test.in)))
			assert.ErrorIs(t, err, test.want)
		})
	}
}

func TestContentOfAFixedLengthIsChecked(t *testing.T) {
	for n := range 12 {
		_, _, errBegin := parseBegin(make([]byte, n))
		_, _, errEnd := parseEnd(make([]byte, n))
		if n == 8 {
			assert.NoError(t, errBegin)
			assert.NoError(t, errEnd)
			continue
		}
		assert.ErrorIs(t, errBegin, ErrProtocol)
		assert.ErrorIs(t, errEnd, ErrProtocol)
	}
	app, status, err := parseEnd([]byte{1, 2, 3, 4, 3, 0, 0, 0})
	require.NoError(t, err)
	assert.EqualValues(t, 0x01020304, app)
	assert.Equal(t, statusUnknownRole, status)
}
