<?php
// What a form sent, as PHP understands it.
header('Content-Type: text/plain; charset=UTF-8');
setcookie('seen', 'now & "then"');
setcookie('two', '2');
$method = $_SERVER['REQUEST_METHOD'];
echo "method $method\n";
$lines = [];
foreach ($method == 'POST' ? $_POST : $_GET as $name => $v) {
	if (is_array($v)) {
		foreach ($v as $one) $lines[$name . '[]'][] = "field {$name}[]=$one";
	} else {
		$lines[$name][] = "field $name=$v";
	}
}
foreach ($_FILES as $name => $f) {
	$show = is_array($f['name']) ? $name . '[]' : $name;
	foreach ((array)$f['name'] as $i => $file) {
		$tmp = ((array)$f['tmp_name'])[$i];
		$lines[$show][] = sprintf('file %s name=%s type=%s size=%d sha1=%s', $show, $file, ((array)$f['type'])[$i],
			((array)$f['size'])[$i], $tmp ? sha1_file($tmp) : 'error ' . ((array)$f['error'])[$i]);
	}
}
ksort($lines, SORT_STRING);
foreach ($lines as $some) foreach ($some as $line) echo "$line\n";
ksort($_COOKIE);
foreach ($_COOKIE as $name => $v) echo "cookie $name=$v\n";
