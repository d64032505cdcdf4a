//go:build linux

package runner

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRubyScriptBeginsInTheWarmParent(t *testing.T) {
	script := write(t, "s.rb", `#!/usr/bin/ruby
$LOAD_PATH.unshift File.join(File.dirname(__FILE__), 'lib')
ENV['MODE'] ||= 'production'
$stdout.sync = true
begin
  require 'no/such/library'
rescue LoadError
  MISSING = true
end
class Page
  attr_reader :title
  TITLES = %w[a b].map(&:upcase).freeze
  def initialize(title); @title = title; end
end
require 'deep'
require_relative 'near'
page = Page.new(Page::TITLES.first)
p page.title, MISSING, DEEP, NEAR, ENV['MODE'], $LOADED_FEATURES.grep(/deep|near|json/).map { |f| File.basename(f) }, $0 == __FILE__, caller
`)
	besideRuby(t, script, "lib/deep.rb", "require 'json'\nDEEP = [__FILE__ == $0, ENV['MODE'], caller.last]\n")
	besideRuby(t, script, "near.rb", "NEAR = caller(0)\n")
	a := sameRuby(t, script, request{}, setup{env: utf8Ruby})
	assert.NotContains(t, strings.Join(a.late, "\n"), "/json")
	sameRuby(t, script, request{}, setup{env: append([]string{"MODE=test"}, utf8Ruby...)})
}

func TestRubyWorkersGoOnWhereTheScriptBeginsToMatter(t *testing.T) {
	// What is asked for while the files are loaded is asked for by each request.
	for name, text := range map[string]string{
		"the time":     "VALUE = Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)",
		"a file":       "VALUE = File.read(__dir__ + '/config')",
		"a program":    "VALUE = `cat config; date +%N`",
		"random":       "VALUE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].shuffle + [rand]",
		"the process":  "VALUE = $$",
		"a method":     "def value; Time.now.to_f; end; VALUE = value",
		"a library":    "require 'securerandom'; VALUE = SecureRandom.hex",
		"in a library": "require 'tempfile'; VALUE = Tempfile.new('x').path",
		"an object":    "class C; def initialize; @at = Time.now.to_f; end; attr_reader :at; end; VALUE = C.new.at",
		"by a block":   "VALUE = [1].map { |x| Time.now.to_f }",
		"by send":      "VALUE = Time.send(:now).to_f",
	} {
		t.Run(name, func(t *testing.T) {
			script := write(t, "s.rb", "#!/usr/bin/ruby\nrequire_relative 'near'\np VALUE\n")
			besideRuby(t, script, "near.rb", text+"\n")
			p := warmRuby(t, script, setup{env: utf8Ruby})
			seen := map[string]bool{}
			for i := range 3 {
				besideRuby(t, script, "config", strconv.Itoa(i))
				a := p.ask(t, request{})
				assert.Empty(t, a.stderr)
				seen[a.out] = true
				time.Sleep(time.Millisecond)
			}
			assert.Len(t, seen, 3)
			assert.Contains(t, p.files, filepath.Join(filepath.Dir(script), "near.rb"), "it was not loaded to its end")
		})
	}
}

func TestRubyRequestThatLoadsOtherwiseGetsAProcessOfItsOwn(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby -W1\nrequire_relative 'near'\nputs LEVEL, ARGV.inspect, STDIN.read, Process.getpgrp == $$\n")
	besideRuby(t, script, "near.rb", "LEVEL = ENV['LEVEL'] || 'none'\n")
	p := warmRuby(t, script, setup{env: utf8Ruby})
	a := p.ask(t, request{})
	assert.Equal(t, "none\n[]\n\ntrue\n", a.out)
	assert.True(t, a.done)
	r := request{vars: []string{"LEVEL=7"}, body: "body", args: []string{"one two"}}
	want := plain(t, script, r, utf8Ruby...)
	a = p.ask(t, r)
	assert.Equal(t, want.out, a.out)
	assert.Equal(t, "7\n[\"one two\"]\nbody\ntrue\n", a.out)
	assert.Empty(t, a.stderr)
	assert.False(t, a.done, "it was executed")
	assert.Equal(t, 0, a.status.ExitStatus())
}

