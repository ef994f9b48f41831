<?php
// Prints which cookies there are: NAME=VALUE of each, both in hexadecimal, parted
// by spaces.
foreach ($_COOKIE as $name => $value) {
	echo bin2hex($name), '=', bin2hex(is_array($value) ? 'array' : $value), ' ';
}
