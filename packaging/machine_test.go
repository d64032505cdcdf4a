//go:build linux

package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cleanRoot is a small Debian with systemd, as the machine's own package source has it. What the tests install lies in
// its cache, as machines have no network.
var cleanRoot = sync.OnceValues(func() (string, error) {
	root := filepath.Join(scratch, "root")
	sources := "/etc/apt/sources.list.d/debian.sources"
	if _, err := os.Stat(sources); err != nil {
		sources = "/etc/apt/sources.list"
	}
	release, err := exec.Command("sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME").Output()
	if err != nil {
		return "", err
	}
	// In namespaces of its own, so that its mounts and processes end with it, whatever becomes of it.
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"mmdebstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,curl",
		"--aptopt=Acquire::Check-Valid-Until false", "--aptopt=APT::Install-Recommends false",
		"--skip=cleanup/apt",
		`--customize-hook=chroot "$1" apt-get install -y --download-only gitweb nginx-light fcgiwrap logrotate man-db ruby python3 procps`,
		strings.TrimSpace(string(release)), root, sources)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w\n%s", err, out)
	}
	return root, nil
})

// A machine is a Debian of its own, with systemd and nothing of the network but a loopback. It ends with the test.
type machine struct {
	t    *testing.T
	root string // its file system, as it was written over the clean root
	init int    // its first process
}

func bootMachine(t *testing.T) *machine {
	t.Helper()
	needs(t, "mmdebstrap", "mmdebstrap")
	if os.Geteuid() != 0 {
		missing(t, "only root can boot a machine")
	}
	base := must[string](t)(cleanRoot())
	dir, err := os.MkdirTemp(scratch, "machine-")
	require.NoError(t, err)
	console := &bytes.Buffer{}
	cmd := exec.Command("testdata/boot.sh", base, dir)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	m := &machine{t: t, root: filepath.Join(dir, "upper")}
	t.Cleanup(func() {
		if t.Failed() && m.init != 0 {
			journal, _ := m.try("journalctl --no-pager -n 60 -o short-monotonic")
			t.Logf("the machine's journal:\n%s", journal)
		}
		if m.init != 0 {
			syscall.Kill(m.init, syscall.SIGKILL) // and with it all others of the machine: then boot.sh ends
		} else {
			cmd.Process.Kill()
		}
		cmd.Wait()
		out, err := exec.Command("testdata/unboot.sh", dir).CombinedOutput()
		assert.NoError(t, err, "%s", out)
		assert.NoError(t, os.RemoveAll(dir))
	})
	require.Eventually(t, func() bool {
		m.init = onlyChild(cmd.Process.Pid)
		if m.init == 0 {
			return false
		}
		state, _ := m.try("systemctl is-system-running")
		return strings.TrimSpace(state) == "running"
	}, patience, 100*time.Millisecond, "systemd does not come up: %s", console)
	return m
}

// onlyChild is 0 as long as there is none.
func onlyChild(pid int) (child int) {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	fmt.Sscan(string(list), &child)
	return child
}

// try runs a shell's commands in the machine.
func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(m.init), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
		"sh", "-euc", "cd /root; "+script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for what has to succeed.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	require.NoError(m.t, err, "%s\n%s", script, out)
	return out
}

// await tries until it succeeds and what it writes contains a text.
func (m *machine) await(script, text string) {
	m.t.Helper()
	var out string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if out, err = m.try(script); err == nil && strings.Contains(out, text) {
			return
		}
	}
	require.Failf(m.t, "it does not come to that", "%s\nhas to contain %q, but is:\n%s", script, text, out)
}

// write makes a file.
func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(m.init), "-m", "-r", "-w", "--", "/bin/sh", "-euc",
		`/bin/mkdir -p "$(/usr/bin/dirname "$1")"; /bin/cat > "$1"; /bin/chmod "$2" "$1"`, "sh", path, fmt.Sprintf("%o", mode))
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, err, "%s: %s", path, out)
}

// read is a file's text.
func (m *machine) read(path string) string { m.t.Helper(); return m.run("cat '" + path + "'") }

// bring copies a package into the machine's /root/dist.
func (m *machine) bring(file string) {
	m.t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(m.t, err)
	m.write("/root/dist/"+filepath.Base(file), string(b), 0o644)
}

// edit replaces text in a file of the machine.
func (m *machine) edit(path string, oldNew ...string) {
	m.t.Helper()
	text := m.read(path)
	for i := 0; i < len(oldNew); i += 2 {
		require.Contains(m.t, text, oldNew[i])
	}
	m.write(path, strings.NewReplacer(oldNew...).Replace(text), 0o644)
}
