//go:build linux

package runner

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// besideRuby puts a file into a script's folder.
func besideRuby(t *testing.T, script, name, text string) string {
	t.Helper()
	file := filepath.Join(filepath.Dir(script), name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

func TestRubyWarmParentSaysWhatItLoaded(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nrequire 'cgi'\nrequire_relative 'near'\nputs NEAR\n")
	near := besideRuby(t, script, "near.rb", "NEAR = 'near'\n")
	p := warmRuby(t, script, setup{})
	assert.Contains(t, p.files, script)
	assert.Contains(t, p.files, near)
	assert.Contains(t, strings.Join(p.files, "\n"), "/cgi.rb")
	assert.NotContains(t, strings.Join(p.files, "\n"), "warmcgi")
	a := p.ask(t, request{})
	assert.Equal(t, "near\n", a.out)
	assert.Empty(t, a.late)
}

func TestRubyWarmParentRunsNothingOfTheScript(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nsystem('echo run >> runs')\nputs 'x'\n")
	p := warmRuby(t, script, setup{})
	assert.NoFileExists(t, filepath.Join(filepath.Dir(script), "runs"))
	assert.Equal(t, "", p.written())
	assert.False(t, p.consumed(t))
	assert.Equal(t, "x\n", p.ask(t, request{}).out)
}

func TestRubyWorkerSaysWhatItLoadedLate(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nif ENV.size > 0\n  require 'json'\nend\nputs JSON.generate([1])\n")
	p := warmRuby(t, script, setup{})
	a := p.ask(t, request{})
	assert.Equal(t, "[1]\n", a.out)
	require.NotEmpty(t, a.late)
	assert.Contains(t, a.late[len(a.late)-1], "/json.rb=")
	outside := besideRuby(t, script, "outside.rb", "raise 'not to be loaded'\n")
	next := warmRuby(t, script, setup{late: append(a.late, outside+"="+outside)})
	b := next.ask(t, request{})
	assert.Equal(t, "[1]\n", b.out)
	assert.Empty(t, b.late)
}

func TestRubyPreloads(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nputs $LOADED_FEATURES.grep(/ostruct/).size\n")
	p := warmRuby(t, script, setup{preload: []string{"ostruct"}})
	assert.Equal(t, "1\n", p.ask(t, request{}).out)
	p = start(t, script, setup{preload: []string{"no/such/library"}})
	p.outcome(t)
	assert.Contains(t, p.failed, "no/such/library")
}

func TestRubyScriptThatCannotBeParsedFails(t *testing.T) {
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, write(t, "s.rb", "#!/usr/bin/ruby\nputs (1 +\n"), setup{mode: mode})
		p.outcome(t)
		assert.Contains(t, p.failed, "SyntaxError")
		assert.Regexp(t, `:2: syntax error, .`, p.failed, "it says where")
	}
}

func TestRubyFileThatReadsTheRequestWhileItIsLoaded(t *testing.T) {
	for name, c := range map[string]struct{ text, reason string }{
		"by name":     {"Q = ENV['QUERY_STRING']", "reads QUERY_STRING while it is loaded"},
		"by fetch":    {"Q = ENV.fetch('HTTP_HOST', nil)", "reads HTTP_HOST while it is loaded"},
		"by key?":     {"Q = ENV.key?('REQUEST_METHOD')", "reads REQUEST_METHOD while it is loaded"},
		"the whole":   {"Q = ENV.to_h.size", "reads the whole environment while it is loaded"},
		"each":        {"Q = 0; ENV.each { |k, v| Q += k.size rescue 0 }", "reads the whole environment while it is loaded"},
		"map":         {"Q = ENV.map { |k, v| k }.sort", "reads the whole environment while it is loaded"},
		"other names": {"Q = ENV['HOME']; R = ENV.fetch('LANG', 'C')", ""},
	} {
		t.Run(name, func(t *testing.T) {
			script := write(t, "s.rb", "#!/usr/bin/ruby\nrequire_relative 'near'\np Q\n")
			besideRuby(t, script, "near.rb", c.text+"\n")
			sameRuby(t, script, request{vars: []string{"QUERY_STRING=a", "HTTP_HOST=h"}}, setup{env: utf8Ruby})
			p := start(t, script, setup{mode: "reuse"})
			p.ready(t)
			assert.Equal(t, c.reason, strings.Join(p.unsafe, ";"))
			p = start(t, write(t, "t.rb", "#!/usr/bin/ruby\np Q\n"), setup{preload: []string{filepath.Join(filepath.Dir(script), "near")}})
			p.ready(t)
			assert.Equal(t, c.reason, strings.Join(p.unsafe, ";"), "loaded before the script begins")
		})
	}
}