func TestRubyLibrarySeesTheScriptThatRequiresIt(t *testing.T) {
	// As Sinatra does, to find its views.
	script := write(t, "s.rb", `#!/usr/bin/ruby
require 'rubygems'
require 'who'
p WHO
`)
	lib := filepath.Join(filepath.Dir(script), "gems")
	besideRuby(t, script, "gems/who.rb", "WHO = caller.grep_v(/internal:|rubygems/) + [caller.size, $0, caller_locations.last.label]\n")
	sameRuby(t, script, request{}, setup{env: append([]string{"RUBYLIB=" + lib}, utf8Ruby...)})
}

func TestRubyWarningsOfLoadingComeWithEachRequest(t *testing.T) {
	script := write(t, "s.rb", `#!/usr/bin/ruby -w
$LOAD_PATH.unshift(__dir__)
require 'near'
LOG.warn "from the script"
ERRORS.puts "to its errors"
$stderr.puts $stderr.equal?(STDERR), $stderr.class
`)
	besideRuby(t, script, "near.rb", "require 'logger'\nx = 1\nwarn 'loaded'\nERRORS = $stderr\nLOG = Logger.new($stderr, formatter: ->(*a) { a.last + \"\\n\" })\n")
	a := sameRuby(t, script, request{}, setup{env: utf8Ruby})
	assert.Contains(t, a.stderr, "unused variable")
	assert.Contains(t, a.stderr, "loaded\n")
	assert.Contains(t, a.stderr, "from the script\n")
}

func TestRubyScriptFailsInItsBeginning(t *testing.T) {
	for name, text := range map[string]string{
		"by a missing library":  "require 'no/such/library'",
		"by a missing file":     "require_relative 'no/such/file'",
		"by an error":           "x = 1 / 0",
		"by a missing constant": "class X < Missing; end",
		"by raise":              "raise ArgumentError",
		"in a file":             "require_relative 'near'",
		"behind its at_exit":    "at_exit { puts \"at exit #{$!.class}\" }\nx = 1 / 0",
		"too deep":              "def f(n); f(n + 1); end\nf(0)",
	} {
		t.Run(name, func(t *testing.T) {
			script := write(t, "s.rb", "#!/usr/bin/ruby\n"+text+"\n")
			besideRuby(t, script, "near.rb", "module Near\n  X = Integer('x')\nend\n")
			sameRuby(t, script, request{}, setup{env: utf8Ruby})
		})
	}
}

func TestRubyEndlessBeginningIsLeftAlone(t *testing.T) {
	// A beginning that only computes is run once; one of many calls goes on in the workers.
	script := write(t, "s.rb", "#!/usr/bin/ruby\nn = 0\n20000.times { |i| n += i.to_s.size }\ndef fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)\nputs n, fib(18)\n")
	sameRuby(t, script, request{}, setup{env: utf8Ruby})
}

