<?php
// Prints which cookies there are: NAME=VALUE of each, both in hexadecimal, parted
// by spaces. The value of an array is all values in it.
foreach ($_COOKIE as $name => $value) {
	$values = [$value];
	$text = '';
	array_walk_recursive($values, function ($one) use (&$text) { $text .= $one; });
	echo bin2hex($name), '=', bin2hex($text), ' ';
}
