package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var adminer = webApp{
	name:  "Adminer",
	start: startAdminer,
	form:  "/?sqlite=",
	submit: func(b *browser) bool {
		return b.submit("input[type=submit]", "[name='auth[username]']", "alice", "[name='auth[password]']", password, "[name='auth[db]']", "adminer.sqlite")
	},
	signedIn: adminerSignedIn,
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(adminerPage(origin) + "&sql=")
			return b.submit("input[type=submit][value=Execute]", "textarea[name=query]", "SELECT 6*7 AS answer") && b.shows("42")
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(adminerPage(origin))
			return b.submit("#logout") && !adminerSignedIn(b, origin)
		}},
	},
}

func adminerPage(origin string) string { return origin + "/?sqlite=&username=alice&db=adminer.sqlite" }

func adminerSignedIn(b *browser, origin string) bool {
	b.open(adminerPage(origin))
	return b.has("#logout")
}

func startAdminer(t *testing.T) string {
	t.Helper()
	const root = "/usr/share/adminer"
	need.File(t, root+"/adminer.php", "adminer")
	dir := t.TempDir()
	// As its manual has it for databases that have no passwords.
	writeFile(t, filepath.Join(dir, "index.php"), fmt.Sprintf(`<?php
function adminer_object() {
	class WithPassword extends Adminer {
		function login($login, $password) { return $password == '%s'; }
		function credentials() { return ['', '', '']; }
	}
	return new WithPassword;
}
chdir('%s');
include '%s/adminer.php';
`, password, dir, root), 0o600)
	writeFile(t, filepath.Join(dir, "adminer.sqlite"), "", 0o600)
	addr := startPHP(t, need.Program(t, "php-cgi"), "-d", "session.save_path="+dir, "-d", "sys_temp_dir="+dir)
	return fmt.Sprintf("root %s\nphp_fastcgi %s", dir, addr)
}
