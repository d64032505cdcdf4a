package fcgi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/monotonic"
)

func TestRequestsAreHeldBackLongerTheMoreOftenTheApplicationIsLate(t *testing.T) {
	var l lateness
	now := time.Now()
	held := func() time.Duration { return monotonic.Time(l.until.Load()).Sub(now) }
	l.again(now)
	assert.Equal(t, firstLate, held(), "it may be the system's fault")
	now = now.Add(firstLate / 2)
	l.again(now)
	assert.Equal(t, firstLate, held(), "as long as requests are held back, that says little")
	for want := 2 * firstLate; want < maxLate; want *= 2 {
		now = now.Add(held() + time.Second)
		l.again(now)
		assert.Equal(t, want, held())
	}
	now = now.Add(held() + time.Second)
	l.again(now)
	assert.Equal(t, maxLate, held())
	now = now.Add(held() + maxLate + time.Second)
	l.again(now)
	assert.Equal(t, firstLate, held(), "after a time without")
}
