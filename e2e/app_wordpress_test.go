package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var wordPress = webApp{
	name:     "WordPress",
	lines:    "pass wp-settings-*",
	start:    startWordPress,
	form:     "/wp-login.php",
	submit:   func(b *browser) bool { return b.submit("#wp-submit", "#user_login", "alice", "#user_pass", password) },
	remember: "#rememberme",
	signedIn: wordPressSignedIn,
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(origin + "/wp-admin/options-general.php")
			return b.submit("#submit", "#blogdescription", "Written at "+origin) && b.shows("Settings saved.")
		}},
		{"scripts", func(b *browser, origin string) bool {
			// Scripts fold the menu by a cookie, and the server writes the page accordingly.
			b.open(origin + "/wp-admin/")
			const folded = `fetch('/wp-admin/').then(r => r.text()).then(t => / folded[ "]/.test(t))`
			before := b.script(folded)
			b.script("setUserSetting('mfold', " + map[string]string{"true": "'o'", "false": "'f'"}[before] + ")")
			return b.script(folded) != before
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(origin + "/wp-admin/")
			return b.submit("#wp-admin-bar-logout a") && !wordPressSignedIn(b, origin)
		}},
	},
}

func wordPressSignedIn(b *browser, origin string) bool {
	b.open(origin + "/wp-admin/")
	return b.has("#wpadminbar")
}

func startWordPress(t *testing.T) string {
	t.Helper()
	const root = "/usr/share/wordpress"
	need.File(t, root+"/wp-load.php", "wordpress")
	socket := startMariaDB(t)
	dir := t.TempDir()
	mirror(t, root, dir, "wp-config.php")
	writeFile(t, dir+"/wp-config.php", fmt.Sprintf(`<?php
define('DB_NAME', 'test');
define('DB_USER', 'root');
define('DB_PASSWORD', '%s');
define('DB_HOST', 'localhost:%s');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HOME', 'https://' . ($_SERVER['HTTP_HOST'] ?? 'localhost'));
define('WP_SITEURL', WP_HOME);
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $name) {
	define($name . '_KEY', 'a key, for tests, of ' . $name);
	define($name . '_SALT', 'salt, for tests, of ' . $name);
}
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
`, password, socket), 0o600)
	// Otherwise it finds itself, and its settings, where the links lead.
	writeFile(t, dir+"/prepend.php", fmt.Sprintf("<?php define('ABSPATH', '%s/');", dir), 0o600)
	writeFile(t, dir+"/install.php", fmt.Sprintf(`<?php
define('WP_INSTALLING', true);
require ABSPATH . 'wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('A blog', 'alice', 'alice@example.com', false, '', '%s');
`, password), 0o600)
	ran(t, inFolder(dir, nil, need.Program(t, "php"), "-d", "auto_prepend_file="+dir+"/prepend.php", "-d", "sendmail_path=true", dir+"/install.php"))
	addr := startPHP(t, need.Program(t, "php-cgi"), "-d", "auto_prepend_file="+dir+"/prepend.php")
	return fmt.Sprintf("root %s\nphp_fastcgi %s\nfile_server", dir, addr)
}

// startMariaDB starts a server with an empty database, test, and returns its
// socket. The user root has the password that all users of applications have.
func startMariaDB(t *testing.T) (socket string) {
	t.Helper()
	install, server := need.Program(t, "mariadb-install-db"), need.Program(t, "mariadbd")
	dir := t.TempDir()
	socket = dir + "/s"
	options := []string{"--no-defaults", "--datadir=" + dir + "/data"}
	if os.Getuid() == 0 {
		options = append(options, "--user=root") // it does not run as root unless told to
	}
	ran(t, inFolder(dir, nil, install, append(options, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")...))
	writeFile(t, dir+"/init.sql", fmt.Sprintf("CREATE DATABASE test;\nALTER USER root@localhost IDENTIFIED BY '%s';\n", password), 0o600)
	startServer(t, socket, inFolder(dir, nil, server, append(options, "--socket="+socket, "--skip-networking",
		"--pid-file="+dir+"/pid", "--init-file="+dir+"/init.sql", "--innodb-flush-log-at-trx-commit=0")...))
	return socket
}
