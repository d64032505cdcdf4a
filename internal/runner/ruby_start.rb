# The first start of the interpreter: it only becomes the second one. -r wants a file with a name that ends in .rb. It is
# made beside the script's socket, in a folder that the gateway removes in any case; elsewhere if that can't be written to:
# own is where a script in a sandbox can write, if nowhere else.
# The runner removes it as soon as it runs.
def order(control)
  size = +''
  until (c = control.sysread(1)) == ':'
    size << c
  end
  data = ''.b
  data << control.sysread(size.to_i - data.bytesize) while data.bytesize < size.to_i
  control.sysread(1)
  data
end

def start(folder, text)
  file = "#{folder}/warmcgi-#{Process.pid}-#{Random.new_seed.to_s(36)}.rb"
  File.open(file, File::WRONLY | File::CREAT | File::EXCL, 0600) { |f| f.write(text) }
  command = File.binread('/proc/self/cmdline').split("\0")
  program = command.shift
  command.pop
  exec([File.readlink('/proc/self/exe'), program], *command, '-r', file, SCRIPT, 3 => 3, close_others: true)
rescue SystemCallError => e
  File.unlink(file) if File.exist?(file)
  e
end

control = IO.for_fd(3)
data = order(control)
name = File.binread('/proc/self/comm').chomp
text = "# -*- coding: binary -*-\nORDER = [#{data.dump}, #{name.dump}]\n#{DATA.read}"
IO.for_fd(4).close
socket = data[/(?:\A|\0)socket\0([^\0]*)\0/n, 1]
folders = [*(socket && [File.dirname(socket), "#{File.dirname(socket)}/own"]), ENV['TMPDIR'], '/dev/shm', '/tmp', '/var/tmp']
errors = folders.compact.map { |folder| start(folder, text) }
control.syswrite("failed no%20folder%20for%20the%20runner:%20#{errors.last.class}\n")
exit!(1)
