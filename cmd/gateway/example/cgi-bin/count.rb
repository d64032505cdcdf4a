#!/usr/bin/env ruby
# A cookie that counts, with nothing but Ruby itself.
require "time"

count = ENV["HTTP_COOKIE"].to_s[/(?:\A|;\s*)count=(\d+)/, 1].to_i + 1

print <<~END
  Content-Type: text/html; charset=utf-8
  Set-Cookie: count=#{count}; Path=#{ENV["SCRIPT_NAME"]}; SameSite=Lax

  <!doctype html>
  <meta charset="utf-8">
  <title>A counter</title>
  <link rel="stylesheet" href="../style.css">
  <h1>You were here #{count} #{count == 1 ? "time" : "times"}.</h1>
  <p>Ruby #{RUBY_VERSION}, #{Time.now.httpdate}. <a href="">Again</a>, <a href="../">back</a>
END
