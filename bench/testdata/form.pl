#!/usr/bin/perl
# A contact form's answer, as CGI.pm scripts write it.
use strict;
use warnings;
use CGI;

my $q = CGI->new;
my @problems;
push @problems, 'no name'           unless ($q->param('name')  // '') =~ /\S/;
push @problems, 'no e-mail address' unless ($q->param('email') // '') =~ /^[^@\s]+@[^@\s]+\.\w+$/;

my @rows;
for my $field ($q->param) {
    for my $value ($q->multi_param($field)) {
        push @rows, sprintf "<tr><th>%s</th><td>%s</td></tr>\n", CGI::escapeHTML($field), CGI::escapeHTML($value);
    }
}

print $q->header(-type => 'text/html', -charset => 'utf-8');
print "<!DOCTYPE html>\n<html><head><title>Your message</title></head>\n<body>\n";
print @problems ? "<p>It was not sent: " . CGI::escapeHTML(join ', ', @problems) . "</p>\n" : "<p>Thank you!</p>\n";
print "<table>\n", @rows, "</table>\n";
print '<p>', scalar @rows, " values</p>\n</body></html>\n";
