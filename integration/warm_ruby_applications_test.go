//go:build linux

package integration

import (
	"path/filepath"
	"testing"
)

// sinatraApp is an application of Sinatra's classic kind: it finds its views by who requires the library.
const sinatraApp = `#!/usr/bin/ruby
ENV['RACK_ENV'] = 'production'
require 'sinatra'
set :run, false
get('/') { "root #{settings.app_file == __FILE__} #{settings.views} #{settings.environment}" }
get('/view/:name') { erb :hello, locals: {name: params['name']} }
post('/form') { content_type :text; params.sort.inspect + request.env['SCRIPT_NAME'] }
get('/file') { headers 'X-Thing' => 'é'; etag 'x'; last_modified Time.at(0); 'file' }
get('/stop') { halt 418, 'teapot' }
get('/away') { redirect to('/') }
get('/fails') { raise 'failed' }
get('/stream') { stream { |out| 3.times { |i| out << "line #{i}\n" } } }
not_found { 'nothing at ' + request.path_info }
Rack::Handler::CGI.run Sinatra::Application
`

func TestSinatraAnswersAlikeWarm(t *testing.T) {
	needs(t, "sinatra")
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "app", "app.cgi"), sinatraApp, 0o755)
	writeFile(t, filepath.Join(dir, "app", "views", "layout.erb"), "<html><%= yield %></html>\n", 0o644)
	writeFile(t, filepath.Join(dir, "app", "views", "hello.erb"), "<p>Hello <%= Rack::Utils.escape_html(name) %>\n", 0o644)
	s := newSides(t, dir, "warm", "  - {path: /app, cgi: {program: @DIR@/app/app.cgi}, env: {LANG: C.UTF-8}, mode: @MODE@}\n")
	s.warmUp(t, "/app/")
	form := request{method: "POST", path: "/app/form?q=1", body: "a=1&b=%C3%A9&c[]=2", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}
	all := append(gets("/app/", "/app", "/app/view/Zo%C3%AB", "/app/view/%3Cb%3E?x=y", "/app/file", "/app/stop", "/app/away", "/app/stream", "/app/no/such", "/app/?a+b"), form)
	s.assertSame(t, all...)
	s.assertSame(t, all...) // by another warm parent, perhaps: one that loads more ahead
}

// rackApp keeps its application in a file of its own, as rackup does.
const rackApp = `#!/usr/bin/env ruby
require 'rack'
app, = Rack::Builder.parse_file(File.expand_path('../config.ru', __FILE__))
Rack::Handler::CGI.run(app)
`

const rackConfig = `require 'json'
use Rack::ETag
use Rack::ConditionalGet
use Rack::Session::Cookie, secret: 'x' * 64
map('/json') do
  run lambda { |env|
    q = Rack::Request.new(env)
    q.session['n'] = q.params['n'] if q.params['n']
    [200, {'Content-Type' => 'application/json'}, [JSON.generate(params: q.params, session: q.session['n'], script: q.script_name, path: q.path_info, file: __FILE__)]]
  }
end
map('/echo') { run ->(env) { [200, {'Content-Type' => 'application/octet-stream'}, [env['rack.input'].read]] } }
map('/') { run ->(env) { [404, {'Content-Type' => 'text/plain', 'Set-Cookie' => "a=1\nb=2"}, ["no #{env['PATH_INFO']}"]] } }
`

func TestRackAnswersAlikeInAllModes(t *testing.T) {
	needs(t, "sinatra") // it comes with Rack
	for _, mode := range []string{"warm", "reuse"} {
		t.Run(mode, func(t *testing.T) {
			dir := tempDir(t)
			writeFile(t, filepath.Join(dir, "app", "app.cgi"), rackApp, 0o755)
			writeFile(t, filepath.Join(dir, "app", "config.ru"), rackConfig, 0o644)
			s := newSides(t, dir, mode, "  - {path: /app, cgi: {program: @DIR@/app/app.cgi}, env: {LANG: C.UTF-8}, mode: @MODE@}\n")
			s.warmUp(t, "/app/")
			all := append(gets("/app/", "/app", "/app/json", "/app/json?a=1&b[]=2", "/app/json/more/path?x=%E3%81%82", "/app/none?q"),
				request{method: "POST", path: "/app/echo", body: "raw \xff\x00 octets", header: map[string]string{"Content-Type": "application/octet-stream"}},
				request{method: "POST", path: "/app/json", body: "a=1&b=2", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}})
			for range 4 { // the warm parent learns what it can load ahead
				s.assertSame(t, all...)
			}
		})
	}
}
