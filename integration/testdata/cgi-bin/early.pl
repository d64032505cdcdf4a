#!/usr/bin/perl
# Begins its answer before it reads its request, as git http-backend does.
use strict;
use Digest::SHA;
$| = 1;
print "Content-Type: text/plain\n\nbegun\n";
select undef, undef, undef, 0.3;
print Digest::SHA->new(1)->addfile(*STDIN)->hexdigest, "\n";
