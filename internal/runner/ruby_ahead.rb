# Loads what the script will require, before it runs.
module WarmCGI
  # A request's variables. A library that looks at them while it is loaded is not safe to be warm.
  # Not every request has all of them, so there are more than the order names.
  REQUEST = /\A(?:QUERY_STRING|REQUEST_\w+|PATH_INFO|PATH_TRANSLATED|CONTENT_\w+|REMOTE_\w+|AUTH_TYPE|SCRIPT_NAME|SERVER_(?:NAME|PORT|PROTOCOL)|HTTPS|HTTP_\w+)\z/
  BY_NAME = %i[[] fetch key? has_key? include? member? values_at slice assoc delete []= store]
  WHOLE = %i[to_h to_hash to_a each each_pair map select filter reject find_all keys values each_key each_value sort sort_by
             inspect find any? all? count size length empty? group_by partition each_with_object reduce inject key
             filter_map flat_map except dup clone min_by max_by sum none? detect]

  # Watches the readers of ENV.
  module Watch
    class << self
      attr_reader :seen

      # variables are the names of a request's variables, as the order has them.
      def start(variables)
        @seen = []
        seen = @seen
        it = ENV.singleton_class
        @own = (BY_NAME + WHOLE).select { |m| ENV.singleton_methods(false).include?(m) }.map { |m| [m, it.instance_method(m)] }
        inherited = (BY_NAME + WHOLE) - @own.map(&:first)
        @added = inherited.select { |m| ENV.respond_to?(m) }
        old = $VERBOSE
        $VERBOSE = nil
        @own.each do |m, original|
          names = BY_NAME.include?(m)
          it.send(:define_method, m) do |*args, **opts, &block|
            if names
              args.each { |n| seen << "reads #{n} while it is loaded" if n.is_a?(String) && (n.match?(REQUEST) || variables.include?(n)) }
            else
              from = caller_locations(1, 1)&.first&.path
              seen << 'reads the whole environment while it is loaded' unless from && Ahead.own?(from)
            end
            opts.empty? ? original.bind(ENV).call(*args, &block) : original.bind(ENV).call(*args, **opts, &block)
          end
        end
        @added.each do |m|
          it.send(:define_method, m) do |*args, &block|
            from = caller_locations(1, 1)&.first&.path
            seen << 'reads the whole environment while it is loaded' unless from && Ahead.own?(from)
            super(*args, &block)
          end
        end
        $VERBOSE = old
      end

      def stop
        it = ENV.singleton_class
        old = $VERBOSE
        $VERBOSE = nil
        @added.each { |m| it.send(:remove_method, m) }
        @own.each { |m, original| it.send(:define_method, m, original) }
        $VERBOSE = old
      end
    end
  end

  module Ahead
    c = RbConfig::CONFIG
    FOLDERS = (%w[rubylibdir rubyarchdir sitedir vendordir].map { |n| c[n] } +
               (defined?(Gem) ? Gem.path.map { |p| "#{p}/gems" } : [])).compact.uniq.map { |f| "#{f}/" }
    GEMS = File.join(c['rubylibdir'], 'rubygems')
    # What may decide which file a require finds, or what a library does when it is loaded.
    SETTING = %i[$: $LOAD_PATH $-I $" $LOADED_FEATURES $VERBOSE $DEBUG $-w $-v $stdout $stderr $stdin $> $; $, $/ $\\ $-0 $-F]
    QUIET = %i[puts print p printf warn srand]
    HARMLESS = %i[STR LIT TRUE FALSE NIL LIST ZLIST SYM INTEGER FLOAT RATIONAL IMAGINARY ARRAY BLOCK BEGIN DSTR EVSTR LVAR DVAR]

    class << self
      # own? tells whether a file is Ruby's own or a gem's.
      def own?(file)
        file.start_with?('<internal:') || FOLDERS.any? { |f| file.start_with?(f) }
      end

      # script requires what the script is certain to require first, and in the same way.
      def script(path)
        return unless defined?(RubyVM::AbstractSyntaxTree)

        quiet { tops(RubyVM::AbstractSyntaxTree.parse(File.read(path))) }.each do |node|
          break unless statement(node, path)
        end
      rescue Exception # a syntax error is shown by Ruby itself
        nil
      end

      # hints requires what workers have loaded. The last were loaded from outside, and load the others.
      def hints(files)
        files.reverse_each do |file|
          next if !own?(file) || $LOADED_FEATURES.include?(file) || file.start_with?(GEMS)

          begin
            require file
          rescue Exception
            nil
          end
        end
      end

      private

      def quiet
        old = $VERBOSE
        $VERBOSE = nil
        yield
      ensure
        $VERBOSE = old
      end

      def tops(node)
        body = node.type == :SCOPE ? node.children[2] : node
        return [] unless body

        body.type == :BLOCK ? body.children : [body]
      end

      # statement says whether to go on behind it.
      def statement(node, path)
        return true if node.nil?

        case node.type
        when :FCALL
          name, args = node.children
          if %i[require require_relative].include?(name)
            text = literal(args) or return false
            return false if name == :require_relative && !text
            load_it(name, text, path)
          else
            QUIET.include?(name) && harmless?(args)
          end
        when :LASGN, :DASGN
          harmless?(node.children[1])
        when :BEGIN, :BLOCK
          node.children.all? { |n| statement(n, path) }
        else
          HARMLESS.include?(node.type) && harmless?(node)
        end
      end

      def literal(args)
        one = args.children.compact
        one.size == 1 && one[0].type == :STR ? one[0].children[0] : nil
      end

      def harmless?(node)
        !node.is_a?(RubyVM::AbstractSyntaxTree::Node) || HARMLESS.include?(node.type) && node.children.all? { |c| harmless?(c) }
      end

      def load_it(name, text, path)
        name == :require ? require(text) : require(File.expand_path(text, File.dirname(File.realpath(path))))
        true
      rescue Exception
        false
      end
    end
  end
end
