package monotonic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAMomentIsTheTimeThatItWasMadeOf(t *testing.T) {
	now := time.Now()
	assert.Zero(t, Time(At(now)).Sub(now), "by the monotonic clock; that of the wall may have been slewed meanwhile")
	assert.Positive(t, At(now))
	assert.GreaterOrEqual(t, Now(), At(now))
	assert.Equal(t, int64(time.Second), At(now.Add(time.Second))-At(now))
}
