# Mode reuse: one worker, many requests. docs/reuse-ruby.md says what is put back after each, and what is not.
module WarmCGI
  # In place of Ruby's own for the time of a request: what is registered there would last as long as the process.
  module Registry
    @exits = []
    @traps = {}
    class << self
      attr_reader :exits, :traps

      def install
        verbose, $VERBOSE = $VERBOSE, nil
        Kernel.module_eval do
          def at_exit(&block)
            raise ArgumentError, 'called without block' unless block

            Registry.exits << block
            block
          end
          module_function :at_exit
        end
        original = @trap = Signal.method(:trap).unbind.bind(Signal)
        traps = @traps
        replacement = proc do |signal, *command, &block|
          was = original.call(signal, *command, &block)
          number = signal.is_a?(Integer) ? signal : Signal.list[signal.to_s.delete_prefix('SIG')]
          traps[number] = was unless traps.key?(number)
          was
        end
        Signal.define_singleton_method(:trap, &replacement)
        Kernel.define_singleton_method(:trap, &replacement)
        Kernel.define_method(:trap, &replacement)
        Kernel.send(:private, :trap)
      ensure
        $VERBOSE = verbose
      end

      # at_end is what is to be done next at the end of a request.
      def at_end
        return @exits.pop unless @traps.key?(0)

        @traps.delete(0)
        handler = @trap.call(0, 'DEFAULT')
        handler.respond_to?(:call) ? -> { handler.call(0) } : @exits.pop
      end

      def restore_traps
        @traps.each { |n, was| @trap.call(n, was || 'DEFAULT') }
        @traps.clear
      end
    end
  end

  # What would keep its first value when the code is evaluated again.
  module Captured
    class << self
      def find(path)
        return [] unless defined?(RubyVM::AbstractSyntaxTree)

        found = []
        walk(RubyVM::AbstractSyntaxTree.parse(File.read(path)), found)
        found.uniq
      rescue SyntaxError
        []
      end

      private

      def walk(node, found)
        return unless node.is_a?(RubyVM::AbstractSyntaxTree::Node)

        found << 'END{}' if node.type == :POSTEXE
        found << '/.../o' if node.type == :ONCE
        node.children.each { |c| walk(c, found) }
      end
    end
  end

  # A state of Ruby's that a script may change, and how it is put back.
  class State
    def initialize(read, write)
      @read, @write = read, write
      @was = read.call
    end

    def restore
      @write.call(@was) unless @read.call.equal?(@was)
    end
  end

  class << self
    # before_script: what is there without the script.
    def before_script
      Registry.install
      @globals = global_variables
      @constants = Object.constants(false)
      @methods = Object.private_instance_methods(false) + Object.instance_methods(false)
      @main = TOPLEVEL_BINDING.receiver
      @main_methods = @main.singleton_methods
      @verbose = $VERBOSE
      @name = $0.dup
      @states = variables
    end

    # find_globals: the script's own global variables are those that it mentions, and that no library has set: it has
    # run nothing so far. What libraries set in a request is theirs.
    def find_globals
      mentioned = File.binread(@script).scan(/\$[a-z_]\w*/in).map(&:to_sym).uniq
      names = (mentioned - @globals).select { |name| value_of(name).nil? }
      @own_globals = names.map { |name| eval("proc { #{name} = nil }") }
    end

    def value_of(name)
      eval(name.to_s)
    end

    def compile
      script = @script
      find_globals
      verbose, $VERBOSE = $VERBOSE, nil # the main program has said it
      Captured.find(script).each { |name| say('captured', name) } unless @order['captured'] == 'accept'
      code = RubyVM::InstructionSequence.compile(File.read(script, encoding: source_encoding), script, File.realpath(script), 1)
      $VERBOSE = verbose
      @code_of_script = named(code)
    end

    # source_encoding is that of a source without a comment about it: -K.
    def source_encoding
      letter = @command.filter_map { |word| word[/\A-[wWU]*K(.)/, 1] }.last
      { 'e' => 'EUC-JP', 's' => 'Windows-31J', 'a' => 'BINARY', 'n' => 'BINARY' }.fetch(letter.to_s.downcase, 'UTF-8')
    end

    LABEL = /(.)((?:block(?: \(\d+ levels\))? in |rescue in |ensure in )*)<compiled>/mn

    # named gives code the name that a main program has in backtraces. In its dump that is the length, and the name.
    def named(code)
      dump = code.to_binary.gsub(LABEL) do |all|
        length, inside = $1.ord, $2
        next all if length != (all.bytesize - 1) << 1 | 1

        ((inside.bytesize + 6) << 1 | 1).chr.b + inside + '<main>    '
      end
      main = RubyVM::InstructionSequence.load_from_binary(dump)
      main.label == '<main>' ? main : code
    rescue StandardError
      code
    end

    # serve_many is a worker's life.
    def serve_many
      remember
      loop { answer }
    rescue Exception => e
      STDERR.write(e.full_message(highlight: false))
      exit!(1)
    end

    def remember
      @null = File.open(File::NULL, 'r+')
      @null_in = IO.for_fd(@null.fileno, 'r', autoclose: false)
      @null_out = IO.for_fd(@null.fileno, 'w', autoclose: false)
      syscall(SYS_DUP3, @null.fileno, 1, 0)
      @folder = Dir.pwd
      @umask = File.umask
      @path = $LOAD_PATH.dup
      @seed = Random.seed
      if @data
        open_data
        @constants << :DATA
      end
      @errors = STDERR.fcntl(1030, 100) # F_DUPFD_CLOEXEC
      @number = lowest
      @lineno = ARGF.lineno
      @states += settings
      @ios = ObjectSpace.each_object(IO).to_h { |io| [io, true] }.compare_by_identity
      @late = $LOADED_FEATURES.size
      forget_names
      # What the first part of the main program did before its first call.
      restore_states
      $0 = @name
    end

    # variables are what can be assigned without a call.
    def variables
      [
        State.new(-> { $DEBUG }, ->(v) { $DEBUG = v }),
        State.new(-> { $, }, ->(v) { $, = v }),
        State.new(-> { $/ }, ->(v) { $/ = v }),
        State.new(-> { $\ }, ->(v) { $\ = v }),
        State.new(-> { $; }, ->(v) { $; = v }),
        State.new(-> { $stdin }, ->(_) { $stdin = STDIN }),
        State.new(-> { $stdout }, ->(_) { $stdout = STDOUT }),
        State.new(-> { $stderr }, ->(_) { $stderr = STDERR })
      ]
    end

    def settings
      [
        State.new(-> { $0 == @name || nil }, ->(_) { $0 = @name }),
        State.new(-> { Encoding.default_external }, ->(v) { Encoding.default_external = v }),
        State.new(-> { Encoding.default_internal }, ->(v) { Encoding.default_internal = v }),
        State.new(-> { Warning[:deprecated] }, ->(v) { Warning[:deprecated] = v }),
        State.new(-> { Warning[:experimental] }, ->(v) { Warning[:experimental] = v }),
        State.new(-> { Thread.abort_on_exception }, ->(v) { Thread.abort_on_exception = v }),
        State.new(-> { Thread.report_on_exception }, ->(v) { Thread.report_on_exception = v }),
        *(defined?(::CGI) && ::CGI.respond_to?(:accept_charset) ? [State.new(-> { ::CGI.accept_charset }, ->(v) { ::CGI.accept_charset = v })] : [])
      ]
    end

    def answer
      ARGV.replace(receive)
      open_data if @data
      $VERBOSE = @verbose
      STDERR.syswrite(@warnings) unless @warnings.empty?
      code = run
      if Process.pid != @worker # a child of the script's
        close_files
        flush
        exit!(code)
      end
      flush
      $VERBOSE = nil
      left = clean
      done(code, left)
      exit!(code) unless control?
      @features = $LOADED_FEATURES.size
      syscall(SYS_DUP3, @null.fileno, 0, 0)
      syscall(SYS_DUP3, @null.fileno, 1, 0)
      reset_streams
    end

    # run runs the script and what it registered for its end. Returns the exit status.
    def run
      error = nil
      begin
        @code_of_script.eval
      rescue Exception => e
        error = e
      end
      while (block = Registry.at_end)
        begin
          call_with(error, block)
        rescue Exception => e
          report(error = e) unless e.is_a?(SystemExit) || e.is_a?(SignalException)
          error = e
          @reported = e
        end
      end
      @threads_left = Process.pid == @worker && Thread.list.size > 1 && !end_threads
      status(error)
    end

    # call_with has $! be what it would be.
    def call_with(error, block)
      return block.call unless error

      begin
        raise error
      rescue Exception
        block.call
      end
    end

    def status(error)
      case error
      when nil then 0
      when SystemExit then error.status & 255
      when SignalException
        report(error) if error.is_a?(Interrupt)
        flush
        trap(error.signo, 'SYSTEM_DEFAULT')
        Process.kill(error.signo, Process.pid)
        sleep
      else
        report(error) unless error.equal?(@reported)
        1
      end
    end

    def report(error)
      e = error
      while e # without the runner
        own = ->(line) { line.start_with?(@file) }
        e.set_backtrace(e.backtrace.drop_while(&own).take_while { |l| !own.(l) }) if e.backtrace&.any?(&own)
        e = e.cause
      end
      text = Exception.instance_method(:full_message).bind_call(error, highlight: false, order: :top)
      return $stderr.write(text) unless $stderr.is_a?(IO)

      $stderr.flush
      $stderr.syswrite(text) # without an encoding, as Ruby does
    rescue Exception
      nil
    end

    def flush
      [$stdout, STDOUT, $stderr].each do |io|
        io.flush if io.respond_to?(:flush) && !(io.respond_to?(:closed?) && io.closed?)
      rescue Exception
        nil
      end
    end

    # clean puts back what the request has changed, and says what it can't.
    def clean
      left = []
      restore_states
      Registry.restore_traps unless Registry.traps.empty?
      File.umask(@umask)
      Dir.chdir(@folder)
      restore_path unless $LOAD_PATH == @path
      TOPLEVEL_BINDING.local_variables.each { |name| TOPLEVEL_BINDING.local_variable_set(name, nil) }
      if Random.seed != @seed
        Random.srand
        @seed = Random.seed
      end
      GC.enable
      left << 'threads' if @threads_left
      Thread.current.keys.each { |k| Thread.current[k] = nil }
      Thread.current.thread_variables.each { |k| Thread.current.thread_variable_set(k, nil) }
      left << 'children' unless reaped?
      forget_names
      close_files if (now = lowest) != @number
      restore_errors
      left << 'descriptors' if (now && lowest != @number) || [STDIN, STDOUT, STDERR].any?(&:closed?)
      left.empty? ? '-' : left.join(',')
    end

    # restore_errors: $stderr.reopen($stdout) would keep the request's connection.
    def restore_errors
      return if STDERR.closed?

      syscall(SYS_DUP3, @errors, 2, 0)
      STDERR.sync = true
    end

    # restore_path leaves the folders of gems that are in use now.
    def restore_path
      gems = defined?(Gem) ? Gem.loaded_specs.each_value.flat_map(&:full_require_paths) : []
      $LOAD_PATH.select! { |folder| @path.include?(folder) || gems.include?(folder) }
      $LOAD_PATH.replace(@path) if (@path - $LOAD_PATH).any? || $LOAD_PATH.uniq.size != $LOAD_PATH.size
      @path = $LOAD_PATH.dup
    end

    def restore_states
      $VERBOSE = nil # to restore, and syscall, may warn
      @states.each(&:restore)
    end

    def end_threads
      others = Thread.list - [Thread.current]
      others.each(&:kill)
      others.all? { |t| t.join(0.2) }
    end

    def reaped?
      3.times do |n|
        while Process.wait(-1, Process::WNOHANG); end
        sleep(0.001 * (n + 1)) # it has closed its output, but not ended
      end
      false
    rescue Errno::ECHILD
      true
    end

    # close_files closes, and so flushes, what the request has left open.
    def close_files
      ObjectSpace.each_object(IO) do |io|
        io.close unless @ios.key?(io) || io.closed? || !io.autoclose?
      rescue SystemCallError, IOError
        nil
      end
      GC.start if lowest != @number # sockets of libraries in C, and the finalizers of temporary files
    end

    # forget_names removes the constants, methods and global variables that are the script's own.
    def forget_names
      if Object.constants(false).size != @constants.size
        (Object.constants(false) - @constants).each do |name|
          next @constants << name if Object.autoload?(name)

          file, = Object.const_source_location(name)
          !file || $LOADED_FEATURES.include?(file) || file.empty? ? @constants << name : Object.send(:remove_const, name)
        end
      end
      now = Object.private_instance_methods(false).concat(Object.instance_methods(false))
      now = [] if now.size == @methods.size
      (now - @methods).each do |name|
        file, = Object.instance_method(name).source_location
        file.nil? || $LOADED_FEATURES.include?(file) ? @methods << name : Object.send(:remove_method, name)
      end
      (@main.singleton_methods - @main_methods).each { |name| @main.singleton_class.send(:remove_method, name) }
      @main.instance_variables.each { |name| @main.remove_instance_variable(name) }
      @own_globals.each do |reset|
        reset.call
      rescue StandardError
        nil
      end
    end

    # reset_streams gives the standard streams what they had, and drops what is in STDIN's buffer.
    def reset_streams
      if STDIN.binmode? || STDIN.sync || STDIN.external_encoding != @input
        STDIN.reopen(@null_in)
        STDIN.set_encoding(nil, nil)
        STDIN.sync = false
      end
      STDIN.read
      STDIN.lineno = 0
      ARGF.lineno = @lineno
      if STDOUT.binmode? || STDOUT.sync || STDOUT.external_encoding != @output
        STDOUT.reopen(@null_out)
        STDOUT.set_encoding(nil, nil)
        STDOUT.sync = false
      end
    rescue SystemCallError, IOError
      exit!(1)
    end
  end
end
