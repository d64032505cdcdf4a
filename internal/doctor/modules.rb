# Prints the libraries that a script requires at its top and that are not to be found.
File.foreach(ARGV[0], encoding: 'BINARY') do |line|
  break if line.start_with?('__END__') || line.match?(/LOAD_PATH|\$:|bundler/)
  name = line[/\Arequire\s*\(?\s*['"]([\w\-][\w\/\-.]*)['"]/n, 1] or next
  known = $LOADED_FEATURES.any? { |f| f == name || f.start_with?("#{name}.") }
  puts name unless known || $LOAD_PATH.resolve_feature_path(name) || Gem::Specification.find_by_path(name)
end
