#!/usr/bin/env perl
# A form that is sent back with POST: the body is on standard input, CONTENT_LENGTH octets of it.
use strict;
use warnings;

my %in;
if ($ENV{REQUEST_METHOD} eq 'POST') {
    read STDIN, my $body, $ENV{CONTENT_LENGTH} // 0;
    for my $pair (split /&/, $body) {
        my ($name, $value) = map { tr/+/ /; s/%([0-9A-Fa-f]{2})/chr hex $1/ger } split /=/, $pair, 2;
        $in{$name} = $value // '';
    }
}

# Whatever came from outside is escaped before it goes into HTML.
my $name = $in{name} // '';
$name =~ s/([&<>"])/'&#' . ord($1) . ';'/ge;

print "Content-Type: text/html; charset=utf-8\n\n";
print <<"END";
<!doctype html>
<meta charset="utf-8">
<title>A form</title>
<link rel="stylesheet" href="../style.css">
<h1>@{[$name ne '' ? "Hello, $name." : 'What is your name?']}</h1>
<form method="post">
<input name="name" value="$name" aria-label="Your name"> <button>Send</button>
</form>
<p>Perl $^V, process $$. <a href="../">Back</a>
END
