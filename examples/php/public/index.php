<?php
// An application as it is written for PHP's own sessions. It knows nothing of
// Caddy, and runs as well without.
session_start();

switch ($_SERVER['REQUEST_METHOD'] . ' ' . ($_GET['do'] ?? '')) {
case 'POST in': // a real application checks a password
    session_regenerate_id(true);
    $_SESSION['user'] = $_POST['name'];
    header('Location: /', true, 303);
    exit;
case 'POST out':
    $_SESSION = [];
    session_destroy();
    header('Location: /', true, 303);
    exit;
}

$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
$user = htmlspecialchars($_SESSION['user'] ?? 'stranger');
$visits = $_SESSION['visits'];
$form = isset($_SESSION['user'])
    ? '<form method="post" action="?do=out"><button>Sign out</button></form>'
    : '<form method="post" action="?do=in"><label>Name <input name="name" required></label> <button>Sign in</button></form>';
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>PHP</title>
<h1>Hello, <?= $user ?>!</h1>
<p>Pages seen: <?= $visits ?></p>
<?= $form ?>

