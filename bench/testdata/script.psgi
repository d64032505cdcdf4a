# The CGI script as a PSGI application: Plack compiles it once and calls it for each request.
use Plack::App::WrapCGI;
Plack::App::WrapCGI->new(script => $ENV{BENCH_SCRIPT})->to_app;
