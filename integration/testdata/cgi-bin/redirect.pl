#!/usr/bin/perl -w
# Redirects of each kind, by CGI.pm.
use strict;
use CGI;

my $q = CGI->new;
my $to = $q->param('to') // '';
if ($q->param('cookie')) {
	print $q->redirect(-uri => $to, -cookie => $q->cookie(-name => 'left', -value => 'here'));
} elsif ($q->param('status')) {
	print $q->redirect(-uri => $to, -status => scalar $q->param('status'));
} else {
	print $q->redirect($to);
}
