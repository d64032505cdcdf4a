#!/usr/bin/perl
# Reads what was sent, and answers how much it is, and the sum of its 32-bit words.
use strict;
use warnings;

binmode STDIN;
my $body = '';
while (length $body < $ENV{CONTENT_LENGTH}) {
    read STDIN, $body, $ENV{CONTENT_LENGTH} - length $body, length $body or last;
}
print "Content-Type: text/plain\n\n", length $body, ' octets, sum ', unpack('%32V*', $body), "\n";
