#!/usr/bin/perl -w
# What a form sent, as CGI.pm understands it: the fields in the order of their names.
use strict;
use CGI;
use Digest::SHA;

my $q = CGI->new;
print $q->header(-type => 'text/plain', -charset => 'UTF-8',
	-cookie => [$q->cookie(-name => 'seen', -value => 'now & "then"'), $q->cookie(-name => 'two', -value => '2')]);
print 'method ', $q->request_method, "\n";
print 'error ', $q->cgi_error, "\n" if $q->cgi_error;
for my $name (sort $q->multi_param) {
	if (my @handles = $q->upload($name)) {
		my @names = $q->multi_param($name);
		for my $h (@handles) {
			binmode $h;
			my $sha = Digest::SHA->new(1)->addfile($h);
			printf "file %s name=%s type=%s size=%d sha1=%s\n", $name, shift @names,
				$q->uploadInfo($h)->{'Content-Type'}, -s $h, $sha->hexdigest;
		}
	} else {
		print "field $name=$_\n" for $q->multi_param($name);
	}
}
for my $name (sort $q->cookie) { print "cookie $name=", scalar $q->cookie($name), "\n" }
