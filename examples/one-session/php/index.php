<?php
// An application for PHP's own sessions. Nothing in it is about Caddy.
session_start();

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    switch (basename($_SERVER['REQUEST_URI'])) {
    case 'add':
        $item = $_POST['item'];
        $_SESSION['cart'][$item] = ($_SESSION['cart'][$item] ?? 0) + 1;
        break;
    case 'in': // a real application checks a password
        session_regenerate_id(true);
        $_SESSION['user'] = $_POST['user'];
        break;
    case 'out':
        session_destroy();
        break;
    }
    header('Location: ./', true, 303);
    exit;
}
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>PHP</title>
<link rel="stylesheet" href="../style.css">
<main>
  <h1>PHP</h1>
  <p><?= isset($_SESSION['user']) ? 'Hello, ' . htmlspecialchars($_SESSION['user']) . '!' : 'Nobody is signed in.' ?></p>
  <ul>
<?php foreach ($_SESSION['cart'] ?? [] as $item => $count): ?>
    <li><?= htmlspecialchars($item) ?> × <?= $count ?></li>
<?php endforeach ?>
  </ul>
  <form method="post" action="add"><label>Item <input name="item" value="tea" required></label> <button>Add</button></form>
<?php if (isset($_SESSION['user'])): ?>
  <form method="post" action="out"><button>Sign out</button></form>
<?php else: ?>
  <form method="post" action="in"><label>Name <input name="user" value="Alice" required></label> <button>Sign in</button></form>
<?php endif ?>
</main>
