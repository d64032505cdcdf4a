package gateway

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/config"
	"warmcgi/internal/fcgi"
	"warmcgi/internal/probe"
)

func TestPHPsStatusTellsHowManyRequestsItCanHave(t *testing.T) {
	assert.Equal(t, 5, children(probe.Status{Manager: "static", Total: 5}))
	assert.Equal(t, 0, children(probe.Status{Manager: "dynamic", Total: 5, MaxActive: 4}), "there may be more")
	assert.Equal(t, 8, children(probe.Status{Manager: "ondemand", Total: 2, MaxActive: 8, MaxChildrenReached: 1}))
}

func TestAnApplicationTellsHowManyRequestsItCanHave(t *testing.T) {
	c := fcgi.TransportConfig{MaxConns: 32}
	for values, want := range map[string]fcgi.Condition{
		"":     {},
		"many": {},
		"1":    {}, // libfcgi: of each process
		"4":    {Room: 4},
		"1024": {Room: 1024, Ours: true},
	} {
		assert.Equal(t, want, limits(map[string]string{"FCGI_MAX_CONNS": values}, c), values)
	}
}

func TestAServersHealthIsAskedForAsTheConfigurationSays(t *testing.T) {
	s := newSite(t)
	a := s.app(nil)
	there, nowhere := fcgi.TransportConfig{Network: "unix", Address: s.path("app")}, fcgi.TransportConfig{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}
	check := func(c config.Health) func(fcgi.TransportConfig) error {
		c.Every, c.Fails = config.Duration(time.Second), 3
		h := health(&c)
		assert.Equal(t, fcgi.Health{Every: time.Second, Fails: 3}, fcgi.Health{Every: h.Every, Timeout: h.Timeout, Fails: h.Fails})
		return func(at fcgi.TransportConfig) error {
			_, err := h.Check(t.Context(), at)
			return err
		}
	}
	connect := check(config.Health{Check: config.CheckConnect})
	assert.NoError(t, connect(there))
	assert.Error(t, connect(nowhere))

	for _, c := range []struct {
		check             config.HealthCheck
		path, asked, well string
	}{
		{config.CheckPing, "", "/ping", "pong"}, {config.CheckPing, "/alive", "/alive", "pong"},
		{config.CheckStatus, "", "/status", `{"pool": "www", "process manager": "static", "total processes": 3}`},
	} {
		ask := check(config.Health{Check: c.check, Path: c.path})
		a.says("Content-Type: text/plain\n\n" + c.well)
		assert.NoError(t, ask(there))
		assert.Equal(t, c.asked, a.asked().vars["SCRIPT_NAME"])
		a.says("Status: 500\n\n" + c.well)
		assert.Error(t, ask(there), "%s", c.check)
		assert.Error(t, ask(nowhere))
	}
	assert.Nil(t, health(nil).Check, "nobody is asked")
}
