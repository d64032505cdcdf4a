# A worker: takes a request, and has the script run.
module WarmCGI
  # Kernel#syscall, as Ruby has no dup2, and its sockets would be a library to load. Numbers of x86-64 and of the
  # generic table (arm64, riscv64, loongarch64).
  NAMES = %i[socket connect recvfrom dup3 close read rt_sigprocmask signalfd4 ppoll dup memfd_create wait4 clone exit_group]
  NUMBERS = {
    'x86_64' => [41, 42, 45, 292, 3, 0, 14, 289, 271, 32, 319, 61, 56, 231],
    'generic' => [198, 203, 207, 24, 57, 63, 135, 74, 73, 23, 279, 260, 220, 94]
  }
  CPU = { 'x86_64' => 'x86_64', 'amd64' => 'x86_64', 'aarch64' => 'generic', 'arm64' => 'generic', 'riscv64' => 'generic', 'loongarch64' => 'generic' }
  SYS = RUBY_PLATFORM.include?('linux') && NUMBERS[CPU[RUBY_PLATFORM[/\A[^-]+/]]]
  NAMES.each_with_index { |name, n| const_set("SYS_#{name.to_s.upcase}", SYS[n]) } if SYS
  CLOEXEC = 0o2000000

  class << self
    # at is where a string's octets are; syscall itself takes no string with NUL.
    def at(text)
      [text].pack('P').unpack1('J')
    end

    def connect
      fd = syscall(SYS_SOCKET, 1, 1 | CLOEXEC, 0)
      syscall(SYS_CONNECT, fd, at(@address), @address.bytesize)
      fd
    end

    # unblock lets the signals through that the warm parent gets by its signalfd.
    def unblock
      syscall(SYS_RT_SIGPROCMASK, 1, at(@mask), 0, 8)
    end

    # became_worker: after the fork.
    def became_worker
      @worker = Process.pid
      syscall(SYS_CLOSE, @signals)
      Process.setpgid(0, 0)
      unblock
      fd = connect
      syscall(SYS_DUP3, fd, 2, 0)
      syscall(SYS_CLOSE, fd)
    end

    # receive waits for a request and puts it into descriptors and environment. Returns the script's arguments.
    def receive
      wait_for_request
    rescue SignalException, SystemCallError
      exit!(0) # before the request, or in place of it: nothing of the script's runs
    end

    def wait_for_request
      fd = connect
      head = "\0".b * 16
      size = 0
      loop do # peek at the length, which may come in pieces
        n = peek(fd, head)
        head.force_encoding(Encoding::BINARY) # Ruby must look at it anew
        exit!(0) if n == 0 # not wanted any more
        digits = head[/\A\d*/]
        digits = digits[0, n] if digits.bytesize > n
        rest = n > digits.bytesize
        size = size * 10**digits.bytesize + digits.to_i
        syscall(SYS_RECVFROM, fd, at(head), digits.bytesize + (rest ? 1 : 0), 0x100, 0, 0)
        break if rest
      end
      data = "\0".b * (size + 1)
      syscall(SYS_RECVFROM, fd, at(data), size + 1, 0x100, 0, 0) == size + 1 or exit!(0)
      data.force_encoding(Encoding::BINARY)
      data.chop!
      args, body = take(data)
      syscall(SYS_DUP3, fd, 0, 0) if body
      syscall(SYS_DUP3, fd, 1, 0)
      syscall(SYS_CLOSE, fd)
      plain(data) unless fits?(args)
      args
    end

    # fits? tells whether what was loaded would have been loaded the same for this request.
    def fits?(args)
      (args.empty? || !@arguments_read) && Watch.read.all? { |n, v| @given[n] == v }
    end

    # plain is what is left for other requests.
    def plain(data)
      @changes = {}
      args, = take(data)
      exec(@program, *@command, *args)
    end

    # take makes the environment of a request's pairs.
    def take(data)
      env = {}
      args = []
      body = false
      words = data.split("\0", -1)
      i = 0
      last = words.size - 1
      while i < last
        name = words[i]
        value = words[i + 1]
        i += 2
        if name.start_with?('=')
          args << argument(value) if name == '=arg'
          next
        end
        body = value != '' && value != '0' if name == 'CONTENT_LENGTH'
        env[name] = value
      end
      @given = env
      env = env.merge(@changes).compact unless @changes.empty?
      now = ENV.to_h
      now.each_key { |n| ENV.delete(n) unless env.key?(n) }
      env.each { |n, v| ENV[n] = v unless now[n] == v }
      [args, body]
    end

    # rehearse does once in the warm parent what every worker does: what Ruby then remembers (methods that were found,
    # memory that was asked for) need not be written again into pages of each worker's own.
    def rehearse
      was = ENV.to_h
      pairs = "QUERY_STRING\0a=1\0CONTENT_LENGTH\0001\0HTTP_ACCEPT\0text/html\0=arg\0a".b
      3.times { take(pairs) }
      ENV.clear
      was.each { |n, v| ENV[n] = v }
      3.times do
        lowest
        control?
        word('rehearsed')
        close = syscall(SYS_DUP3, 2, lowest, CLOEXEC)
        syscall(SYS_CLOSE, close)
        flush_all
        $LOADED_FEATURES.drop(@features)
        ARGV.replace([])
      end
    end

    # lowest is the lowest free descriptor. It is another one after something was left open.
    def lowest
      fd = syscall(SYS_DUP, 0)
      syscall(SYS_CLOSE, fd)
      fd
    rescue SystemCallError
      -1
    end

    def flush_all
      [STDOUT, STDERR].each do |io|
        io.flush unless io.closed?
      rescue SystemCallError, IOError
        nil
      end
    end

    # peek waits as long as nobody wants the worker.
    def peek(fd, head)
      syscall(SYS_RECVFROM, fd, at(head), 16, 2, 0, 0)
    rescue Errno::EINTR
      retry
    end

    # argument makes of octets what Ruby makes of its own arguments.
    def argument(value)
      locale = Encoding.find('locale')
      value.force_encoding(locale) unless locale == Encoding::US_ASCII && !value.ascii_only?
      value = value.encode(Encoding.default_internal) if Encoding.default_internal && value.valid_encoding?
      value.freeze
    rescue EncodingError
      value.freeze
    end

    # finish is the last of a worker: everything of the script's has run. To look for files among all objects takes time.
    def finish
      $VERBOSE = nil # syscall warns
      if @shares || lowest != @number
        ObjectSpace.each_object(IO).to_a.reverse_each do |io| # the order of Ruby's own end
          io.flush unless io.closed?
        rescue SystemCallError, IOError
          nil
        end
      else
        flush_all
      end
      done(@code)
      exit!(@code)
    end

    def done(code, left = '-')
      return unless control?

      lines = $LOADED_FEATURES.drop(@features).map { |f| "late #{@worker} #{word(f)} #{word(f)}\n" } << "done #{@worker} #{code} #{left}\n"
      lines.each { |l| @control.syswrite(l) }
    end

    # control? tells whether descriptor 3 is still what it was.
    def control?
      st = @control.stat
      st.ino == @identity[0] && st.dev == @identity[1]
    rescue SystemCallError, IOError
      false
    end

    def word(text)
      s = text.b.gsub(/[^!-$&-~]/n) { |c| format('%%%02X', c.ord) }
      s.empty? ? '-' : s
    end
  end
end
