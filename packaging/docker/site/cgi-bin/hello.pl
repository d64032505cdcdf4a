#!/usr/bin/perl
print "Content-Type: text/plain\n\nHello from $$ on the script host.\n";
