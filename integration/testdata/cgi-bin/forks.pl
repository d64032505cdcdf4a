#!/usr/bin/perl
# Leaves 50 children behind: "quiet" ones, ones that hold standard output ("loud"),
# or a "daemon", which leaves the process group.
use strict;
use POSIX;
$| = 1;
print "Content-Type: text/plain\n\nbegun\n";
for (1 .. ($ENV{QUERY_STRING} eq 'daemon' ? 1 : 50)) {
	my $pid = fork;
	next if $pid;
	if ($ENV{QUERY_STRING} ne 'loud') {
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
	}
	POSIX::setsid() if $ENV{QUERY_STRING} eq 'daemon';
	$SIG{TERM} = 'IGNORE' if $_ % 10 == 0;
	sleep 300;
	exit;
}
print "forked\n";
