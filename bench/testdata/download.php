<?php
// A download, as PHP scripts send one.
$file = __DIR__ . '/' . basename($_GET['file']);
header('Content-Type: application/octet-stream');
header('Content-Length: ' . filesize($file));
readfile($file);
