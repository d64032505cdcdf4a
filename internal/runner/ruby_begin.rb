# The script's beginning is run once, in the warm parent: what it requires, computes and defines, up to the first call
# that could see a request, the time, a file or another process. There a worker goes on, however deep that is.
module WarmCGI
  # Pure tells which methods in C see nothing but their arguments, and leave nothing outside of the process. Calls of
  # methods in Ruby are not asked for, only what these call.
  module Pure
    meta = ->(o) { o.singleton_class }
    ALL = [String, Array, Hash, Symbol, Integer, Float, Rational, Complex, Numeric, Range, Regexp, MatchData, Comparable,
           Enumerable, NilClass, TrueClass, FalseClass, Proc, Struct, BasicObject, Encoding, Math.singleton_class,
           *[String, Array, Hash, Regexp, Integer, Struct, Encoding, Proc, TOPLEVEL_BINDING.receiver].map(&meta)].to_h { |c| [c, true] }
    NOT = %i[shuffle shuffle! sample hash crypt inspect lazy
             each_entry each_slice each_cons next peek with_index each_with_index source_location binding cycle chain enum_for to_enum].to_h { |m| [m, true] }
    SOME = {
      Kernel => %i[__dir__ freeze frozen? nil? is_a? kind_of? instance_of? respond_to? respond_to_missing? class extend lambda proc
                   block_given? instance_variable_get instance_variable_set instance_variable_defined? at_exit autoload tap then
                   dup clone initialize_copy initialize_dup initialize_clone === =~ !~ <=> eql? itself Array String Integer Float Hash
                   format sprintf send public_send singleton_class raise object_id catch throw loop Rational Complex methods
                   singleton_methods define_singleton_method method public_method instance_variables],
      Module => %i[method_added method_removed method_undefined const_added attr_reader attr_writer attr_accessor attr include included
                   append_features extended extend_object prepend prepended prepend_features private public protected
                   private_constant public_constant deprecate_constant private_class_method public_class_method module_function
                   define_method alias_method remove_method undef_method const_set const_get const_defined? autoload name === == < <=
                   > >= class_variable_set class_variable_get class_variable_defined? freeze refine using to_s instance_method
                   method_defined? instance_methods include? class_eval module_eval class_exec module_exec initialize],
      Class => %i[inherited new allocate superclass initialize],
      IO => %i[sync= sync binmode set_encoding external_encoding internal_encoding fileno],
      Exception => %i[new exception initialize message to_s backtrace set_backtrace ===],
      File.singleton_class => %i[dirname basename extname join expand_path absolute_path split umask],
      Dir.singleton_class => %i[pwd getwd chdir],
      Exception.singleton_class => %i[exception],
      Warning.singleton_class => %i[[] []= warn],
      Warning => %i[warn],
      Method => %i[call to_proc arity owner name receiver unbind parameters === []],
      UnboundMethod => %i[bind bind_call arity owner name parameters],
      Thread.singleton_class => %i[current main],
      Thread => %i[[] []= key? thread_variable_get thread_variable_set thread_variable?],
      Thread::Mutex => %i[initialize synchronize lock unlock try_lock locked? owned?],
      ObjectSpace::WeakMap => %i[[] []= key?],
      Ractor.singleton_class => %i[make_shareable],
      ENV.singleton_class => %i[[]=]
    }.transform_values { |names| names.to_h { |n| [n, true] } }
    OF_ITSELF = %i[symlink? readlink realpath] # of __FILE__: when the script changes there is a new warm parent
    ITSELF = [File.singleton_class, FileTest.singleton_class]
    LITERALS = /\bENV(?:\.fetch\(|\[)\s*(['"])(\w+)\1\s*[\])]/

    class << self
      def call?(trace)
        owner, name = trace.defined_class, trace.method_id
        return !NOT.key?(name) if ALL.key?(owner)
        return true if owner.name == 'Monitor' # of a library
        return true if SOME[owner]&.key?(name)
        return OF_ITSELF.include?(name) && line(trace).include?('__FILE__') if ITSELF.include?(owner)
        return environment?(line(trace)) if owner.equal?(ENV.singleton_class)

        # A reader or writer that attr_accessor has made.
        trace.event == :c_call && owner.is_a?(Module) && !owner.instance_method(name).source_location.nil?
      rescue NameError
        false
      end

      private

      def line(trace)
        @lines ||= {}
        (@lines[trace.path] ||= File.binread(trace.path).lines)[trace.lineno - 1] || ''
      rescue SystemCallError
        ''
      end

      # environment? tells whether a line reads variables by name only, and none of a request's.
      def environment?(text)
        names = text.scan(LITERALS).map(&:last)
        return false if names.empty? || text.scan('ENV').size != names.size || names.any? { |n| n.match?(REQUEST) }

        names.each { |n| Watch.note(n) }
        true
      end
    end
  end

  # ARGUMENTS is what code may look at without a call: it is not known in the warm parent.
  ARGUMENTS = /ARGV|ARGF|\$[*$<]|\$(?:FILENAME|PID|PROCESS_ID)\b/n

  # CALLS of one file are looked at, not more: a trace point itself wants place on the stack.
  CALLS = 3000

  class << self
    # wait_for_script: what forks is a trace point. Trace points see no calls that are made in one.
    def wait_for_script
      @sources = []
      @libraries = []
      @compiled = TracePoint.new(:script_compiled) do |t|
        path = t.instruction_sequence.path
        if @trace
          compiled(path, t.eval_script) if !reuse? && path.start_with?('/')
        elsif path.b == @script.b
          @script = path
          begin_script(t.instruction_sequence)
        end
      end
      @compiled.enable
      # Where Ruby does not tell that it has compiled its main program.
      @first = TracePoint.new(:c_call, :call) do |t|
        next unless t.lineno > 0 && caller_locations&.last&.label == '<main>'

        @script = caller_locations.last.path
        begin_script
        called(t)
      end
      @first.enable
    end

    def begin_script(code = nil)
      @first.disable
      @seen_calls = 0
      @trace = TracePoint.new(:c_call, :call) { |t| called(t) }
      if (at = first_mention(@script))
        @lines = TracePoint.new(:line) { |t| loaded if t.path == @script && t.lineno >= at }
        code ? @lines.enable(target: code) : @lines.enable
      end
      @trace.enable
    end

    # first_mention is the line of the statement at the top in which arguments are mentioned.
    def first_mention(script)
      text = File.binread(script)
      at = text =~ ARGUMENTS or return
      line = text[0...at].count("\n") + 1
      Ahead.statements(script)&.find { |s| s.first_lineno <= line && line <= s.last_lineno }&.first_lineno || 1
    end

    # compiled: a file is loaded. In the script's own files one looks at each call, as in the script.
    def compiled(path, text)
      @sources << path
      return if text || Ahead.own?(path) # RubyGems evaluates its specifications
      return loaded if File.binread(path).match?(ARGUMENTS)

      @seen_calls = 0
      Watch.stop
      @trace.enable unless @trace.enabled?
    rescue SystemCallError
      loaded
    end

    def called(trace)
      path = trace.path
      return loaded if (@seen_calls += 1) > CALLS
      return if path == @file && !reuse? || path.start_with?('<internal:/') && !loads?(trace) # the rest of a require

      if loads?(trace)
        reuse? && caller_locations(2).any? { |l| l.path != @script && l.path != path } ? loaded : library(trace)
      elsif trace.event == :call && !path.start_with?('<internal:')
        loaded if reuse?
      elsif reuse? || !Pure.call?(trace)
        loaded
      end
    end

    def loads?(trace)
      case trace.method_id
      when :require, :require_relative, :gem then trace.defined_class.equal?(Kernel)
      end
    end

    # library: until the call returns, only what it reads of the environment is looked at.
    def library(trace)
      @trace.disable
      name = trace.method_id
      depth = caller_locations(3).size # without the trace point's
      Watch.start { |reason| reuse? ? Watch.seen << reason : loaded }
      in_ruby = trace.event == :call
      before_library if reuse?
      depth += 1 unless in_ruby # a method in C is, or is not any more, on the stack
      done = TracePoint.new(in_ruby ? :return : :c_return) do |t|
        next if t.method_id != name || caller_locations(1).size > depth

        done.disable
        @libraries.delete(done)
        after_library if reuse?
        Watch.stop
        @trace.enable unless @loaded || @trace.enabled?
      end
      @libraries << done
      in_ruby ? done.enable(target: Kernel.instance_method(name)) : done.enable
    end

    # end_of_beginning takes all trace points away.
    def end_of_beginning
      [@compiled, @first, @lines, @trace, *@libraries].each { |t| t.disable if t&.enabled? }
      Watch.stop
    end
  end
end