func TestRubyLibrariesOfItsOwnAreSafe(t *testing.T) {
	script := write(t, "s.rb", `#!/usr/bin/ruby
require 'cgi'
require 'json'
require 'net/http'
require 'openssl'
require 'tempfile'
require 'fileutils'
require 'erb'
require 'yaml'
require 'time'
require 'logger'
require 'open3'
require 'optparse'
require 'csv'
puts ENV['QUERY_STRING']
`)
	p := warmRuby(t, script, setup{})
	a := p.ask(t, request{vars: []string{"QUERY_STRING=q"}})
	assert.Equal(t, "q\n", a.out, a.stderr)
	assert.Empty(t, a.late)
}

func TestRubyEnvironmentOfLibrariesStays(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nrequire_relative 'near'\np ENV['SET'], ENV['GONE']\n")
	besideRuby(t, script, "near.rb", "ENV['SET'] = '1'; ENV.delete('GONE')\n")
	for _, mode := range []string{"warm", "reuse"} {
		p := warmRuby(t, script, setup{mode: mode, env: append([]string{"GONE=1"}, utf8Ruby...)})
		for range 2 {
			assert.Equal(t, "\"1\"\nnil\n", p.ask(t, request{}).out)
		}
	}
}

func TestRubyWarmParentHasFewDescriptorsAndOneThread(t *testing.T) {
	p := warmRuby(t, write(t, "s.rb", "#!/usr/bin/ruby\nputs DATA.read\n__END__\nx\n"), setup{})
	p.ask(t, request{})
	proc := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	tasks, err := os.ReadDir(filepath.Join(proc, "task"))
	require.NoError(t, err)
	assert.Len(t, tasks, 1)
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	require.NoError(t, err)
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		ours, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if len(fd.Name()) == 1 && fd.Name() > "3" {
			assert.Contains(t, []string{"anon_inode:[eventfd]", "anon_inode:[signalfd]"}, to)
		} else if fd.Name() > "3" {
			assert.Equal(t, ours, to, "inherited")
		}
	}
}

func TestRubyWorkersEndWithTheGateway(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nputs $$; $stdout.flush; sleep 60\n")
	p := warmRuby(t, script, setup{})
	w := p.worker(t)
	_, err := w.req.Write(netstring([]string{"PATH", os.Getenv("PATH")}))
	require.NoError(t, err)
	b := make([]byte, 100)
	n, err := w.req.Read(b)
	require.NoError(t, err)
	assert.Equal(t, strconv.Itoa(w.pid)+"\n", string(b[:n]))
	p.stop()
	w.err.SetReadDeadline(time.Now().Add(patience))
	_, err = w.err.Read(b)
	assert.ErrorIs(t, err, io.EOF, "nobody holds it any more")
}

func TestRubyIdleWorkerThatIsNotWantedRunsNothing(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nbegin; system('echo run >> runs'); ensure; system('echo run >> runs'); end\n")
	p := warmRuby(t, script, setup{})
	for _, end := range []func(*worker){
		func(w *worker) { w.req.Close() },
		func(w *worker) { syscall.Kill(w.pid, syscall.SIGTERM) },
	} {
		w := p.worker(t)
		end(w)
		p.wait(t, "exit", func() bool { _, gone := p.exits[w.pid]; return gone })
		assert.NoFileExists(t, filepath.Join(filepath.Dir(script), "runs"))
	}
}

func TestRubyIsFoundThroughEnv(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/env ruby\nputs __FILE__ == $0, $0\n")
	sameRuby(t, script, request{}, setup{env: utf8Ruby})
}

func TestRubyScriptWithSwitchesThatTellIsOnlySpawned(t *testing.T) {
	for _, s := range []string{"-n", "-p", "-s", "-x", "-c", "-v", "-d", "-wn", "-l", "-a", "-i", "-e1", "--yjit"} {
		_, err := Find(write(t, "s.rb", "#!/usr/bin/ruby "+s+"\n"), "")
		assert.ErrorIs(t, err, ErrNoRunner, s)
	}
	for _, s := range []string{"-w", "-W0", "-W:no-deprecated", "-U", "-EUTF-8", "-Ilib", "-rset", "-Ku"} {
		_, err := Find(write(t, "s.rb", "#!/usr/bin/ruby "+s+"\n"), "")
		assert.NoError(t, err, s)
	}
}

func TestRubyWarmParentEndsItsWorkersBySignal(t *testing.T) {
	p := warmRuby(t, write(t, "s.rb", "#!/usr/bin/ruby\nputs 1\n"), setup{})
	w := p.worker(t)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	w.req.SetReadDeadline(time.Now().Add(patience))
	_, err := w.req.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}
