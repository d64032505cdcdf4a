package acme

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counts are outcomes.
type counts struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *counts) add(host, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]int{}
	}
	c.all[host+" "+outcome]++
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[what]
}

// A text is a log.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func logTo(t *text) *slog.Logger {
	return slog.New(slog.NewTextHandler(t, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// nobody is an authority that is not there.
func nobody(t *testing.T, more func(*Config)) (*Manager, *counts, *text) {
	t.Helper()
	c := Config{Hosts: []string{"a.test", "b.test"}, Directory: "https://127.0.0.1:1/dir", Storage: filepath.Join(t.TempDir(), "acme"), HTTP: true, TLSALPN: true}
	if more != nil {
		more(&c)
	}
	n, log := &counts{}, &text{}
	m, err := New(c, logTo(log), n.add)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close(context.Background()) })
	return m, n, log
}

func hello(name string, protocols ...string) *tls.ClientHelloInfo {
	c, _ := net.Pipe()
	return &tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols, Conn: c}
}

func TestWithoutAnAuthorityEveryHostHasFailedAndTheEndIsFast(t *testing.T) {
	m, n, log := nobody(t, nil)
	m.Start()
	m.Start() // is no second one
	require.Eventually(t, func() bool { return n.of("a.test failed") == 1 && n.of("b.test failed") == 1 }, patience, 5*time.Millisecond)
	assert.Contains(t, log.String(), `level=ERROR msg="no certificate" host=a.test directory=https://127.0.0.1:1/dir err=`)
	assert.Contains(t, log.String(), "will retry")
	began := time.Now()
	m.Close(t.Context())
	m.Close(t.Context())
	assert.Less(t, time.Since(began), patience/2)
	locks, err := os.ReadDir(filepath.Join(m.config.Storage, "locks"))
	require.NoError(t, err)
	assert.Empty(t, locks)
	assert.Equal(t, 1, n.of("a.test failed"), "the end is no failure")
	m.Start() // is too late
}

func TestAManagerThatWasNeverStartedCanBeClosed(t *testing.T) {
	m, n, _ := nobody(t, nil)
	m.Close(t.Context())
	assert.Empty(t, n.all)
}

func TestOnlyHostsOfTheListAreAnswered(t *testing.T) {
	m, _, _ := nobody(t, nil)
	for name, want := range map[string]error{"a.test": ErrPending, "": ErrPending, "c.test": ErrUnknownName, "www.a.test": ErrUnknownName, "*.test": ErrUnknownName} {
		_, err := m.Get(hello(name, "h2", "http/1.1"), name)
		assert.ErrorIs(t, err, want, name)
	}
	_, err := m.Get(hello("c.test", ChallengeProtocol), "c.test")
	assert.ErrorIs(t, err, ErrUnknownName)
	_, err = m.Get(hello("a.test", ChallengeProtocol), "a.test")
	assert.Error(t, err, "no challenge is open")
	for _, host := range []string{"a.test", "c.test", "", "../a.test"} {
		w := httptest.NewRecorder()
		assert.False(t, m.Answer(w, httptest.NewRequest("GET", "http://a.test/.well-known/acme-challenge/x", nil), host), host)
		assert.Zero(t, w.Body.Len())
	}
	assert.Empty(t, m.Shown())
}

func TestTheFolderIsMadeForTheUserAlone(t *testing.T) {
	m, _, _ := nobody(t, func(c *Config) { c.Storage = filepath.Join(c.Storage, "more") })
	for _, dir := range []string{m.config.Storage, filepath.Dir(m.config.Storage)} {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
	left, err := os.ReadDir(m.config.Storage)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestAFolderThatCannotBeUsedIsAnError(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "open"), 0o750))
	for name, why := range map[string]string{"file": "not a directory", "file/acme": "not a directory", "open": "is open to others (0750), and private keys lie there: chmod 700"} {
		_, err := New(Config{Hosts: []string{"a.test"}, Storage: filepath.Join(dir, name)}, slog.Default(), nil)
		require.ErrorIs(t, err, ErrStorage)
		assert.ErrorContains(t, err, why)
	}
}

func TestACAWithoutACertificateIsAnError(t *testing.T) {
	_, err := New(Config{Hosts: []string{"a.test"}, Storage: filepath.Join(t.TempDir(), "acme"), CA: []byte("x")}, slog.Default(), nil)
	assert.EqualError(t, err, "ca holds no certificate in PEM")
}

func TestTheEndWaitsForWhoHasALock(t *testing.T) {
	s, err := newStorage(filepath.Join(t.TempDir(), "acme"))
	require.NoError(t, err)
	require.NoError(t, s.Lock(t.Context(), "one"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.Lock(ctx, "one"), context.DeadlineExceeded, "another one waits")
	other, err := newStorage(s.Path)
	require.NoError(t, err)
	assert.ErrorIs(t, other.Lock(ctx, "one"), context.DeadlineExceeded, "also in another gateway")
	got, err := other.TryLock(t.Context(), "one")
	require.NoError(t, err)
	assert.False(t, got)
	closed := make(chan struct{})
	go func() { // ends with Unlock
		s.close(context.Background())
		close(closed)
	}()
	require.Eventually(t, func() bool {
		err := s.Lock(t.Context(), "two")
		if err == nil {
			err = s.Unlock(t.Context(), "two")
			return err != nil
		}
		return true
	}, patience, time.Millisecond, "nobody gets one any more")
	select {
	case <-closed:
		t.Error("the lock is held")
	default:
	}
	require.NoError(t, s.Unlock(t.Context(), "one"))
	<-closed
	assert.Error(t, s.Unlock(t.Context(), "one"), "twice")
}

func TestOnlyOneHasALockAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	var has, had atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		s, err := newStorage(dir)
		require.NoError(t, err)
		wg.Go(func() {
			for range 50 {
				for ok := false; !ok; runtime.Gosched() {
					ok, err = s.TryLock(t.Context(), "one")
					assert.NoError(t, err)
				}
				assert.EqualValues(t, 1, has.Add(1))
				had.Add(1)
				has.Add(-1)
				assert.NoError(t, s.Unlock(t.Context(), "one"))
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 400, had.Load())
	left, err := os.ReadDir(filepath.Join(dir, "locks"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestErrorsOfTheLibraryAreWarningsAndTheRestIsForDebugging(t *testing.T) {
	log := &text{}
	life, end := context.WithCancel(t.Context())
	l := zap.New(core{log: logTo(log), life: life}).With(zap.String("host", "a.test"))
	l.Debug("details", zap.Int("n", 1))
	l.Info("acquiring lock", zap.Strings("names", []string{"a", "b"}))
	l.Warn("odd")
	l.Error("could not get certificate from issuer")
	l.Error("will retry", zap.Duration("in", time.Minute))
	l.Error("challenge failed", zap.Object("problem", zapcore.ObjectMarshalerFunc(func(e zapcore.ObjectEncoder) error {
		e.AddString("detail", "nobody listens")
		e.AddString("title", "")
		return nil
	})))
	end()
	l.Error("canceled")
	for _, line := range []string{
		`level=WARN msg="acme: challenge failed" host=a.test problem="nobody listens"`, `level=DEBUG msg="acme: canceled" host=a.test`, `level=DEBUG msg="acme: acquiring lock" host=a.test names="[a b]"`, `level=DEBUG msg="acme: odd" host=a.test`, `level=DEBUG msg="acme: could not get certificate from issuer"`, `level=WARN msg="acme: will retry" host=a.test in=1m0s`,
	} {
		assert.Contains(t, log.String(), line)
	}
	assert.NotContains(t, log.String(), "details")
}
