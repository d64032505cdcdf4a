# The Ruby script as a Rack application: the same function answers.
require ENV.fetch('BENCH_SCRIPT')

run(lambda do |env|
  [200, { 'Content-Type' => 'text/html; charset=utf-8' }, [page(CGI.parse(env['QUERY_STRING']))]]
end)
