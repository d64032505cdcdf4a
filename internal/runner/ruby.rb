# The warm parent (docs/worker-protocol.md). Ruby requires this file before it parses the script, which is the main
# program. What forks is a trace point, at the script's first line that matters (ruby_begin.rb). So a worker returns from
# here into a script that runs as it always does.
module WarmCGI
  class << self
    def start(file, order, name)
      File.unlink(file)
      @file = file
      program, *@command = File.binread('/proc/self/cmdline').split("\0")
      @command.slice!(@command.rindex(file) - 1, 2) # -r and this file
      @program = [File.readlink('/proc/self/exe'), program]
      @control = IO.for_fd(3, autoclose: false)
      @control.close_on_exec = true
      st = @control.stat
      @identity = [st.ino, st.dev]
      @parent = Process.pid
      read_order(order)
      name_process(name)
      say('hello', 1, @order['cookie'], 'ruby', RUBY_VERSION)
      fail_with("no system calls known for #{RUBY_PLATFORM}") unless SYS
      at_exit { ended }
      # Of all finalizers the first is called last, when Ruby has done everything else of its end.
      ObjectSpace.define_finalizer(@last = Object.new, proc { finish if @code && Process.pid == @worker })
      load_ahead
      before_script if reuse?
      wait_for_script
    end

    def reuse?
      @order['mode'] == 'reuse'
    end

    # name_process: the name that the kernel gives a process is that of the file that was executed. By env, that is
    # the interpreter, as it was at its first start.
    def name_process(interpreter)
      line = File.open(@script, 'rb') { |f| f.gets("\n", 256) }.to_s
      executed = File.executable?(@script) && line.start_with?('#!') && !line.match?(%r{\A#![ \t]*\S*/env[ \t]})
      File.binwrite('/proc/self/comm', executed ? File.basename(@script).byteslice(0, 15) : interpreter)
    rescue SystemCallError
      nil
    end

    def read_order(data)
      @order = {}
      @preload = []
      @hints = []
      Watch.variables = []
      data.split("\0", -1).each_slice(2) do |name, value|
        next unless value

        value.force_encoding(Encoding.default_external)
        case name
        when 'preload' then @preload << value
        when 'late' then @hints << value[/\A[^=]*=(.*)/m, 1]
        when 'variable' then Watch.variables << value
        else @order[name] = value
        end
      end
      # A name in another encoding is another name to Ruby.
      @script = $0.b == @order['script'].b ? $0.dup : @order['script'].force_encoding(Encoding.find('filesystem'))
      # A sockaddr_un, as @order['socket'] is a path.
      @address = [1, @order['socket']].pack('Sa*') + "\0"
    end

    def say(*words)
      @control.syswrite(words.map { |w| word(w.to_s) }.join(' ') << "\n")
    end

    def fail_with(reason)
      $VERBOSE = nil
      release_warnings
      STDERR.syswrite(@warnings) if @warnings
      say('failed', reason[0, 1000])
      exit!(1)
    end

    # load_ahead loads what the route names.
    def load_ahead
      @features_before = $LOADED_FEATURES.dup
      catch_warnings
      Watch.start { |reason| @begun && !reuse? ? loaded : Watch.seen << reason }
      @preload.each do |name|
        require name
      rescue Exception => e
        fail_with("preload #{name}: #{e.message}")
      end
    end

    # load_late loads what workers have loaded so far. Where it can't be done as they do it, it is not done again.
    def load_late
      return if @hints.empty?

      Watch.start { |reason| Watch.seen << reason }
      asked = Ahead.callers? { Ahead.hints(@hints.compact, @script) }
      Watch.seen << 'asks for its callers while it is loaded' if asked
    rescue Exception => e
      Watch.seen << "can't be loaded ahead: #{e.class}: #{e.message}"[0, 500]
    ensure
      Watch.stop
    end

    # What is warned of while loading, is in plain CGI written to the request's errors.
    def catch_warnings
      verbose, $VERBOSE = $VERBOSE, nil # syscall warns
      fd = syscall(SYS_MEMFD_CREATE, at(+"warnings\0"), 1)
      @errors = lowest
      syscall(SYS_DUP3, 2, @errors, CLOEXEC)
      syscall(SYS_DUP3, fd, 2, 0)
      @caught = IO.for_fd(fd, 'r+b')
    ensure
      $VERBOSE = verbose
    end

    def release_warnings
      return unless @caught

      syscall(SYS_DUP3, @errors, 2, 0)
      syscall(SYS_CLOSE, @errors)
      @caught.rewind
      @warnings = @caught.read
      @caught.close
      @caught = nil
    end

    # loaded runs at the script's first line that matters, or where there was none, in its end.
    def loaded
      return if @loaded

      @loaded = true
      end_of_beginning
      load_late
      verbose, $VERBOSE = $VERBOSE, nil # syscall warns
      release_warnings
      STDOUT.flush unless STDOUT.closed? # what a library wrote is no request's
      Watch.seen.uniq.each { |reason| say('unsafe', reason) }
      after = ENV.to_h
      @changes = after.reject { |n, v| Watch.before[n] == v }
      (Watch.before.keys - after.keys).each { |n| @changes[n] = nil }
      $LOADED_FEATURES.delete(@file)
      begin
        require 'rbconfig' # the index of features is made anew here, not in every worker
      rescue LoadError
        nil
      end
      @features = $LOADED_FEATURES.size
      say('file', File.expand_path($0))
      files = ($LOADED_FEATURES | @sources).select { |f| f.start_with?('/') && f != @file && File.file?(f) }
      files.each { |f| say('file', f) }
      # Gems may have looked at the arguments.
      @arguments_read = (files - @features_before).any? { |f| Ahead.gem?(f) && File.binread(f).match?(ARGUMENTS) }
      if defined?(::DATA) && ::DATA.is_a?(File)
        @data = [::DATA.pos, ::DATA.external_encoding, ::DATA.internal_encoding, ::DATA.lineno]
        ::DATA.close # its offset would be shared
      end
      compile if reuse?
      @input, @output = STDIN.external_encoding, STDOUT.external_encoding
      # Objects that write to a descriptor that is not theirs.
      @shares = File.binread(@script).match?(/for_fd|IO\.(?:new|open)|autoclose|reopen/)
      serve
      open_data if @data
      @number = lowest
      STDERR.syswrite(@warnings) unless @warnings.empty?
      $VERBOSE = verbose
    end

    def open_data
      ::DATA.reopen(@script, 'r')
      ::DATA.set_encoding(*@data[1..2])
      ::DATA.pos = @data[0]
      ::DATA.lineno = @data[3]
    end

    # freeze_heap makes what there is old, so that it stays the same memory in all workers.
    def freeze_heap
      Process.warmup if Process.respond_to?(:warmup)
      GC.enable
      4.times { GC.start }
      GC.disable
    end

    # make_room is for new objects: a worker that has to collect garbage writes to all of its memory.
    def make_room
      Array.new([15_000, GC.stat(:heap_live_slots) / 3].max) { Object.new }
      nil
    end

    # syntax is what is wrong with a script, and in which line. Of the main program Ruby says that to standard error only.
    def syntax(error)
      return error.message unless error.message == 'compile error'

      release_warnings
      @warnings.to_s.b[/^.+:\d+: .+$/n] || error.message
    end

    FORKS = 200 # until the warm parent collects its own garbage

    # ended is the last at_exit handler of all.
    def ended
      e = $!
      if Process.pid == @parent && !@worker
        fail_with("#{e.class}: #{syntax(e)}") if !@loaded && e.is_a?(SyntaxError)
        loaded # nothing of it could be seen so far
      end
      return unless Process.pid == @worker

      @code = case e
              when nil then 0
              when SystemExit then e.status & 255
              when SignalException, Errno::EPIPE then nil # ends by a signal
              else 1
              end
    end

    # serve is the warm parent's loop. It returns in a worker.
    def serve
      null = File.open(File::NULL)
      syscall(SYS_DUP3, null.fileno, 0, 0)
      null.close
      set = (1 << (15 - 1)) | (1 << (17 - 1))
      @mask = [set].pack('Q')
      syscall(SYS_RT_SIGPROCMASK, 0, at(@mask), 0, 8)
      @signals = syscall(SYS_SIGNALFD4, -1, at(@mask), 8, CLOEXEC)
      workers = {}
      text = +''
      stopping = false
      wanted = 0
      pause = [0, 50_000_000].pack('qq')
      @poll = [3, 1, 0, @signals, 1, 0].pack('isSisS')
      info = "\0".b * 128
      make_room
      rehearse
      freeze_heap
      forks = 0
      say('ready')
      loop do
        poll = @poll.dup
        begin
          syscall(SYS_PPOLL, at(poll), 2, wanted > 0 ? at(pause) : 0, 0, 8)
        rescue Errno::EINTR
          next
        end
        _, _, control, _, _, signals = poll.unpack('isSisS')
        if signals != 0
          syscall(SYS_READ, @signals, at(info), 128)
          kill(workers) if info.unpack1('L') == 15
          reap(workers)
          exit!(0) if stopping && workers.empty?
        end
        unless control == 0
          begin
            text << @control.sysread(4096)
          rescue EOFError, SystemCallError
            kill(workers)
          end
          while (line = text.slice!(/\A[^\n]*\n/))
            if line == "stop\n"
              stopping = true
              wanted = 0
              exit!(0) if workers.empty?
            elsif (n = line[/\Afork (\d+)\n\z/, 1])
              wanted += n.to_i
            else
              kill(workers)
            end
          end
          kill(workers) if text.bytesize > 8192
        end
        while wanted > 0
          begin
            freeze_heap if (forks += 1) % FORKS == 0
            room? if @order['processes']
            pid = fork
          rescue SystemCallError
            break # a limit of processes; the dead have to be waited for
          end
          return worker_starts unless pid

          wanted -= 1
          workers[pid] = true
          @control.syswrite("forked #{pid}\n")
        end
      end
    end

    # room? raises where a process can't be made. Kernel#fork itself would try again for ever, and we would reap nothing.
    def room?
      pid = syscall(SYS_CLONE, 17, 0, 0, 0, 0) # with SIGCHLD, as fork
      syscall(SYS_EXIT_GROUP, 0) if pid == 0
      syscall(SYS_WAIT4, pid, 0, 0, 0)
    end

    # reap does not use Process.wait: $? would be the workers'.
    def reap(workers)
      status, usage = "\0".b * 4, "\0".b * 144
      while (pid = syscall(SYS_WAIT4, -1, at(status), 1, at(usage))) > 0
        seconds, micros, system_seconds, system_micros = usage.force_encoding(Encoding::BINARY).unpack('q4')
        times = "#{seconds * 1_000_000 + micros} #{system_seconds * 1_000_000 + system_micros}"
        @control.syswrite("exit #{pid} #{status.unpack1('i')} #{times}\n") if workers.delete(pid)
      end
    rescue Errno::ECHILD
      nil
    end

    # kill ends the warm parent and all of its workers.
    def kill(workers)
      workers.each_key do |pid|
        Process.kill(:KILL, -pid)
      rescue SystemCallError
        begin # it has no group of its own yet
          Process.kill(:KILL, pid)
        rescue SystemCallError
          nil
        end
      end
      exit!(0)
    end

    def worker_starts
      GC.enable
      begin
        became_worker
      rescue SignalException, SystemCallError
        exit!(0)
      end
      serve_many if reuse?
      ARGV.replace(receive)
    end
  end
end
