<?php
// A contact form's answer, as PHP scripts write it.
$problems = [];
if (trim($_GET['name'] ?? '') === '') {
    $problems[] = 'no name';
}
if (!preg_match('/^[^@\s]+@[^@\s]+\.\w+$/', $_GET['email'] ?? '')) {
    $problems[] = 'no e-mail address';
}
$rows = [];
foreach ($_GET as $field => $values) {
    foreach ((array) $values as $value) {
        $rows[] = '<tr><th>' . htmlspecialchars($field) . '</th><td>' . htmlspecialchars($value) . "</td></tr>\n";
    }
}
header('Content-Type: text/html; charset=utf-8');
?>
<!DOCTYPE html>
<html><head><title>Your message</title></head>
<body>
<?php if ($problems): ?>
<p>It was not sent: <?= htmlspecialchars(implode(', ', $problems)) ?></p>
<?php else: ?>
<p>Thank you!</p>
<?php endif ?>
<table>
<?= implode('', $rows) ?>
</table>
<p><?= count($rows) ?> values</p>
</body></html>
