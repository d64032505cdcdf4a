//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gitIn is the git command in a folder, with no configuration of this machine.
func gitIn(t *testing.T, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(bounded(t), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Zoë Author", "GIT_AUTHOR_EMAIL=zoe@example.org",
		"GIT_COMMITTER_NAME=Carl Committer", "GIT_COMMITTER_EMAIL=carl@example.org",
	}
	return cmd
}

// git runs git and returns what it prints.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitIn(t, dir, args...).CombinedOutput()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// A museum is a folder of bare repositories with one of everything that gitweb shows.
type museum struct {
	root   string            // museum.git is in it, and a fork of that
	commit map[string]string // ids by a word for them
}

const museumPage = "façade ☃.txt"

// newMuseum makes it with git itself.
func newMuseum(t *testing.T, dir string) *museum {
	t.Helper()
	needs(t, "git")
	m := &museum{root: filepath.Join(dir, "git"), commit: map[string]string{}}
	work := filepath.Join(dir, "museum-work")
	require.NoError(t, os.MkdirAll(work, 0o755))
	git(t, work, "init", "-q", "-b", "main")

	day := 0
	commit := func(word, text string) {
		day++
		date := time.Date(2021, 3, day, 2+day, 30, 0, 0, time.FixedZone("", 2*3600))
		if word == "now" {
			date = time.Now() // so that there is an age that changes while the test runs
		}
		git(t, work, "add", "-A")
		cmd := gitIn(t, work, "commit", "-q", "-m", text)
		cmd.Env = append(cmd.Env, "GIT_AUTHOR_DATE="+date.Format(time.RFC3339), "GIT_COMMITTER_DATE="+date.Format(time.RFC3339))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		m.commit[word] = git(t, work, "rev-parse", "HEAD")
	}
	put := func(name, text string) { writeFile(t, filepath.Join(work, name), text, 0o644) }

	put("README", "The museum.\n")
	put("src/main.c", "int main(void)\n{\n\treturn 0;\n}\n")
	commit("first", "Open the museum")
	put(museumPage, "Grüße aus dem Museum ☃\n<b>&amp;</b>\n")
	commit("name", "A file with a name of its own\n\nAnd a body that says <why> & \"how\".\nSigned-off-by: Zoë <zoe@example.org>")
	put("logo.bin", randomText(1, 40_000))
	commit("binary", "A picture")
	put("src/main.c", "int main(int argc, char **argv)\n{\n\treturn argc > 1;\n}\n")
	put("src/deep/er/note.txt", strings.Repeat("needle in the hay\n", 50))
	commit("change", "Count the arguments")
	git(t, work, "tag", "light")
	git(t, work, "tag", "-a", "-m", "The first release\n\nwith notes", "v1.0")
	m.commit["tag"] = git(t, work, "rev-parse", "v1.0")

	git(t, work, "checkout", "-q", "-b", "side/wing", m.commit["name"])
	require.NoError(t, os.Symlink("src/main.c", filepath.Join(work, "link")))
	put("tool.sh", "#!/bin/sh\necho tool\n")
	require.NoError(t, os.Chmod(filepath.Join(work, "tool.sh"), 0o755))
	commit("side", "A wing at the side")
	git(t, work, "checkout", "-q", "main")
	cmd := gitIn(t, work, "merge", "-q", "--no-ff", "-m", "Merge the wing", "side/wing")
	cmd.Env = append(cmd.Env, "GIT_AUTHOR_DATE=2021-03-20T10:00:00Z", "GIT_COMMITTER_DATE=2021-03-20T10:00:00Z")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	m.commit["merge"] = git(t, work, "rev-parse", "HEAD")
	git(t, work, "mv", "README", "README.txt")
	commit("rename", "Rename the README")
	for i := range 20 { // more than fit on a page
		put("log.txt", strings.Repeat("entry\n", i+1))
		commit(fmt.Sprintf("entry%d", i), fmt.Sprintf("Entry %d of the log", i))
	}
	put("log.txt", "now\n")
	commit("now", "What happened just now")

	bare := filepath.Join(m.root, "museum.git")
	git(t, dir, "clone", "-q", "--bare", work, bare)
	git(t, bare, "config", "remote.origin.url", "https://example.org/museum.git")
	git(t, bare, "config", "gitweb.owner", "Zoë the owner")
	git(t, bare, "config", "gitweb.category", "Curiosities & more")
	git(t, bare, "update-ref", "refs/remotes/origin/main", m.commit["side"])
	put2 := func(name, text string) { writeFile(t, filepath.Join(bare, name), text, 0o644) }
	put2("description", "A museum of <everything> gitweb shows\n")
	put2("cloneurl", "https://example.org/museum.git\n")
	put2("README.html", "<p>Welcome to the <em>museum</em></p>\n")

	// Forks of museum.git are in museum/.
	fork := filepath.Join(m.root, "museum", "fork.git")
	git(t, dir, "clone", "-q", "--bare", work, fork)
	writeFile(t, filepath.Join(fork, "description"), "A fork\n", 0o644)
	git(t, dir, "init", "-q", "--bare", "-b", "main", filepath.Join(m.root, "empty.git"))
	return m
}

// randomText is n octets that do not compress, the same for the same seed.
func randomText(seed uint64, n int) string {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b)
	return string(b)
}
