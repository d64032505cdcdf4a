<?php // Run by php-cgi, a process per request. ?>
<!doctype html>
<meta charset="utf-8">
<title>PHP</title>
<link rel="stylesheet" href="../style.css">
<h1>PHP <?= PHP_VERSION ?> as a CGI program</h1>
<table>
<?php foreach (['REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REMOTE_ADDR', 'SERVER_SOFTWARE'] as $name): ?>
<tr><td><?= $name ?><td><?= htmlspecialchars($_SERVER[$name] ?? '') ?>
<?php endforeach ?>
</table>
<p><a href="../">Back</a>
