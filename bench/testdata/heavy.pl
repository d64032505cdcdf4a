#!/usr/bin/perl
# An order: a database, JSON, a template.
use strict;
use warnings;
use CGI;
use DBI;
use Digest::MD5 qw(md5_hex);
use HTML::Template;
use JSON::PP qw(decode_json encode_json);
use List::Util qw(sum0);
use POSIX qw(floor);

my $q = CGI->new;

# Prices are in thousandths.
my $db = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1, PrintError => 0 });
$db->do('CREATE TABLE item (name TEXT, price INTEGER, count INTEGER)');
my $insert = $db->prepare('INSERT INTO item VALUES (?, ?, ?)');
$insert->execute(@$_) for (['bolt', 120, 200], ['nut', 80, 200], ['washer <M8>', 35, 400], ['bracket', 4200, 12], ['drill & bits', 59900, 1]);
my $rows = $db->selectall_arrayref('SELECT name, price, count FROM item WHERE count >= ? ORDER BY name', { Slice => {} }, scalar $q->param('least') // 1);
$insert->finish;
$db->disconnect;

my $order = decode_json(encode_json({ number => scalar $q->param('order') // '?', items => $rows }));
my @items = map { { name => $_->{name}, count => $_->{count}, sum => sprintf('%.2f', $_->{price} * $_->{count} / 1000) } } @{ $order->{items} };
my $total = sum0(map { $_->{price} * $_->{count} } @{ $order->{items} });

my $page = HTML::Template->new(scalarref => \<<'END', default_escape => 'HTML', die_on_bad_params => 1);
<!DOCTYPE html>
<html><head><title>Order <TMPL_VAR number></title></head>
<body>
<p>For <TMPL_VAR customer>, reference <TMPL_VAR reference></p>
<table>
<TMPL_LOOP items><tr><td><TMPL_VAR name></td><td><TMPL_VAR count></td><td><TMPL_VAR sum></td></tr>
</TMPL_LOOP></table>
<p>Total <TMPL_VAR total>, with tax <TMPL_VAR gross></p>
</body></html>
END
$page->param(
    number    => $order->{number},
    customer  => scalar $q->param('name'),
    reference => md5_hex($order->{number}),
    items     => \@items,
    total     => sprintf('%.2f', $total / 1000),
    gross     => sprintf('%.2f', floor($total * 1.19 / 10 + 0.5) / 100),
);
print $q->header(-type => 'text/html', -charset => 'utf-8'), $page->output;
