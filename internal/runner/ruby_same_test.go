//go:build linux

package runner

import (
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// sameRuby has a script answer a request as plain CGI and in mode warm, and compares all that can be seen.
func sameRuby(t *testing.T, script string, r request, s setup) answer {
	t.Helper()
	want := plain(t, script, r, s.env...)
	p := warmRuby(t, script, s)
	var got answer
	for range 2 { // the first must not spoil the second
		got = p.ask(t, r)
		assert.Equal(t, steadyRuby(want.out), steadyRuby(got.out))
		assert.Equal(t, steadyRuby(want.stderr), steadyRuby(got.stderr))
		assert.Equal(t, want.status, got.status)
		if got.done {
			assert.Equal(t, want.status.ExitStatus(), got.code)
		}
	}
	return got
}

var variesRuby = regexp.MustCompile(`0x[0-9a-f]+|\d\d:\d\d:\d\d`)

// steadyRuby is a text without addresses of objects and times of the day.
func steadyRuby(text string) string { return variesRuby.ReplaceAllString(text, "…") }

// warmRuby starts a warm parent that can be forked.
func warmRuby(t *testing.T, script string, s setup) *parent {
	t.Helper()
	p := start(t, script, s)
	t.Cleanup(func() { p.cmd.Process.Signal(syscall.SIGTERM) })
	p.ready(t)
	assert.Empty(t, p.unsafe)
	assert.Empty(t, p.stderr())
	return p
}

// rubySame are scripts that must not be able to tell plain CGI from mode warm.
var rubySame = []struct {
	name, text string
	r          request
	not        bool   // it does not come to say done
	switches   string // of the #! line
	ascii      bool   // not in a UTF-8 locale
	alone      bool   // tells reuse from plain, see docs/reuse-ruby.md
}{
	{name: "prints its variables", text: `
print "Content-Type: text/plain\r\n\r\n"
ENV.sort.each { |k, v| puts "#{k}=#{v.inspect} #{v.encoding} #{v.valid_encoding?} #{v.frozen?}" }
p ENV['HTTP_X'].bytes, ENV.to_h.size, ENV.fetch('EMPTY'), ENV['NONE']`, r: request{vars: []string{"HTTP_X=\xff\xfe", "QUERY_STRING=a=1", "EMPTY=", "UTF=\u00e9"}}},
	{name: "has its programs get its variables", text: `
puts IO.popen('env', &:read).lines.sort
puts ` + "`echo $QUERY_STRING; ls /proc/self/fd | grep -c '^[0-9]$'`", r: request{vars: []string{"QUERY_STRING=b=\xe9"}}},
	{name: "is the main program", alone: true, text: `
p __FILE__, $0, $PROGRAM_NAME, __FILE__ == $0, __dir__, __LINE__, __method__, self, self.class, ARGV, Dir.pwd
p caller, caller(0), caller_locations(0).map { |l| [l.path, l.absolute_path, l.lineno, l.label, l.base_label] }
m = File.umask; p m
p $LOAD_PATH, $VERBOSE, $DEBUG, $;, $,, $/, $\, $., $!, $@, $~, $?, $_, $-w, $-i, $-l, $-p, $-a, $<, $FILENAME
p global_variables.sort, local_variables, TOPLEVEL_BINDING.local_variables, binding.local_variables, TOPLEVEL_BINDING.receiver
p Process.getpgrp == $$, Thread.list.size, Thread.current == Thread.main, Thread.current.name
p Signal.trap('INT', 'DEFAULT'), Signal.trap('TERM', 'DEFAULT'), Signal.trap('CHLD', 'DEFAULT'), Signal.trap('PIPE', 'DEFAULT')
p self.private_methods(false).sort, Object.constants.sort - [:WarmCGI], Module.nesting, Object.private_instance_methods(false)
p RUBY_VERSION, $LOADED_FEATURES.grep(/warm/), ObjectSpace.each_object(Class).grep(/Warm/)
p GC.disable, GC.stress, GC.enable
p Encoding.default_external, Encoding.default_internal, Encoding.find('locale'), Encoding.find('filesystem'), __ENCODING__
puts File.read('/proc/self/status').lines.grep(/^Sig(Blk|Ign)/)
p ObjectSpace.method(:define_finalizer).owner, ENV.singleton_methods.size, ENV.method(:[]).owner.inspect, ENV.method(:each).arity`, r: request{args: []string{"one", "t\xe9o"}}},
	{name: "is in no UTF-8 locale", ascii: true, text: `
p Encoding.default_external, Encoding.find('locale'), ENV['X'], ENV['X'].encoding, ARGV.map(&:encoding), ARGV.map(&:frozen?), ARGV, STDIN.read, "é".encoding`,
		r: request{vars: []string{"X=\xc3\xa9"}, args: []string{"t\xe9o"}, body: "\xc3\xa9"}},
	{name: "has local variables at its top", alone: true, text: `
require 'erb'
x = 1
y = TOPLEVEL_BINDING.local_variable_get(:x)
p y, binding.local_variable_defined?(:y), TOPLEVEL_BINDING.local_variables
puts ERB.new("<%= x + 1 %>").result
def f; binding; end
p eval('x', TOPLEVEL_BINDING), f.local_variables, eval('__FILE__'), eval('__LINE__')
@i = 5
p instance_variables, TOPLEVEL_BINDING.eval('@i')
def (f2 = self).g; 7; end
p g, Object.private_method_defined?(:f)`},
	{name: "has magic comments", text: `# frozen_string_literal: true
# warn_indent: true
p "a".frozen?, __ENCODING__
begin; "a" << "b"; rescue => e; p e.class, e.message; end`},
	{name: "is written in Latin 1", text: "# encoding: iso-8859-1\np \"\xe9\", \"\xe9\".encoding, __ENCODING__\nprint \"\xe9\".encode('UTF-8')"},
	{name: "has data behind its end", text: `
p DATA.class, DATA.path == __FILE__, DATA.lineno, DATA.gets, DATA.read, DATA.eof?, DATA.external_encoding, DATA.fileno > 2
DATA.rewind; puts DATA.read
p DATA.close_on_exec?, DATA.sync, DATA.binmode?
__END__
one é
two
`},
	{name: "has no data", text: `
p defined?(DATA)`},
	{name: "has blocks at its begin and end", alone: true, text: `
puts "middle"
END { puts "end 1" }
BEGIN { puts "begin #{__FILE__ == $0}"; b = 3 }
at_exit { puts "at_exit 2 #{b}"; at_exit { puts "nested" } }
END { $stderr.puts "first" }`},
	{name: "returns at its top", text: `
puts "seen"
return if true
puts "not seen"`},
	{name: "is empty", text: ``},
	{name: "calls nothing", text: `
x = 1
y = x + 1
$g = "#{x}"`},
	{name: "calls nothing but fails", text: `
x = nil
def f; end
raise "x"`},
	{name: "looks at its arguments at once", text: `
first = ARGV[0]
none = ARGV.empty? ? 1 : 2
puts first, none, ARGV.size`, r: request{args: []string{"a"}}},
	{name: "looks at its pid at once", text: `
mine = $$
puts mine == Process.pid`},
	{name: "begins late", text: `
i = 0
i += 1 while i < 100000
module M; X = 1; end
$stdout = STDERR
puts i`},
	{name: "exits with 3", text: `
puts "before"
begin; exit 3; ensure; puts "ensured"; end`},
	{name: "exits in a block of at_exit", text: `
at_exit { puts "last"; exit 5 }
at_exit { p $!; raise "in at_exit" }
puts "before"; exit 4`},
	{name: "exits by false", text: `exit false`},
	{name: "aborts with text", text: `
puts "before"
at_exit { puts "after" }
abort "why é"`},
	{name: "leaves by exit!", not: true, text: `
at_exit { puts "never" }
print "lost"; STDOUT.syswrite("kept\n") rescue p $!; exit! 4`},
	{name: "fails before its output", text: `
def f(x) = x / 0
f(1)`},
	{name: "fails after its output", text: `
puts "Content-Type: text/plain\n\nbegun"
at_exit { puts "at_exit #{$!.inspect}" }
class E < StandardError; def message; "two\nlines"; end; end
begin
  {}.fetch(:x)
rescue KeyError
  raise E
end`},
	{name: "fails with an odd name", text: `
puts "x"
fooo = 1
p foo`},
	{name: "fails by a missing file", text: `
require 'no/such/file'`},
	{name: "fails with no message", text: `raise ""`},
	{name: "fails by throw", text: `throw :x`},
	{name: "fails by a deep stack", alone: true, text: `
def f(n) = f(n + 1)
begin; f(0); rescue SystemStackError => e; p e.message, e.backtrace.last; end`},
	{name: "writes to standard error", text: `
$stderr.puts "one"; STDERR.print "two\n"; warn "three"; $stderr.syswrite("four\n"); STDERR.write("five")
p $stderr.sync, STDERR.fileno`},
	{name: "warns", switches: " -w", text: `
def f; end
def f; end
x = 1
p(@nothing)
warn "w", uplevel: 0
puts $VERBOSE.inspect, Warning[:deprecated]`},
	{name: "warns of deprecated things", switches: " -W:deprecated", text: `
p Warning[:deprecated], $VERBOSE
$, = "-"
print 1, 2`},
	{name: "has an encoding switch", switches: " -EISO-8859-1:UTF-8", text: `
p Encoding.default_external, Encoding.default_internal, STDIN.external_encoding, STDIN.read, ENV['X'].encoding`, r: request{body: "\xe9", vars: []string{"X=y"}}},
	{name: "requires by a switch", switches: " -rset", text: `
p Set[1], $LOADED_FEATURES.grep(/set.rb/).size`},
	{name: "is interrupted", not: true, text: `
puts "before"; $stdout.flush
at_exit { puts "at_exit #{$!.class}" }
Process.kill(:INT, $$); sleep 30`},
	{name: "gets a TERM", not: true, text: `
puts "before"
begin; Process.kill(:TERM, $$); sleep 30; ensure; puts "ensured"; end`},
	{name: "kills itself", not: true, text: `
puts "lost"; Process.kill(:KILL, $$); sleep`},
	{name: "raises a signal", not: true, text: `
puts "seen"
raise SignalException, 'HUP'`},
	{name: "raises Interrupt", not: true, text: `
puts "seen"
raise Interrupt, 'me'`},
	{name: "traps signals", text: `
p trap('TERM') { puts "term" }, trap('CHLD') { puts "child" }, trap('USR1', 'IGNORE'), trap('EXIT') { puts "exit trap" }
Process.kill(:TERM, $$)
sleep 0.05
system('true'); sleep 0.05
p trap('USR1', 'DEFAULT')`},
	{name: "has a timeout", text: `
require 'timeout'
begin; Timeout.timeout(0.1) { sleep 30 }; rescue Timeout::Error => e; p e.message; end`},
	{name: "registers a finalizer", alone: true, text: `
o = Object.new
def fin(n) = proc { puts "gone #{n}" }
ObjectSpace.define_finalizer(o, fin(1))
O2 = Object.new
ObjectSpace.define_finalizer(O2, fin(2))
at_exit { puts "at_exit" }
puts "end"`},
	{name: "leaves files open", text: `
require 'tmpdir'
name = File.join(Dir.mktmpdir, "f")
f = File.open(name, "w"); f.write("text")
$g = File.open(name + "2", "w"); $g.write("two")
File.write("names", name)
if fork.nil?
  at_exit { File.write(name + "3", $!.inspect) }
  exit 5
end
Process.wait
p $?.exitstatus, File.read(name), File.read(name + "3")`},
	{name: "removes its temporary files", text: `
require 'tempfile'
require 'fileutils'
f = Tempfile.new('x'); f.write("x")
g = Tempfile.create('y')
File.write("names", f.path)
at_exit { p File.exist?(f.path) }
puts f.path.include?($$.to_s)`},
	{name: "ends with threads", text: `
t = Thread.new { begin; sleep; ensure; puts "ensured"; end }
u = Thread.new { Thread.pass; 7 }
p u.value
Thread.pass until t.status == "sleep"
puts "end"`},
	{name: "has a thread that fails", text: `
t = Thread.new { raise "in thread" }
begin; t.join; rescue => e; p e.message; end
Thread.abort_on_exception = true
Thread.new { raise "all" }
sleep 1`},
	{name: "becomes another program", not: true, text: `
print "flushed "; $stdout.flush
exec "sh", "-c", "echo $QUERY_STRING; cat; ls /proc/self/fd | grep -c '^[0-9]$'; exit 7"`, r: request{vars: []string{"QUERY_STRING=q"}, body: "body"}},
	{name: "forks", text: `
at_exit { puts "exit #{$me}" }
puts "both"
$stdout.flush
$me = "child"
if fork
  Process.wait; $me = "parent"
end
puts $me`},
	{name: "forks a block", alone: true, text: `
pid = fork { puts "in block"; exit! 3 }
Process.wait pid; p $?.exitstatus
pid = fork { puts "in second"; raise "failed" }
Process.wait pid; p $?.exitstatus
r, w = IO.pipe
fork { r.close; w.puts "piped"; w.close }
w.close; puts r.read; Process.waitall.each { |_, s| p s.exitstatus }`},
	{name: "forks with output in its buffer", text: `
print "once"
Process.wait if fork`},
	{name: "has a child that goes on", text: `
fork { sleep 0.1; STDOUT.syswrite("child\n"); exit! }
puts "parent"`},
	{name: "goes on as a daemon", text: `
puts "answered"; $stdout.flush
fork { Process.setsid; STDIN.close; STDOUT.close; STDERR.close; sleep 0.2 }`},
	{name: "starts programs", text: `
print "first "
system("echo second")
print "third "
puts ` + "`echo fourth`" + `
pid = spawn("echo fifth"); Process.wait pid
system("echo error >&2"); system("exit 3"); p $?.exitstatus
system("ls /proc/self/fd | grep -c '^[0-9]$'"); system("ls -d /proc/self/fd/?", close_others: false)
IO.popen(["tr", "a-z", "A-Z"], "r+") { |io| io.write "up"; io.close_write; puts io.read }
require 'open3'
p Open3.capture2("cat; exit 2", stdin_data: "in").then { |o, s| [o, s.exitstatus] }
p system("no-such-program")`},
	{name: "has a program read the body", text: `
$stdout.sync = true
system("wc -c")
p STDIN.read`, r: request{body: strings.Repeat("0123456789", 30000)}},
	{name: "reads its body", text: `
b = STDIN.binmode.read
p b.size, b[0, 20], b[-20..], b.encoding, STDIN.read, STDIN.read(5), STDIN.gets, STDIN.eof?`, r: request{body: "\xff\x00" + strings.Repeat("0123456789\r\n", 25000)}},
	{name: "reads its body in pieces", text: `
p STDIN.sysread(1), STDIN.read(4), STDIN.gets, STDIN.getc, STDIN.readpartial(3).size
n = 0
while b = $stdin.read(1000); n += b.size; end
p n
begin; STDIN.readpartial(1); rescue EOFError => e; p e.message; end
begin; STDIN.sysread(1); rescue EOFError => e; p e.message; end`, r: request{body: strings.Repeat("0123456789\n", 30000)}},
	{name: "reads its body as lines", text: `
l = gets
p l, l.encoding, $., ARGF.lineno, $<.filename
p STDIN.each_line.count, gets, $stdin.eof?, ARGF.eof? rescue p $!`, r: request{body: strings.Repeat("a line é\r\n", 3000)}},
	{name: "reads ARGF", text: `p ARGF.read.size, ARGF.read, readlines`, r: request{body: strings.Repeat("a line\n", 30000)}},
	{name: "does not read its body", text: `
print "Content-Type: text/plain\n\n" + "x" * 100000`, r: request{body: strings.Repeat("z", 300000)}},
	{name: "has no body", text: `
p STDIN.read, STDIN.gets, STDIN, STDIN.tty?, STDIN.fileno, STDIN.closed?, STDIN.sync, STDIN.stat.ftype, STDIN.lineno`},
	{name: "writes much", text: `
400.times { |i| print "%09d\n" % i * 1000 }
STDOUT.binmode; STDOUT.write("\xff" * 300000)`},
	{name: "mixes ways of writing", text: `
print "a"; $stdout.write("b", 1, :c); STDOUT << "d" << 1; putc "e"; printf("%d", 7); display; $stdout.flush
STDOUT.syswrite("sys\n")
out = STDOUT.dup; out.write("dup\n"); out.close
io = IO.for_fd(1, "w", autoclose: false); io.puts "for_fd"; io.flush
IO.open(1, "w", autoclose: false) { |i| i.puts "opened" }
$stdout.sync = true; print "now\n"; p $stdout.sync
$> << "gt\n"
require 'stringio'
old, $stdout = $stdout, StringIO.new
puts "hidden"; s = $stdout.string; $stdout = old; p s
puts "é".encode("ISO-8859-1").inspect`},
	{name: "has its standard streams", text: `
[STDIN, STDOUT, STDERR].each { |f| p f, f.fileno, f.sync, f.external_encoding, f.internal_encoding, f.binmode?, f.tty?, f.closed?, f.lineno rescue p $!.message }
p $stdin.equal?(STDIN), $stdout.equal?(STDOUT), $stderr.equal?(STDERR), $>.equal?(STDOUT), STDOUT.class, STDERR.class, STDOUT.close_on_exec?
p((STDOUT.read rescue $!.message), (STDIN.write("x") rescue $!.message))`},
	{name: "closes standard output", alone: true, text: `
puts "seen"; STDOUT.close
$stderr.puts "still"
puts "lost" rescue warn $!.class`},
	{name: "closes 0, 1 and 2", alone: true, text: `
puts "seen"; $stdout.flush
STDIN.close; STDOUT.close; STDERR.close`},
	{name: "closes all descriptors it can", not: true, text: `
puts "seen"; $stdout.flush
exec "sh", "-c", "exit 6", in: :close, out: :close, err: :close`},
	{name: "reopens standard output", text: `
puts "one"
$stdout.reopen("f", "w")
puts "two"; system("echo three")
$stdout.flush
STDERR.puts File.read("f")`},
	{name: "merges standard error", text: `
$stderr.reopen($stdout)
puts "out"; $stdout.flush; warn "err"; raise "merged"`},
	{name: "merges standard error with what is in its buffers", text: `
$stderr.reopen($stdout)
STDERR.puts "err"; puts "out"; STDERR.print "more"; puts "end"`},
	{name: "puts a file in the place of descriptor 3", not: true, text: `
STDOUT.sync = true
IO.for_fd(3).close rescue nil
f = File.open("/dev/null", "r+")
fds = 20.times.map { File.open("f", "w") }
puts "x"`},
	{name: "takes a form", text: `
require 'cgi'
cgi = CGI.new
cgi.out("text/plain") { cgi.params.sort.inspect + cgi['a'] + cgi.cookies.inspect + CGI.escapeHTML("<") + cgi.request_method + cgi.remote_addr }`,
		r: request{body: "a=1&b=%C3%A9&a=2", vars: []string{"QUERY_STRING=c=3", "HTTP_COOKIE=k=v"}}},
	{name: "requires late", text: `
$KCODE = 'u' rescue nil
$own = ($own || 0) + 1
require 'cgi'
require 'tempfile'
print CGI.new.header, $own`},
	{name: "takes a query", text: `
require 'cgi'
cgi = CGI.new("html5")
cgi.out("charset" => "UTF-8", "cookie" => CGI::Cookie.new("n", "v")) { cgi.html { cgi.body { cgi['q'] } } }`, r: request{vars: []string{"QUERY_STRING=q=%E2%9C%93"}}},
	{name: "takes an upload", text: `
require 'cgi'
cgi = CGI.new
print cgi.header("type" => "text/plain", "charset" => "utf-8")
f = cgi.params['f'][0]
p f.original_filename, f.read.size, f.class, cgi.params['t'][0].read`, r: request{
		body: "--X\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\ntext\r\n--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n" +
			strings.Repeat("\xff\x00", 50000) + "\r\n--X--\r\n", vars: []string{"CONTENT_TYPE=multipart/form-data; boundary=X"}}},
	{name: "has a session", text: `
require 'cgi'
require 'cgi/session'
require 'tmpdir'
cgi = CGI.new
dir = Dir.mktmpdir
s = CGI::Session.new(cgi, 'tmpdir' => dir, 'new_session' => true)
s['k'] = 'v'
at_exit { p Dir.children(dir).size }
puts "x"`},
	{name: "changes the load path", text: `
require 'fileutils'
FileUtils.mkdir_p("lib")
File.write("lib/set.rb", "WHO = 'mine'"); File.write("lib/ostruct.rb", "WHO2 = 'mine'")
$LOAD_PATH.unshift File.expand_path("lib", __dir__)
require 'ostruct'
require 'json'
p defined?(WHO2), JSON.generate([1]), $LOADED_FEATURES.last.end_with?("/x")`},
	{name: "requires what there is", alone: true, text: `
begin
  require 'no_such_library'
rescue LoadError => e
  p e.message, e.path
end
require 'json' rescue nil
p JSON::VERSION.class, require('json'), require('time'), Time.parse("2020-01-01T00:00:00Z").to_i`},
	{name: "loads its neighbours", alone: true, text: `
Dir.chdir(__dir__)
File.write("n.rb", "def neighbour; __FILE__ == File.expand_path('n.rb') ; end; p caller.size")
require_relative 'n'
p neighbour, require_relative('n'), require('./n'), load('./n.rb')`},
	{name: "uses classes of its own", text: `
class Foo
  CONST = [1]
  @@count = 0
  def self.inherited(c); puts "inherited #{c}"; super; end
  def initialize; @@count += 1; end
  def self.count; @@count; end
end
Bar = Class.new(Foo)
S = Struct.new(:a, :b)
Bar.new
p Foo.count, S.new(1, 2), Marshal.load(Marshal.dump(S.new(3, 4))), Foo::CONST, Object.const_source_location(:Foo)[1]
module Refine; refine String do; def shout; upcase; end; end; end
using Refine
p "x".shout
p method(:puts).owner, Foo.instance_method(:initialize).source_location[1]`},
	{name: "traces", alone: true, text: `
events = []
t = TracePoint.new(:call, :line) { |tp| events << [tp.event, tp.lineno, tp.path == __FILE__] }
def f; 1; end
t.enable { f }
p events.size, TracePoint.stat.class, set_trace_func(nil)
p RubyVM::InstructionSequence.compile("1").eval`},
	{name: "has fibers, ractors and continuations of time", text: `
f = Fiber.new { Fiber.yield 1; 2 }
p f.resume, f.resume, Time.now.year > 2000, Process.clock_gettime(Process::CLOCK_MONOTONIC).class
e = Enumerator.new { |y| y << 1; y << 2 }
p e.next, e.next
p catch(:x) { throw :x, 3 }`},
	{name: "sets its process title", text: `
$0 = "other name"
p $0, __FILE__ == $0, File.read("/proc/self/cmdline").start_with?("other name")`},
	{name: "has no rights to its pipe", text: `
r, w = IO.pipe; r.close
begin; w.write "x"; w.flush; rescue Errno::EPIPE => e; p e.message; end`},
}

func TestRubyScriptCannotTellWarmFromPlain(t *testing.T) {
	for _, c := range rubySame {
		t.Run(c.name, func(t *testing.T) {
			script := write(t, "script.rb", "#!/usr/bin/ruby"+c.switches+"\n"+c.text+"\n")
			env := []string{"PATH=" + os.Getenv("PATH")}
			if !c.ascii {
				env = append(env, "LC_ALL=C.UTF-8")
			}
			a := sameRuby(t, script, c.r, setup{env: env})
			assert.Equal(t, !c.not, a.done)
		})
	}
}
