#!/usr/bin/perl
# Writes a little, again and again, and never ends by itself.
$| = 1;
print "Content-Type: text/plain\n\n";
while (1) { print "tick\n" or exit; select undef, undef, undef, 0.05 }
