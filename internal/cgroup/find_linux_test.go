package cgroup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheGatewaysOwnGroupIsFoundWhereverItIsMounted(t *testing.T) {
	const v1 = "36 31 0:33 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
	mount := func(root, at string) string {
		return v1 + "41 31 0:38 " + root + " " + at + " rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
	}
	for name, c := range map[string]struct{ groups, mounts, want string }{
		"a service":                     {"0::/system.slice/warmcgi.service\n", mount("/", "/sys/fs/cgroup"), "/sys/fs/cgroup/system.slice/warmcgi.service"},
		"beside version 1":              {"8:pids:/x\n0::/a\n", mount("/", "/sys/fs/cgroup/unified"), "/sys/fs/cgroup/unified/a"},
		"the root":                      {"0::/\n", mount("/", "/sys/fs/cgroup"), "/sys/fs/cgroup"},
		"a part of the tree":            {"0::/docker/1/a\n", mount("/docker/1", "/sys/fs/cgroup"), "/sys/fs/cgroup/a"},
		"that part itself":              {"0::/docker/1\n", mount("/docker/1", "/sys/fs/cgroup"), "/sys/fs/cgroup"},
		"a space in the way":            {"0::/a b\n", mount("/", `/sys/my\040groups`), "/sys/my groups/a b"},
		"the second mount":              {"0::/b/c\n", mount("/a", "/one") + mount("/b", "/two"), "/two/c"},
		"a neighbour of the same begin": {"0::/docker/12\n", mount("/docker/1", "/one") + mount("/", "/two"), "/two/docker/12"},
	} {
		got, err := find(c.groups, c.mounts)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
}

func TestWithoutGroupsOfVersion2ItIsSaidWhy(t *testing.T) {
	for _, c := range [][3]string{
		{"8:pids:/x\n", "", "the kernel has none of version 2"},
		{"0::/a\n", "36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", "not mounted here"},
		{"0::/a\n", "36 31 0:33 /b /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "not mounted here"},
		{"0::/a\n", "nonsense\n - cgroup2\n", "not mounted here"},
	} {
		_, err := find(c[0], c[1])
		assert.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, c[2], strings.TrimSpace(c[1]))
	}
}
