#!/usr/bin/ruby
# An order: a database, JSON, a template.
require 'cgi'
require 'digest/md5'
require 'erb'
require 'json'
require 'sqlite3'

# Prices are in thousandths.
ITEMS = [['bolt', 120, 200], ['nut', 80, 200], ['washer <M8>', 35, 400], ['bracket', 4200, 12], ['drill & bits', 59_900, 1]].freeze

TEMPLATE = <<~END
  <!DOCTYPE html>
  <html><head><title>Order <%= h number %></title></head>
  <body>
  <p>For <%= h customer %>, reference <%= reference %></p>
  <table>
  <% items.each do |item| -%>
  <tr><td><%= h item['name'] %></td><td><%= item['count'] %></td><td><%= format('%.2f', item['price'] * item['count'] / 1000.0) %></td></tr>
  <% end -%>
  </table>
  <p>Total <%= format('%.2f', total / 1000.0) %>, with tax <%= format('%.2f', (total * 1.19 / 10).round / 100.0) %></p>
  </body></html>
END

def h(text) = CGI.escapeHTML(text.to_s)

def rows(least)
  db = SQLite3::Database.new(':memory:', results_as_hash: true)
  db.execute('CREATE TABLE item (name TEXT, price INTEGER, count INTEGER)')
  ITEMS.each { |item| db.execute('INSERT INTO item VALUES (?, ?, ?)', item) }
  db.execute('SELECT name, price, count FROM item WHERE count >= ? ORDER BY name', [least.to_i])
ensure
  db.close
end

def page(fields)
  order = JSON.parse(JSON.generate('number' => fields['order'].first, 'items' => rows(fields['least'].first)))
  number, items = order.values_at('number', 'items')
  customer = fields['name'].first
  reference = Digest::MD5.hexdigest(number)
  total = items.sum { |item| item['price'] * item['count'] }
  ERB.new(TEMPLATE, trim_mode: '-').result(binding)
end

if __FILE__ == $0
  cgi = CGI.new
  cgi.out('type' => 'text/html', 'charset' => 'utf-8') { page(cgi.params) }
end
