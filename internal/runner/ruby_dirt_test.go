//go:build linux

package runner

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rubyAllDirt is a script that says all it can see of its process, and then leaves all traces it can.
const rubyAllDirt = `#!/usr/bin/ruby
require 'cgi'
require 'set'
require 'json'
require 'stringio'
class Counter; @@n = 0; @list = []; class << self; attr_reader :list; end; def self.n; @@n; end; def self.n=(v); @@n = v; end; end
seen = {
  'global' => $leak, 'constant' => defined?(LEAK), 'class' => defined?(Leak), 'method' => defined?(leaked), 'variable' => @leak,
  'singleton' => singleton_methods, 'class variable' => Counter.n, 'class state' => Counter.list, 'library constant' => defined?(JSON::LEAK),
  'library state' => CGI.instance_variable_get(:@leak), 'monkey patch' => ''.respond_to?(:leaked_into), 'redefined' => 'abc'.swapcase, 'frozen' => CGI.frozen?,
  'environment' => [ENV['LEAK'], ENV['PATH'].nil?], 'folder' => Dir.pwd == __dir__, 'umask' => File.umask,
  'traps' => %w[USR1 TERM INT EXIT].map { |s| trap(s, 'DEFAULT') }, 'streams' => [$stdin.equal?(STDIN), $stdout.equal?(STDOUT), $stderr.equal?(STDERR), STDOUT.sync, STDIN.binmode?, STDOUT.external_encoding, STDIN.external_encoding, STDIN.lineno],
  'separators' => [$,, $/, $\, $;, $., $_, $~], 'warnings' => [$VERBOSE, $DEBUG, Warning[:deprecated], Warning[:experimental]], 'warn' => Warning.method(:warn).owner.inspect,
  'name' => $0 == __FILE__, 'arguments' => ARGV, 'load path' => $LOAD_PATH.include?('/leak'), 'features' => [$LOADED_FEATURES.include?('/leak.rb'), defined?(OpenStruct)],
  'encodings' => [Encoding.default_external, Encoding.default_internal, CGI.accept_charset], 'threads' => [Thread.list.size, Thread.abort_on_exception, Thread.report_on_exception, Thread.current[:leak], Thread.current.thread_variable_get(:leak)],
  'collector' => [GC.disable, GC.enable, GC.stress], 'descriptors' => Dir.children('/proc/self/fd').size, 'limits' => Process.getrlimit(:CORE)[0] == Process.getrlimit(:CORE)[1],
  'data' => DATA.read, 'body' => STDIN.read, 'children' => (Process.wait(-1, Process::WNOHANG) rescue $!.class), 'status' => $?, 'error' => $!, 'local' => TOPLEVEL_BINDING.local_variables.include?(:leaked_local),
  'object space' => ObjectSpace.each_object(Class).count { |c| c.name == 'Leak' }, 'ancestors' => Object.include?(Comparable), 'priority' => Process.getpriority(Process::PRIO_PROCESS, 0), 'session' => Process.getsid == $$,
}
seen.each { |k, v| puts "#{k}: #{v.inspect}" }
if ENV['QUERY_STRING'] == 'dirt'
  $leak = 1; LEAK = 1; class Leak; end; def leaked; end; def self.single; end; @leak = 1
  Counter.n = 5; Counter.list << 1; JSON::LEAK = 1; CGI.instance_variable_set(:@leak, 1)
  class String; def leaked_into; end; def swapcase; 'leak'; end; end
  class Object; include Comparable; end
  CGI.freeze
  ENV['LEAK'] = '1'; ENV.delete('PATH'); Dir.chdir('/'); File.umask(0)
  trap('USR1', 'IGNORE'); trap('TERM') { }; trap('INT', 'IGNORE'); trap('EXIT') { }
  STDOUT.sync = true; STDIN.binmode; STDOUT.set_encoding('ISO-8859-1')
  $VERBOSE = nil; $DEBUG = false; Warning[:deprecated] = true; Warning[:experimental] = false
  def Warning.warn(*) = nil
  $, = 'x'; $/ = 'y'; $\ = 'z'; $; = 'a'; "x" =~ /x/
  $0 = 'leak'; ARGV << 'leak'; $LOAD_PATH.unshift('/leak'); $LOADED_FEATURES << '/leak.rb'; require 'ostruct'
  Encoding.default_external = 'ISO-8859-1'; Encoding.default_internal = 'UTF-8'; CGI.accept_charset = 'ISO-8859-1'
  Thread.abort_on_exception = true; Thread.report_on_exception = false; Thread.new { sleep }; Thread.current[:leak] = 1; Thread.current.thread_variable_set(:leak, 1)
  GC.disable; srand(42); Process.setrlimit(:CORE, 0)
  $file = File.open(__dir__ + '/leak', 'w'); system('true'); TOPLEVEL_BINDING.local_variable_set(:leaked_local, 'secret')
  Process.setpriority(Process::PRIO_PROCESS, 0, 5)
  $stdout = StringIO.new; $stderr = STDOUT
  at_exit { exit 3 }
end
__END__
data
`

