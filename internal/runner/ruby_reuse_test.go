//go:build linux

package runner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var utf8Ruby = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}

func TestRubyReusedWorkerAnswersAgain(t *testing.T) {
	script := write(t, "form.rb", `#!/usr/bin/ruby
require 'cgi'
LIMIT = 3
class Form; def initialize(c); @c = c; end; def to_s; @c.params.inspect; end; end
def show(x); puts x; end
at_exit { puts "end" }
cgi = CGI.new
print "Content-Type: text/plain\r\n\r\n"
show Form.new(cgi)
p ARGV, $0 == __FILE__, DATA.read, ENV['QUERY_STRING'], __method__, LIMIT
raise "failed" if cgi['a'] == '1'
__END__
data
`)
	p := start(t, script, setup{mode: "reuse", env: utf8Ruby})
	p.ready(t)
	pid := 0
	for _, r := range []request{{body: "a=1&b=2"}, {vars: []string{"QUERY_STRING=q=%C3%A9"}, args: []string{"x"}}, {body: "a=2"}} {
		want := plain(t, script, r, utf8Ruby...)
		a := p.ask(t, r)
		assert.Equal(t, want.out, a.out)
		assert.Equal(t, want.stderr, a.stderr)
		assert.True(t, a.done)
		assert.Equal(t, want.status.ExitStatus(), a.code)
		assert.Equal(t, "-", a.left)
		if pid != 0 {
			assert.Equal(t, pid, a.pid)
		}
		pid = a.pid
	}
	assert.Empty(t, p.unsafe)
}

func TestRubyScriptAnswersTheSameWhenReused(t *testing.T) {
	for _, c := range rubySame {
		if c.alone {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			script := write(t, "script.rb", "#!/usr/bin/ruby"+c.switches+"\n"+c.text+"\n")
			env := utf8Ruby
			if c.ascii {
				env = env[:1]
			}
			want := plain(t, script, c.r, env...)
			p := warmRuby(t, script, setup{mode: "reuse", env: env})
			pids := map[int]bool{}
			for range 3 {
				got := p.ask(t, c.r)
				assert.Equal(t, steadyRuby(want.out), steadyRuby(got.out))
				assert.Equal(t, steadyRuby(want.stderr), steadyRuby(got.stderr))
				if got.done {
					assert.Equal(t, want.status.ExitStatus(), got.code)
				} else {
					assert.Equal(t, want.status, got.status)
				}
				pids[got.pid] = true
			}
			assert.Equal(t, c.not, len(pids) > 1, "one worker for all, unless the script ends its process")
		})
	}
}

// rubyDirt leaves all traces it can, or looks for them.
const rubyDirt = `#!/usr/bin/ruby
require 'cgi'
require 'stringio'
def state
  [$leak.inspect, defined?(LEAK), defined?(Leak), defined?(leaked), @leak, ENV['LEAK'], ENV['PATH'].nil?, Dir.pwd == __dir__, File.umask,
   $stdin.equal?(STDIN), $stdout.equal?(STDOUT), $stderr.equal?(STDERR), STDOUT.sync, STDIN.binmode?, STDOUT.external_encoding, STDIN.external_encoding,
   $,, $/, $\, $;, $VERBOSE, $DEBUG, $0 == __FILE__, ARGV, $LOAD_PATH.include?("/leak"), Encoding.default_external, Encoding.default_internal,
   Warning[:deprecated], Thread.abort_on_exception, Thread.list.size, Thread.current[:leak], Thread.current.thread_variable_get(:leak),
   CGI.accept_charset, singleton_methods, GC.disable, GC.enable, trap('USR1', 'DEFAULT'), trap('TERM', 'DEFAULT'), STDIN.lineno,
   Dir.children('/proc/self/fd').size, DATA.read, STDIN.read, $~.inspect]
end
puts state.inspect
if ENV['QUERY_STRING'] == 'dirt'
  $leak = 1
  LEAK = 1
  class Leak; end
  module Kernel; end
  def leaked; end
  def self.single; end
  @leak = 1
  ENV['LEAK'] = '1'; ENV.delete('PATH')
  Dir.chdir('/'); File.umask(0)
  STDOUT.sync = true; STDIN.binmode; STDOUT.set_encoding('ISO-8859-1')
  $VERBOSE = nil
  $, = 'x'; $/ = 'y'; $\ = 'z'; $; = 'a'
  $DEBUG = false
  $0 = 'leak'; ARGV << 'leak'; $LOAD_PATH.unshift('/leak')
  Encoding.default_external = 'ISO-8859-1'; Encoding.default_internal = 'UTF-8'
  Warning[:deprecated] = true
  Thread.abort_on_exception = true
  Thread.new { sleep }
  Thread.current[:leak] = 1; Thread.current.thread_variable_set(:leak, 1)
  CGI.accept_charset = 'ISO-8859-1'
  GC.disable
  trap('USR1', 'IGNORE'); trap('TERM') { }; Signal.trap('INT', 'IGNORE')
  srand(42)
  $file = File.open(__dir__ + '/leak', 'w'); $file.write('flushed')
  system('true')
  $stdout = StringIO.new
  $stderr = STDOUT
  "x" =~ /x/
  at_exit { exit 3 }
end
__END__
data
`

