package measure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWhatAScriptComplainsOfMayComeAMomentBehindItsAnswer(t *testing.T) {
	g := &private{out: &tail{}}
	time.AfterFunc(50*time.Millisecond, func() { g.out.Write([]byte("no database\n")) })
	assert.Contains(t, g.said(), "no database")
}
