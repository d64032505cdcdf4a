# The script's beginning is run once, in the warm parent: what it requires, computes and defines, up to the first
# statement that could see a request, the time, a file or another process. There a worker goes on. The script's own files
# are looked at in the same way while they are loaded; so a worker may go on within a require.
#
# Statements are judged by their text. To look at calls as they happen would be surer, but Ruby makes all code slower for
# good, and its backtraces longer, once calls have been traced. Of traced lines in one file nothing is left behind.
module WarmCGI
  # Beginning finds where a file's beginning ends.
  module Beginning
    # Nodes that do nothing but what their parts do.
    PARTS = %i[STR LIT TRUE FALSE NIL LIST ZLIST SYM INTEGER FLOAT RATIONAL IMAGINARY ARRAY HASH BLOCK BEGIN DSTR DSYM DREGX EVSTR
               DOT2 DOT3 LVAR DVAR IVAR CVAR GVAR CONST COLON2 COLON3 SELF NTH_REF LASGN DASGN DASGN_CURR IASGN GASGN CDECL CVASGN MASGN
               OP_ASGN_OR OP_CDECL IF UNLESS AND OR RESCUE RESBODY ENSURE CASE WHEN MATCH2 MATCH3 ALIAS VALIAS UNDEF
               ERRINFO].to_h { |n| [n, true] }
    # They keep code for later.
    LATER = %i[DEFN LAMBDA DEFINED].to_h { |n| [n, true] }
    # Calls without a receiver.
    FUNCTIONS = %i[require require_relative gem attr attr_reader attr_writer attr_accessor include extend prepend private public protected
                   module_function private_constant public_constant private_class_method public_class_method alias_method define_method
                   using refine autoload lambda proc freeze __dir__ format sprintf Array String Integer Float Rational raise].to_h { |n| [n, true] }
    # Calls of objects that were made here: strings, numbers, lists. By name, as one can't see more.
    METHODS = %i[+ - * / % ** == != < > <= >= <=> === =~ !~ ! & | ^ << >> [] -@ +@ freeze dup clone unshift push append prepend concat map
                 collect each select filter reject compact flatten uniq sort reverse join split first last to_s to_sym to_a to_h to_i
                 to_f to_proc to_set upcase downcase capitalize sub gsub strip chomp tr size length empty? nil? include? key? merge keys
                 values inject reduce zip each_with_index each_with_object times encode force_encoding b lines bytes chars
                 start_with? end_with? match? min max sum include extend private public attr_accessor attr_reader class frozen? taint untaint].to_h { |n| [n, true] }
    # Calls of known objects.
    KNOWN = {
      File: %i[dirname basename extname join expand_path absolute_path split umask], Dir: %i[chdir pwd], Struct: %i[new], Class: %i[new],
      Module: %i[new], Set: %i[new []], Hash: %i[new []], Array: %i[new], String: %i[new], Regexp: %i[new escape union], Mutex: %i[new],
      Monitor: %i[new], Object: %i[new], Encoding: %i[default_external default_internal default_external= default_internal=],
      STDIN: %i[binmode sync= set_encoding], STDOUT: %i[binmode sync= set_encoding], STDERR: %i[sync=], Warning: %i[[]=], ENV: %i[[] fetch []= key?]
    }.transform_values { |names| names.to_h { |n| [n, true] } }
    STREAMS = { '$stdin': :STDIN, '$stdout': :STDOUT, '$stderr': :STDERR, '$>': :STDOUT }
    ITSELF = { File: %i[symlink? readlink realpath], FileTest: %i[symlink?] }
    # What is not known in the warm parent: arguments, the process, the last child, the streams' state.
    # And what would write, or read, by another name.
    UNKNOWN = %i[$* $$ $? $. $_ $< $FILENAME $ARGV $PID $PROCESS_ID $CHILD_STATUS ARGV ARGF ENV DATA STDIN STDOUT STDERR
                 $stdin $stdout $stderr $>].to_h { |n| [n, true] }
    # What Ruby itself calls, and classes whose methods are called here.
    HOOKS = %i[inherited included extended prepended method_added method_removed singleton_method_added const_added const_missing
               append_features prepend_features extend_object method_missing coerce].to_h { |n| [n, true] }
    CORE = %i[BasicObject Object Kernel Module Class String Symbol Array Hash Integer Float Rational Numeric Range Regexp Proc NilClass
              Comparable Enumerable Struct File FileTest Dir IO Encoding Set Mutex Monitor Warning].to_h { |n| [n, true] }
    NODE = defined?(RubyVM::AbstractSyntaxTree) && RubyVM::AbstractSyntaxTree::Node

    class << self
      # requires are the first statements of a script: the line behind them.
      def requires_of(path)
        all = NODE ? statements(parse(path)) : []
        all.find { |n| !(n.type == :FCALL && %i[require require_relative].include?(n.children[0]) && pure?(n.children[1])) }&.first_lineno || 0
      rescue SyntaxError, StandardError
        0
      end

      # end_of is the line where a file's beginning ends: 0 is at once, nil where all of it is one.
      def end_of(path)
        return 0 unless NODE

        @path = path
        return 0 if File.binread(path).match?(/\bBEGIN\s*\{/n)

        first_of(statements(parse(path)))
      rescue SyntaxError, StandardError
        0
      end

      # last_of is the line of the last statement.
      def last_of(path)
        statements(parse(path)).last&.first_lineno
      end

      private

      def parse(path)
        verbose, $VERBOSE = $VERBOSE, nil
        RubyVM::AbstractSyntaxTree.parse(File.read(path, encoding: 'UTF-8'))
      ensure
        $VERBOSE = verbose
      end

      def statements(node)
        node = node.children[2] while node.is_a?(NODE) && node.type == :SCOPE
        return [] unless node.is_a?(NODE)

        node.type == :BLOCK ? node.children.compact : [node]
      end

      # first_of is the line of the first statement that is none of a beginning.
      def first_of(all)
        all.each do |node|
          case node.type
          when :CLASS, :MODULE
            body = node.children.last
            return node.first_lineno unless own_class?(node)

            line = first_of(statements(body)) and return line
          else
            return node.first_lineno unless pure?(node)
          end
        end
        nil
      end

      def pure?(node)
        return true unless node.is_a?(NODE)

        type, parts = node.type, node.children
        return !defines_hook?(type, parts) if LATER.key?(type)
        return !UNKNOWN.key?(parts[0]) if type == :CONST || type == :GVAR || type == :COLON3
        return parts.all? { |n| pure?(n) } if PARTS.key?(type)

        case type
        when :SCOPE then pure?(parts[2])
        when :BLOCK_PASS then pure?(parts[0]) && parts[1].type == :LIT && METHODS.key?(parts[1].children[0]) # &:name
        when :CLASS, :MODULE then own_class?(node) && pure?(parts.last)
        when :SCLASS then parts.all? { |n| pure?(n) }
        when :DEFS then pure?(parts[0]) && !defines_hook?(type, parts)
        when :ITER then pure?(parts[0]) && (%i[lambda proc define_method].include?(parts[0].children[0]) || pure?(parts[1]))
        when :VCALL, :FCALL then FUNCTIONS.key?(parts[0]) && pure?(parts[1])
        when :CALL, :QCALL, :OPCALL, :ATTRASGN then call?(*parts)
        when :OP_ASGN1 then environment?(parts[0]) && parts[1] == :'||' && name?(parts[2]) && pure?(parts[3])
        end
      end

      def own_class?(node)
        path = node.children[0]
        !CORE.key?(path.children.last) && node.children[0...-1].all? { |n| pure?(n) }
      end

      def defines_hook?(type, parts)
        name = type == :DEFS ? parts[1] : parts[0]
        (type == :DEFN || type == :DEFS) && (HOOKS.key?(name) || FUNCTIONS.key?(name))
      end

      def call?(receiver, name, arguments)
        return false unless receiver.is_a?(NODE) && pure?(arguments)

        object = receiver.children[0]
        case receiver.type
        when :CONST, :COLON3 then known?(object, name, arguments)
        when :GVAR then STREAMS.key?(object) ? known?(STREAMS[object], name, arguments) : METHODS.key?(name) && pure?(receiver)
        when :COLON2 then name == :freeze && pure?(receiver)
        when :SELF then FUNCTIONS.key?(name)
        else METHODS.key?(name) && pure?(receiver)
        end
      end

      def known?(object, name, arguments)
        return itself?(arguments) if ITSELF[object]&.include?(name)
        return KNOWN[:ENV].key?(name) && name?(arguments) if object == :ENV

        KNOWN[object]&.key?(name) || !UNKNOWN.key?(object) && %i[include extend freeze private_constant].include?(name)
      end

      def environment?(node)
        node.is_a?(NODE) && node.type == :CONST && node.children[0] == :ENV
      end

      # name? tells whether the first of arguments is the name of a variable that no request has.
      def name?(arguments)
        first = arguments&.children&.first
        first.is_a?(NODE) && first.type == :STR && !Watch.request?(first.children[0])
      end

      # itself? is __FILE__: when the script changes there is a new warm parent.
      def itself?(arguments)
        one = arguments&.children.to_a.compact
        one.size == 1 && one[0].type == :STR && one[0].children[0].b == @path.b
      end
    end
  end

  # ARGUMENTS: a gem's file may have looked at the script's.
  ARGUMENTS = /ARGV|ARGF|\$\*/n

  class << self
    # wait_for_script: what forks is a trace point.
    def wait_for_script
      @sources = []
      @lines = []
      @compiled = TracePoint.new(:script_compiled) do |t|
        path = t.instruction_sequence.path
        if @begun
          compiled(path, t) if path.start_with?('/')
        elsif path.b == @script.b
          @begun = true
          @script = path
          begin_script(t.instruction_sequence)
        end
      end
      @compiled.enable
      # An error of the script's own may end it, and what is registered for its end would run here.
      @raised = TracePoint.new(:raise) { |t| loaded if @begun && !Ahead.own?(t.path) }
      @raised.enable
      # Where Ruby does not tell that it has compiled its main program.
      @first = TracePoint.new(:c_call, :call) { loaded if caller_locations&.last&.label == '<main>' && !@begun }
      @first.enable unless RUBY_VERSION.start_with?('3.1.')
    end

    def begin_script(code)
      @first.disable if @first.enabled?
      trace(code, reuse? ? Beginning.requires_of(@script) : Beginning.end_of(@script) || Beginning.last_of(@script))
    end

    # trace has the beginning end at a line, or at once.
    def trace(code, line)
      return unless line

      lines = TracePoint.new(:line) { loaded }
      @lines << lines
      begin
        return lines.enable(target: code, target_line: line) if line > 0
      rescue ArgumentError # Ruby sees no code there
        nil
      end
      lines.enable(target: code)
    rescue ArgumentError # nor anywhere: nothing will run
      nil
    end

    # compiled: a file is loaded. RubyGems evaluates its specifications.
    def compiled(path, trace)
      @sources << path
      trace(trace.instruction_sequence, Beginning.end_of(path)) unless reuse? || trace.eval_script || Ahead.own?(path)
    end

    # end_of_beginning takes all trace points away.
    def end_of_beginning
      [@compiled, @raised, @first, *@lines].each { |t| t.disable if t&.enabled? }
      Watch.stop
    end
  end
end
