#!/usr/bin/ruby
# A contact form's answer, with Ruby's cgi library.
require 'cgi'

def page(fields)
  problems = []
  problems << 'no name' unless fields['name'].first.to_s =~ /\S/
  problems << 'no e-mail address' unless fields['email'].first.to_s =~ /\A[^@\s]+@[^@\s]+\.\w+\z/
  rows = fields.flat_map do |name, values|
    values.map { |value| "<tr><th>#{CGI.escapeHTML(name)}</th><td>#{CGI.escapeHTML(value)}</td></tr>\n" }
  end
  said = problems.empty? ? 'Thank you!' : "It was not sent: #{CGI.escapeHTML(problems.join(', '))}"
  "<!DOCTYPE html>\n<html><head><title>Your message</title></head>\n<body>\n" \
    "<p>#{said}</p>\n<table>\n#{rows.join}</table>\n<p>#{rows.size} values</p>\n</body></html>\n"
end

if __FILE__ == $0
  cgi = CGI.new
  cgi.out('type' => 'text/html', 'charset' => 'utf-8') { page(cgi.params) }
end
