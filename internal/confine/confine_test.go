package confine

import (
	"os"
	"os/user"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNoRulesAreNil(t *testing.T) {
	assert.Nil(t, New(nil, Limits{}))
	assert.NotNil(t, New(&User{}, Limits{}), "root is a user, too")
	var none *Rules
	assert.Nil(t, none.RunsAs())
	assert.False(t, none.Limited())
	assert.Empty(t, none.Ended("SIGXCPU", -1, time.Hour))
	assert.NoError(t, none.Become())
	assert.NoError(t, none.Assume())
}

func TestTheEndOfAProcessShowsItsLimit(t *testing.T) {
	all := New(nil, Limits{CPU: 2 * time.Second, FileSize: 1})
	for _, c := range []struct {
		signal string
		code   int
		cpu    time.Duration
		want   string
	}{
		{"SIGXCPU", -1, 0, CPU},
		{"SIGKILL", -1, 3 * time.Second, CPU},
		{"SIGKILL", -1, time.Second, ""},
		{"SIGKILL", -1, -2 * time.Microsecond, ""}, // nobody knows
		{"SIGXFSZ", -1, 0, FileSize},
		{"", 128 + 24, 0, CPU}, // a shell whose command it was
		{"", 128 + 25, 0, FileSize},
		{"SIGSEGV", -1, time.Hour, ""},
		{"", 0, time.Hour, ""},
		{"", 1, 0, ""},
	} {
		assert.Equal(t, c.want, all.Ended(c.signal, c.code, c.cpu), "%+v", c)
	}
	other := New(nil, Limits{Memory: 1})
	assert.Empty(t, other.Ended("SIGXCPU", -1, time.Hour), "not by a limit of ours")
	assert.Empty(t, other.Ended("SIGXFSZ", -1, 0))
}

func TestLimitsAreListedAsTheConfigurationHasThem(t *testing.T) {
	l := Limits{Memory: 512 << 20, CPU: 90 * time.Second, Processes: 64, Files: 256, FileSize: 1500}
	assert.Equal(t, "memory 512MiB, cpu 1m30s, processes 64, files 256, file_size 1500B", l.String())
	assert.Equal(t, "cpu 1m30s", New(nil, l).Describe(CPU))
	assert.Empty(t, Limits{}.String())
}

func TestAUserIsFoundByNameAndByNumberWithItsGroups(t *testing.T) {
	needsRoot(t)
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	byName, err := Lookup("nobody")
	require.NoError(t, err)
	assert.Equal(t, uint32(65534), byName.UID)
	assert.Contains(t, byName.Groups, byName.GID)
	byNumber, err := Lookup(nobody.Uid)
	require.NoError(t, err)
	assert.Equal(t, []any{byName.UID, byName.GID, byName.Groups}, []any{byNumber.UID, byNumber.GID, byNumber.Groups})

	other, err := Lookup("nobody:daemon")
	require.NoError(t, err)
	assert.Equal(t, uint32(1), other.GID)
	assert.Equal(t, byName.Groups, other.Groups)
	unknown, err := Lookup("61234:61235")
	require.NoError(t, err)
	assert.Equal(t, &User{Name: "61234:61235", UID: 61234, GID: 61235}, unknown)
	root, err := Lookup("root")
	require.NoError(t, err)
	assert.True(t, IsRoot(root), "who says so means it")
}

func TestAUserThatIsNotThereIsAnError(t *testing.T) {
	for text, says := range map[string]string{
		"no-such-user":         `there is no user "no-such-user"`,
		"":                     `there is no user ""`,
		":daemon":              `there is no user ""`,
		"61234":                "no user has the number 61234 (write 61234:GROUP to do without)",
		"nobody:no-such-group": `there is no group "no-such-group"`,
		"nobody:":              `there is no group ""`,
		"-1":                   `there is no user "-1"`,
		"4294967295:1":         `there is no user "4294967295"`, // setuid would change nothing
		"1:4294967295":         `there is no group "4294967295"`,
		"99999999999:1":        `there is no user "99999999999"`,
	} {
		_, err := Lookup(text)
		assert.EqualError(t, err, says, text)
	}
}

// needsRoot skips a test that must become another user; where all tests have to run it fails.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}
