# What is loaded ahead of a request, and what it may read.
require 'rbconfig'

module WarmCGI
  # A request's variables. A library that looks at them while it is loaded is not safe to be warm.
  # Not every request has all of them, so there are more than the order names.
  REQUEST = /\A(?:QUERY_STRING|REQUEST_\w+|PATH_INFO|PATH_TRANSLATED|CONTENT_\w+|REMOTE_\w+|AUTH_TYPE|SCRIPT_NAME|SERVER_(?:NAME|PORT|PROTOCOL)|HTTPS|HTTP_\w+)\z/
  BY_NAME = %i[[] fetch key? has_key? include? member? values_at slice assoc delete []= store]
  WHOLE = %i[to_h to_hash to_a each each_pair map select filter reject find_all keys values each_key each_value sort sort_by
             inspect find any? all? count size length empty? group_by partition each_with_object reduce inject key
             filter_map flat_map except dup clone min_by max_by sum none? detect]

  # Watches the readers of ENV, while libraries are loaded.
  module Watch
    @read = {}
    class << self
      # read is what was read so far: names and values. A request with other values is not for this warm parent's workers.
      attr_reader :seen, :read, :before
      # variables are the names of a request's variables, as the order has them.
      attr_accessor :variables

      def note(name)
        value = @get.bind_call(ENV, name)
        @read[name] = value&.b unless @read.key?(name) || @before[name] != value # it has set it itself
      end

      # start watches. What is not to be read ahead of a request, is said to the block before it is read.
      def start(&said)
        return if @on

        @on = true
        @seen ||= []
        @before ||= ENV.to_h
        it = ENV.singleton_class
        @get ||= it.instance_method(:[])
        watch = self
        @own ||= (BY_NAME + WHOLE).select { |m| ENV.singleton_methods(false).include?(m) }.map { |m| [m, it.instance_method(m)] }
        @added ||= ((BY_NAME + WHOLE) - @own.map(&:first)).select { |m| ENV.respond_to?(m) }
        quietly do
          @own.each do |m, original|
            names = BY_NAME.include?(m)
            many = %i[values_at slice].include?(m)
            it.send(:define_method, m) do |*args, **opts, &block|
              if names
                watch.by_name(many ? args : args.first(1), said)
              else
                watch.whole(caller_locations(1, 1), said)
              end
              opts.empty? ? original.bind_call(ENV, *args, &block) : original.bind_call(ENV, *args, **opts, &block)
            end
          end
          @added.each do |m|
            it.send(:define_method, m) do |*args, &block|
              watch.whole(caller_locations(1, 1), said)
              super(*args, &block)
            end
          end
        end
      end

      def stop
        return unless @on

        @on = false
        it = ENV.singleton_class
        quietly do
          @added.each { |m| it.send(:remove_method, m) }
          @own.each { |m, original| it.send(:define_method, m, original) }
        end
      end

      def by_name(args, said)
        args.each do |n|
          next unless n.is_a?(String)

          request?(n) ? said.call("reads #{n} while it is loaded") : note(n)
        end
      end

      def request?(name)
        name.match?(REQUEST) || @variables.include?(name)
      end

      # whole: RubyGems and Bundler only want to put it back.
      def whole(from, said)
        return if from&.first && Ahead.own?(from.first.path) && from.first.path.match?(/rubygems|bundler/)

        said.call('reads the whole environment while it is loaded')
      end

      private

      def quietly
        old = $VERBOSE
        $VERBOSE = nil
        yield
      ensure
        $VERBOSE = old
      end
    end
  end

  module Ahead
    c = ::RbConfig::CONFIG
    LIBRARY = c.values_at('rubylibdir', 'rubyarchdir').compact.map { |f| "#{f}/" }
    FOLDERS = (LIBRARY + c.values_at('sitedir', 'vendordir').compact.map { |f| "#{f}/" } +
               (defined?(Gem) ? Gem.path.map { |p| "#{p}/gems/" } : [])).uniq
    GEMS = File.join(c['rubylibdir'], 'rubygems')
    # What a library may look at when it is loaded. It can't be loaded ahead of a script that sets it.
    SETS = /\bENV\s*(?:\[[^\]\n]*\]\s*(?:\|\|)?=[^=~]|\.(?:store|update|merge!|replace|delete|clear)\b)|default_(?:in|ex)ternal\s*=|\$(?:VERBOSE|DEBUG|KCODE)\s*=/n

    class << self
      # own? tells whether a file is Ruby's own or a gem's.
      def own?(file)
        file.start_with?('<internal:') || FOLDERS.any? { |f| file.start_with?(f) }
      end

      def gem?(file)
        own?(file) && LIBRARY.none? { |f| file.start_with?(f) }
      end

      # hints requires what workers have loaded. The last were loaded from outside, and load the others.
      def hints(files, script)
        sets = [script, *files.reject { |f| own?(f) }].any? { |f| File.file?(f) && File.binread(f).match?(SETS) }
        files.reverse_each do |file|
          next if !own?(file) || $LOADED_FEATURES.include?(file) || file.start_with?(GEMS) || !File.file?(file)
          next if sets && gem?(file)

          require file
        end
      end

      # callers tells whether a library that was loaded meanwhile has asked who calls it: that is the runner.
      def callers?
        asked = false
        originals = %i[caller caller_locations].map { |m| [m, Kernel.instance_method(m)] }
        replace(originals) do |original, object, arguments|
          from = originals[1][1].bind_call(self, 1).find { |l| l.path != __FILE__ }&.path.to_s
          asked = true unless from.start_with?('<internal:') || LIBRARY.any? { |f| from.start_with?(f) }
          original.bind_call(object, *arguments)
        end
        yield
        asked
      ensure
        replace(originals)
      end

      private

      def replace(originals, &by)
        verbose, $VERBOSE = $VERBOSE, nil
        originals.each do |m, original|
          by ? Kernel.define_method(m) { |*arguments| by.call(original, self, arguments) } : Kernel.define_method(m, original)
          Kernel.send(:private, m)
        end
      ensure
        $VERBOSE = verbose
      end
    end
  end
end
