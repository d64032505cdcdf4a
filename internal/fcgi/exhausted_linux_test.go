package fcgi

import (
	"context"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

// withoutDescriptors runs f while this process can open nothing.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max}))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)) }()
	f()
}

func TestAServerIsNotLeftOutBecauseTheGatewayHasNoDescriptors(t *testing.T) {
	f := newFake(t, func(c *fakeConn, _ int) { answerAll(c, "here") })
	log := &logBuffer{}
	server := TransportConfig{Network: "unix", Address: f.address, MaxConns: 4, Keep: time.Hour}
	u, err := NewUpstream(UpstreamConfig{
		Servers: []TransportConfig{server}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	defer u.Close(context.Background())
	checked := &Upstream{c: UpstreamConfig{Health: Health{Timeout: patience, Check: CheckConnect}}}
	withoutDescriptors(t, func() {
		for range 2 * strikesOut {
			_, err := u.RoundTrip(t.Context(), aRequest())
			assert.ErrorIs(t, err, cgi.ErrExhausted)
			assert.ErrorIs(t, err, syscall.EMFILE)
			assert.NotErrorIs(t, err, cgi.ErrUnreachable)
		}
		_, err = checked.check(t.Context(), u.servers[0])
		assert.Equal(t, errPutOff, err, "nor does a check count against it")
	})
	res, err := u.RoundTrip(t.Context(), aRequest())
	require.NoError(t, err, "at once")
	b, err := io.ReadAll(res.Body)
	assert.NoError(t, err)
	assert.Equal(t, "here", string(b))
	res.Body.Close()
	assert.Empty(t, log.String())
}
