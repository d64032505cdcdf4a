# The warm parent (docs/worker-protocol.md). Ruby requires this file before it parses the script, which is the main
# program. What forks is a trace point: at the first call of the script's. So a worker returns from here into a script
# that runs as it always does.
module WarmCGI
  class << self
    def start(file)
      File.unlink(file)
      @file = file
      @control = IO.for_fd(3, autoclose: false)
      @control.close_on_exec = true
      st = @control.stat
      @identity = [st.ino, st.dev]
      @parent = Process.pid
      read_order
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

    def read_order
      size = +''
      until (c = @control.sysread(1)) == ':'
        size << c
      end
      data = ''.b
      data << @control.sysread(size.to_i - data.bytesize) while data.bytesize < size.to_i
      @control.sysread(1)
      @order = {}
      @preload = []
      @hints = []
      @variables = []
      data.split("\0", -1).each_slice(2) do |name, value|
        next unless value

        value.force_encoding(Encoding.default_external)
        case name
        when 'preload' then @preload << value
        when 'late' then @hints << value[/\A[^=]*=(.*)/m, 1]
        when 'variable' then @variables << value
        else @order[name] = value
        end
      end
      # A sockaddr_un, as @order['socket'] is a path.
      @address = [1, @order['socket']].pack('Sa*') + "\0"
    end

    def say(*words)
      @control.syswrite(words.map { |w| word(w.to_s) }.join(' ') << "\n")
    end

    def fail_with(reason)
      say('failed', reason[0, 1000])
      exit!(1)
    end

    def load_ahead
      @features_before = $LOADED_FEATURES.dup
      before = ENV.to_h
      Watch.start(@variables)
      # What is warned of here, is in plain CGI written to the request's errors.
      $stderr = @warnings = Warnings.new
      @preload.each do |name|
        require name
      rescue Exception => e
        $stderr = STDERR
        fail_with("preload #{name}: #{e.message}")
      end
      Ahead.script(@order['script'])
      Ahead.hints(@hints.compact)
      Watch.stop
      after = ENV.to_h
      @changes = after.reject { |n, v| before[n] == v }
      (before.keys - after.keys).each { |n| @changes[n] = nil }
    end

    class Warnings
      attr_reader :text

      def initialize
        @text = +''
      end

      def write(*texts)
        texts.each { |t| @text << t }
        texts.sum(&:bytesize)
      end

      # Ruby sets encodings of the standard streams after -r.
      def method_missing(name, *args)
        STDERR.public_send(name, *args)
      end

      def respond_to_missing?(*)
        true
      end
    end

    def wait_for_script
      script = @order['script']
      control = self
      # Before its first call a script can only compute: that may be done here, once. What it could see of the process
      # are arguments and pid. (Code that was compiled to be traced by lines is slower ever after, by some 2 ns a line.)
      events = File.binread(script).match?(/ARGV|\$[*$]/) ? [:line] : %i[c_call call]
      @trace = TracePoint.new(*events) do
        control.loaded if caller_locations&.last&.path == script
      end
      @trace.enable
    end

    # loaded runs in the script's first call, or where there was none, in its end.
    def loaded
      return if @loaded

      @loaded = true
      @trace.disable
      $stderr = STDERR if $stderr == @warnings
      (Watch.seen.uniq).each { |reason| say('unsafe', reason) }
      $LOADED_FEATURES.delete(@file)
      begin
        require 'rbconfig' # the index of features is made anew here, not in every worker
      rescue LoadError
        nil
      end
      @features = $LOADED_FEATURES.size
      say('file', File.expand_path($0))
      $LOADED_FEATURES.each { |f| say('file', f) if f.start_with?('/') && File.file?(f) }
      if defined?(::DATA) && ::DATA.is_a?(File)
        @data = [::DATA.pos, ::DATA.external_encoding, ::DATA.internal_encoding, ::DATA.lineno]
        ::DATA.close # its offset would be shared
      end
      compile if reuse?
      @input, @output = STDIN.external_encoding, STDOUT.external_encoding
      # Objects that write to a descriptor that is not theirs.
      @shares = File.binread(@order['script']).match?(/for_fd|IO\.(?:new|open)|autoclose|reopen/)
      verbose, $VERBOSE = $VERBOSE, nil # syscall warns
      serve
      open_data if @data
      @number = lowest
      STDERR.write(@warnings.text) unless @warnings.text.empty?
      $VERBOSE = verbose
    end

    def open_data
      ::DATA.reopen(@order['script'], 'r')
      ::DATA.set_encoding(*@data[1..2])
      ::DATA.pos = @data[0]
      ::DATA.lineno = @data[3]
    end

    def freeze_heap
      if Process.respond_to?(:warmup)
        Process.warmup
      else
        4.times { GC.start }
      end
    end

    # ended is the last at_exit handler of all.
    def ended
      if Process.pid == @parent && !@worker
        e = $!
        fail_with("#{e.class}: #{e.message}") if !@loaded && e.is_a?(SyntaxError)
        loaded # nothing of it could be seen so far
      end
      return unless Process.pid == @worker

      e = $!
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
      rehearse
      freeze_heap
      GC.disable
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

    def reap(workers)
      while (pid, status = Process.wait2(-1, Process::WNOHANG))
        @control.syswrite("exit #{pid} #{status.to_i} -1 -1\n") if workers.delete(pid)
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
