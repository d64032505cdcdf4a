#!/usr/bin/perl
# One event at once, and then one whenever the file in QUERY_STRING has grown a line.
use strict;
$| = 1;
print "Content-Type: text/event-stream\n\n", "data: 0\n\n";
my ($file, $n) = ($ENV{QUERY_STRING}, 0);
while ($n < 2) {
	select undef, undef, undef, 0.01;
	print 'data: ', ++$n, "\n\n" if (-s $file || 0) > $n;
}