func TestRubyDirtOfOneRequestIsNotSeenByTheNext(t *testing.T) {
	// What docs/reuse-ruby.md says is not put back.
	stays := map[string]string{"library constant": `"constant"`, "library state": "1", "monkey patch": "true", "redefined": `"leak"`, "frozen": "true", "warn": "#<Class:Warning>",
		"features": `[true, "constant"]`, "status": "Process::Status", "local": "true", "object space": "", "ancestors": "true", "priority": "5", "limits": "true"}
	for _, mode := range []string{"warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			script := write(t, "dirt.rb", rubyAllDirt)
			want := plain(t, script, request{}, utf8Ruby...)
			assert.Empty(t, want.stderr)
			p := start(t, script, setup{mode: mode, env: utf8Ruby})
			p.ready(t)
			assert.Equal(t, withoutDescriptors(want.out), withoutDescriptors(p.ask(t, request{}).out))
			dirty := p.ask(t, request{vars: []string{"QUERY_STRING=dirt"}, args: []string{"a"}, body: "line\nmore"})
			assert.Equal(t, 3, dirty.code, dirty.stderr)
			got := strings.Split(withoutDescriptors(p.ask(t, request{}).out), "\n")
			for i, line := range strings.Split(withoutDescriptors(want.out), "\n") {
				name, _, _ := strings.Cut(line, ": ")
				require.Less(t, i, len(got))
				if left, ok := stays[name]; ok && mode == "reuse" {
					assert.Contains(t, got[i], left)
				} else {
					assert.Equal(t, line, got[i])
				}
			}
		})
	}
}

// withoutDescriptors takes away the number of descriptors: a worker has one to the gateway.
func withoutDescriptors(text string) string {
	at := strings.Index(text, "descriptors: ")
	if at < 0 {
		return text
	}
	return text[:at] + text[at+strings.Index(text[at:], "\n")+1:]
}

func TestRubyNamesAndNumbersDifferBetweenRequests(t *testing.T) {
	script := write(t, "random.rb", `#!/usr/bin/ruby
require 'securerandom'
require 'tempfile'
require 'tmpdir'
puts rand, Random.rand, Random.new.rand, Random.new_seed, [*1..20].shuffle.inspect, [*1..1000].sample(3).inspect, SecureRandom.hex, SecureRandom.uuid, Random.urandom(8).inspect, Random.bytes(8).inspect
puts Tempfile.new('x').path, Dir.mktmpdir { |d| d }, Tempfile.create('y').path, Dir::Tmpname.create('z') { |n| n }
`)
	tmp := t.TempDir()
	for _, mode := range []string{"warm", "reuse"} {
		p := start(t, script, setup{mode: mode, env: append([]string{"TMPDIR=" + tmp}, utf8Ruby...)})
		p.ready(t)
		var seen [14]map[string]bool
		for range 4 {
			a := p.ask(t, request{})
			lines := strings.Split(strings.TrimSuffix(a.out, "\n"), "\n")
			require.Len(t, lines, len(seen), a.out+a.stderr)
			for i, l := range lines {
				if seen[i] == nil {
					seen[i] = map[string]bool{}
				}
				seen[i][l] = true
			}
		}
		for i := range seen {
			assert.Len(t, seen[i], 4, "line %d in mode %s: %v", i, mode, seen[i])
		}
	}
}

func TestRubyWarmParentCollectsItsGarbage(t *testing.T) {
	p := warmRuby(t, write(t, "s.rb", "#!/usr/bin/ruby\nputs GC.stat(:heap_live_slots), GC.stat(:heap_free_slots)\n"), setup{env: utf8Ruby})
	size := func() (live, free int) {
		lines := strings.Split(p.ask(t, request{}).out, "\n")
		require.Len(t, lines, 3)
		return atoi(lines[0]), atoi(lines[1])
	}
	live, free := size()
	assert.Greater(t, free, 5000, "room that a worker needs not collect garbage for")
	for range 210 {
		w := p.worker(t)
		w.req.Close()
		w.err.Close()
		p.wait(t, "exit", func() bool { _, gone := p.exits[w.pid]; return gone })
	}
	after, free := size()
	assert.Less(t, after, live+live/5)
	assert.Greater(t, free, 5000)
}

