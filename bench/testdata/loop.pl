#!/usr/bin/perl
# A CGI script in a FastCGI loop, as people turn one into a FastCGI program: its body is
# compiled once, and called for each request. Usage: loop.pl SCRIPT [SOCKET PROCESSES]; without
# a socket, standard input is one (mod_fcgid).
use FCGI;

my ($script, $path, $processes) = @ARGV;
open my $file, '<', $script or die "$script: $!\n";
my $text = do { local $/; <$file> };
my $body = eval "package main; sub {\n#line 1 \"$script\"\n$text\n}" or die $@;

my $socket = 0;
if ($path) {
    $socket = FCGI::OpenSocket($path, 511);
    chmod 0666, $path;
    for (2 .. $processes) { last unless fork }
}
my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%ENV, $socket);
while ($request->Accept >= 0) {
    CGI::initialize_globals() if $INC{'CGI.pm'};
    $body->();
}