func TestRubyRunnersFileIsGone(t *testing.T) {
	for name, env := range map[string][]string{
		"when it is loaded":        {},
		"when loading fails":       {"RUBYOPT=-rno/such/library"},
		"without a folder for any": {"TMPDIR=/no/such/folder"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, write(t, "s.rb", "#!/usr/bin/ruby\nputs 1\n"), setup{env: append(env, utf8Ruby...)})
			p.outcome(t)
			if p.isReady {
				left, err := filepath.Glob(filepath.Join(filepath.Dir(p.ln.Addr().String()), "*.rb"))
				require.NoError(t, err)
				assert.Empty(t, left)
			}
			for _, folder := range []string{"/dev/shm", "/tmp", "/var/tmp"} {
				left, err := filepath.Glob(filepath.Join(folder, "warmcgi-"+strconv.Itoa(p.cmd.Process.Pid)+"-*.rb"))
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}

func TestRubyHooksOfTheScriptRunForEachRequest(t *testing.T) {
	for name, text := range map[string]string{
		"inherited":       "class A; def self.inherited(c); puts \"inherited #{c}\"; super; end; end\nclass B < A; end",
		"included":        "module M\n  def self.included(c)\n    puts \"included #{c}\"\n  end\nend\nclass A\n  include M\nend",
		"method_added":    "class A\n  class << self\n    def method_added(n) = puts(n)\n  end\n  def x; end\nend",
		"const_missing":   "class Module; def const_missing(n) = puts(n); end\nX = Unknown",
		"a core method":   "class Array; def map; puts 'mine'; []; end; end\nX = [1].map { |x| x }",
		"require":         "def require(x) = puts(x)\nrequire 'set'",
		"another name":    "out = $stdout\nout << \"text\\n\"",
		"another binding": "e = ENV\nputs e['QUERY_STRING']",
		"a block":         "X = [1].map { |x| puts x; x }",
		"a method":        "def self.each = puts('x')\neach",
		"lambda":          "f = ->(x) { puts x }\n[1].each(&f)\nX = 1",
		"to_s":            "class A; def to_s = (puts('to_s'); 's'); end\nX = \"#{A.new}\"",
		"a condition":     "X = 1 if File.exist?('/etc/passwd')\nputs X",
		"an ensure":       "begin\n  X = 1\nensure\n  puts X\nend",
		"a loop":          "i = 0\nwhile i < 3\n  i += 1\n  puts i\nend",
		"BEGIN":           "puts 2\nBEGIN { puts 1 }",
		"at exit":         "at_exit { puts 'end' }\nEND { puts 'END' }\nX = 1",
	} {
		t.Run(name, func(t *testing.T) {
			script := write(t, "s.rb", "#!/usr/bin/ruby\n"+text+"\n")
			p := warmRuby(t, script, setup{env: utf8Ruby})
			assert.Empty(t, p.written(), "the warm parent ran it")
			sameRuby(t, script, request{vars: []string{"QUERY_STRING=a=b"}}, setup{env: utf8Ruby})
		})
	}
}

func TestRubyLibraryThatAsksForItsCallersIsNotLoadedAhead(t *testing.T) {
	script := write(t, "s.rb", "#!/usr/bin/ruby\nputs 'x'\nrequire 'who'\np WHO, method(:caller), Kernel.instance_method(:caller_locations), defined?(JSON)\n")
	who := besideRuby(t, script, "site/who.rb", "require 'json'\nWHO = caller.size\n")
	env := append([]string{"RUBYLIB=" + filepath.Dir(who), "GEM_PATH=" + filepath.Dir(script)}, utf8Ruby...)
	p := warmRuby(t, script, setup{env: env})
	a := p.ask(t, request{})
	assert.Contains(t, strings.Join(a.late, "\n"), "/json.rb")
	// Files of a gem are loaded ahead, but not of this kind.
	gem := besideRuby(t, script, "gems/who-1/lib/who.rb", "WHO = caller.size\n")
	asks := start(t, script, setup{env: env, late: []string{gem + "=" + gem}})
	asks.ready(t)
	assert.Equal(t, []string{"asks for its callers while it is loaded"}, asks.unsafe)
	fails := start(t, script, setup{env: env, late: []string{"x=" + besideRuby(t, script, "gems/bad-1/lib/bad.rb", "raise 'bad'\n")}})
	fails.ready(t)
	assert.Equal(t, []string{"can't be loaded ahead: RuntimeError: bad"}, fails.unsafe)
	next := warmRuby(t, script, setup{env: env, late: a.late})
	b := next.ask(t, request{})
	want := plain(t, script, request{}, env...)
	assert.Equal(t, want.out, b.out)
}