func TestRubySwitchesOfTheInterpreterLine(t *testing.T) {
	for _, line := range []string{"/usr/bin/ruby -w", "/usr/bin/ruby -W0", "/usr/bin/ruby -W2", "/usr/bin/ruby -Ilib", "/usr/bin/ruby -I lib", "/usr/bin/ruby -rnear", "/usr/bin/ruby -U", "/usr/bin/ruby -Ku",
		"/usr/bin/ruby -Ks", "/usr/bin/ruby -Eeuc-jp", "/usr/bin/ruby -Eascii:utf-8", "/usr/bin/env ruby", "/usr/bin/env -S ruby -w -Ilib"} {
		t.Run(line, func(t *testing.T) {
			script := write(t, "s w é.rb", "#!"+line+"\nSTDOUT.set_encoding(nil, nil)\np $VERBOSE, __ENCODING__, Encoding.default_external, Encoding.default_internal, $LOAD_PATH.grep(/lib$/).map { |d| d.sub(__dir__, '.') }, defined?(NEAR), STDIN.read.encoding, ARGV, $0 == __FILE__, File.basename($0)\nx = 1\ndef x; end\ndef x; end\np File.read('/proc/self/comm')\n")
			env := append([]string{"RUBYLIB=" + strings.TrimSuffix(besideRuby(t, script, "rubylib/near.rb", "NEAR = 1\n"), "/near.rb")}, utf8Ruby...)
			for _, mode := range []string{"warm", "reuse"} {
				r := request{body: "x", args: []string{"a b"}}
				want := plain(t, script, r, env...)
				p := warmRuby(t, script, setup{mode: mode, env: env})
				got := p.ask(t, r)
				assert.Equal(t, want.out, got.out)
				assert.Equal(t, want.stderr, got.stderr)
			}
		})
	}
}

func TestRubyOptionsOfTheEnvironment(t *testing.T) {
	for _, option := range []string{"-w", "-rset -W0", "-Eeuc-jp", "--disable=gems", "--disable-did_you_mean", "--yjit", "-rnear", "--enable=frozen-string-literal"} {
		t.Run(option, func(t *testing.T) {
			script := write(t, "s.rb", "#!/usr/bin/ruby\nrequire 'json'\np $VERBOSE, defined?(Gem), defined?(Set), defined?(NEAR), defined?(DidYouMean), Encoding.default_external, ENV['RUBYOPT'], 'a'.frozen?, JSON.generate([1]), `ruby -e 'p $VERBOSE'`\nat_exit { puts 'end' }\n")
			lib := strings.TrimSuffix(besideRuby(t, script, "rubylib/near.rb", "NEAR = 1\nat_exit { puts 'near' }\n"), "/near.rb")
			sameRuby(t, script, request{}, setup{env: append([]string{"RUBYOPT=" + option, "RUBYLIB=" + lib}, utf8Ruby...)})
		})
	}
}

func TestRubyScriptsWithOtherLineEnds(t *testing.T) {
	for name, text := range map[string]string{
		"CRLF":               "#!/usr/bin/ruby\nputs 'a', __LINE__\r\nx = <<E\r\nhere\r\nE\r\np x, DATA.read\r\n__END__\r\nd\r\n",
		"Shift_JIS":          "#!/usr/bin/ruby\n# coding: Shift_JIS\nx = \"\x83\\\"\np x.encoding, x.valid_encoding?, __ENCODING__\nputs x.encode('UTF-8')\nraise x\n",
		"EUC-JP":             "#!/usr/bin/ruby\n# -*- coding: euc-jp -*-\nx = '\xa4\xa2'\np x.encoding, x.size, DATA.read.bytes\nprint x\n__END__\n\xa4\xa2",
		"no end of line":     "#!/usr/bin/ruby\nprint 'x'",
		"a return at once":   "#!/usr/bin/ruby\nreturn\nputs 1\n",
		"frozen literals":    "#!/usr/bin/ruby\n# frozen_string_literal: true\nX = 'a'\np X.frozen?, 'b'.frozen?, \"#{X}\".frozen?\n'c' << 'd'\n",
		"a broken data line": "#!/usr/bin/ruby\nDATA.each_line { |l| p l, DATA.lineno }\n__END__\none\xff\ntwo",
	} {
		t.Run(name, func(t *testing.T) {
			script := write(t, "s.rb", text)
			sameRuby(t, script, request{}, setup{env: utf8Ruby})
		})
	}
}
