package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALargeAnswerIsCheckedToItsLastOctet(t *testing.T) {
	w := workload{body: noise(1000), size: 10500}
	right := strings.Repeat(w.body, 11)[:10500]
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"right":      {right, true},
		"last octet": {right[:10499] + "\x00", false},
		"shifted":    {right[1:] + "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			want := w.content()
			ok, err := want.match(bufio.NewReaderSize(strings.NewReader(c.text), 64), want.left())
			require.NoError(t, err)
			assert.Equal(t, c.ok, ok)
		})
	}
	want := w.content()
	_, err := want.match(bufio.NewReader(strings.NewReader(right[:10499])), want.left())
	assert.Error(t, err, "too short")
}