func TestRubyReusedWorkerIsClean(t *testing.T) {
	script := write(t, "dirt.rb", rubyDirt)
	p := start(t, script, setup{mode: "reuse", env: utf8Ruby})
	p.ready(t)
	assert.Empty(t, p.captured)
	clean := p.ask(t, request{})
	assert.Equal(t, "-", clean.left)
	assert.Contains(t, clean.out, "data", clean.stderr)
	dirty := p.ask(t, request{vars: []string{"QUERY_STRING=dirt"}, args: []string{"a"}, body: "line\nmore"})
	assert.Equal(t, "-", dirty.left)
	assert.Equal(t, 3, dirty.code)
	assert.Equal(t, "", dirty.stderr)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(script), "leak"))
	require.NoError(t, err)
	assert.Equal(t, "flushed", string(text))
	again := p.ask(t, request{})
	assert.Equal(t, clean.pid, again.pid)
	assert.Equal(t, clean.out, again.out)
	assert.Equal(t, "", again.stderr)
	assert.Equal(t, 0, again.code)
}

func TestRubyReusedWorkerThatMergedItsErrorsHasThemAgain(t *testing.T) {
	p := start(t, write(t, "merge.rb", "#!/usr/bin/ruby\n$stderr.reopen($stdout) if ENV['QUERY_STRING'] == 'merge'\nSTDERR.puts 'err'\nputs 'out'\n"), setup{mode: "reuse", env: utf8Ruby})
	p.ready(t)
	merged := p.ask(t, request{vars: []string{"QUERY_STRING=merge"}})
	assert.Equal(t, []string{"out\nerr\n", "", "-"}, []string{merged.out, merged.stderr, merged.left})
	a := p.ask(t, request{})
	assert.Equal(t, merged.pid, a.pid)
	assert.Equal(t, []string{"out\n", "err\n"}, []string{a.out, a.stderr})
}

func TestRubyReusedWorkerHasItsOwnRandomNumbers(t *testing.T) {
	script := write(t, "random.rb", "#!/usr/bin/ruby\nrequire 'securerandom'\nprint [rand, Random.rand, [1, 2, 3].shuffle, SecureRandom.hex, Random.new.rand]\nsrand(42)\n")
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, script, setup{mode: mode, env: utf8Ruby})
		p.ready(t)
		seen := map[string]bool{}
		for range 4 {
			seen[p.ask(t, request{}).out] = true
		}
		assert.Len(t, seen, 4, mode)
	}
}

func TestRubyReusedWorkerSaysWhatItCannotClean(t *testing.T) {
	for left, text := range map[string]string{
		"children":    "fork { sleep 5 }",
		"descriptors": "STDOUT.close",
		"threads":     "Thread.new { loop { begin; sleep; ensure; sleep 1; end } }; Thread.pass; sleep 0.01",
	} {
		t.Run(left, func(t *testing.T) {
			p := start(t, write(t, "left.rb", "#!/usr/bin/ruby\nputs 'seen'; STDOUT.flush\n"+text+"\n"), setup{mode: "reuse", env: utf8Ruby})
			p.ready(t)
			a := p.ask(t, request{})
			assert.Equal(t, "seen\n", a.out, a.stderr)
			assert.Equal(t, left, a.left)
		})
	}
}

func TestRubyScriptWithCapturesIsNotReused(t *testing.T) {
	script := write(t, "captured.rb", "#!/usr/bin/ruby\nEND { puts 'end' }\nx = 'a'\np 'a' =~ /#{x}/o\n")
	p := start(t, script, setup{mode: "reuse", env: utf8Ruby})
	p.outcome(t)
	assert.ElementsMatch(t, []string{"END{}", "/.../o"}, p.captured)
	p = start(t, script, setup{mode: "reuse", env: utf8Ruby, captured: "accept"})
	p.ready(t)
	assert.Empty(t, p.captured)
}
