package shim

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/confine"
)

func TestAnOrderArrivesAsItWasSentWithWhateverOctets(t *testing.T) {
	o := &Order{
		Version: Version, Script: "/a\xff/\u00e9", Dir: "/\x80", Mode: Spawn, Argv: []string{"/bin/\xfe", ""}, Env: []string{"A=\x01\xff"},
		Confine: confine.New(&confine.User{Name: "x", UID: 1, GID: 2, Groups: []uint32{3}}, confine.Limits{CPU: time.Second}),
		Gateway: 7, Socket: "/s\xff",
	}
	b, err := o.Encode()
	require.NoError(t, err)
	rest := strings.NewReader(string(b) + "rest")
	got, err := readOrder(rest)
	require.NoError(t, err)
	assert.Equal(t, o, got)
	assert.Equal(t, 4, rest.Len(), "not an octet more is read")
}

func TestAnOrderThatIsNotUnderstoodWholeIsNotObeyed(t *testing.T) {
	for text, says := range map[string]string{
		`{"Version":1}`:            "version 1",
		`{"Version":2,"Jail":"x"}`: "unknown field", // it could be a limit
		`{`:                        "unexpected EOF",
	} {
		_, err := readOrder(strings.NewReader(string(Netstring([]byte(text)))))
		assert.ErrorContains(t, err, says, text)
	}
	_, err := readOrder(strings.NewReader("x"))
	assert.ErrorContains(t, err, "not a netstring")
}

func TestTheGatewayHearsWhatBecameOfASpawnedScript(t *testing.T) {
	pid, err := Spawned(strings.NewReader("pid 12\n"))
	assert.NoError(t, err)
	assert.Equal(t, 12, pid)

	pid, err = Spawned(strings.NewReader("pid 12\n" + failedToSpawn(syscall.ENOENT)))
	assert.Equal(t, 12, pid, "it is to be waited for")
	assert.Equal(t, error(syscall.ENOENT), err, "as from the gateway's own fork")

	wrapped := errors.Join(errors.New("user x: 100% not"), syscall.EPERM)
	pid, err = Spawned(strings.NewReader(failedToSpawn(wrapped)))
	assert.Zero(t, pid)
	assert.ErrorIs(t, err, syscall.EPERM)
	assert.EqualError(t, err, wrapped.Error())

	_, err = Spawned(strings.NewReader(""))
	assert.ErrorContains(t, err, "it has ended")
	_, err = Spawned(strings.NewReader("nonsense\n"))
	assert.Error(t, err)
}
