#!/usr/bin/ruby
# What a form sent, as Ruby's cgi library understands it.
require 'cgi'
require 'digest'

cgi = CGI.new(accept_charset: 'UTF-8')
cookies = [CGI::Cookie.new('name' => 'seen', 'value' => 'now & "then"'), CGI::Cookie.new('name' => 'two', 'value' => '2')]
cgi.out('type' => 'text/plain', 'charset' => 'UTF-8', 'cookie' => cookies) do
  lines = ["method #{cgi.request_method}"]
  cgi.params.keys.sort.each do |name|
    cgi.params[name].each do |v|
      if v.respond_to?(:original_filename) && !v.original_filename.to_s.empty?
        v.rewind
        data = v.read.b
        lines << "file #{name} name=#{v.original_filename} type=#{v.content_type} size=#{data.bytesize} sha1=#{Digest::SHA1.hexdigest(data)}"
      else
        lines << "field #{name}=#{v.respond_to?(:read) ? v.read : v}"
      end
    end
  end
  cgi.cookies.keys.sort.each { |name| lines << "cookie #{name}=#{cgi.cookies[name].first}" }
  lines.map { |l| l.dup.force_encoding('UTF-8') + "\n" }.join
end
