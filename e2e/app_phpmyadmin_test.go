package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var phpMyAdmin = webApp{
	name:  "phpMyAdmin",
	start: startPHPMyAdmin,
	form:  "/index.php",
	submit: func(b *browser) bool {
		return b.submit("#input_go", "#input_username", "root", "#input_password", password)
	},
	signedIn: phpMyAdminSignedIn,
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(origin + "/index.php?route=/server/databases")
			return b.has("#text_create_db")
		}},
		{"scripts", func(b *browser, origin string) bool {
			b.open(origin + "/index.php?route=/server/sql")
			return b.script(`fetch('index.php?route=/sql', {method: 'POST', body: new URLSearchParams({ajax_request: true,
				token: CommonParams.get('token'), server: CommonParams.get('server'), sql_query: 'SELECT 6*7'})}).then(r => r.text()).then(t => t.includes('42'))`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(origin + "/index.php")
			return b.submit("a.logout") && !phpMyAdminSignedIn(b, origin)
		}},
	},
}

func phpMyAdminSignedIn(b *browser, origin string) bool {
	b.open(origin + "/index.php?route=/")
	return b.has("#serverinfo, #server-breadcrumb")
}

func startPHPMyAdmin(t *testing.T) string {
	t.Helper()
	const root = "/usr/share/phpmyadmin"
	need.File(t, root+"/index.php", "phpmyadmin")
	socket := startMariaDB(t)
	dir := t.TempDir()
	mirror(t, root, dir, "libraries")
	if err := os.Mkdir(dir+"/libraries", 0o700); err != nil {
		t.Fatal(err)
	}
	mirror(t, root+"/libraries", dir+"/libraries", "vendor_config.php")
	writeFile(t, dir+"/libraries/vendor_config.php", fmt.Sprintf("<?php return ['configFile' => '%s/settings.php'] + require '%s/libraries/vendor_config.php';\n", dir, root), 0o600)
	writeFile(t, dir+"/settings.php", fmt.Sprintf(`<?php
$cfg['blowfish_secret'] = '0123456789abcdef0123456789abcdef';
$cfg['TempDir'] = '%s';
$cfg['SendErrorReports'] = 'never';
$cfg['VersionCheck'] = false;
$cfg['Servers'][1] = ['auth_type' => 'cookie', 'host' => 'localhost', 'socket' => '%s'];
`, dir, socket), 0o600)
	// Otherwise it finds itself, and its settings, where the links lead.
	writeFile(t, dir+"/prepend.php", fmt.Sprintf("<?php define('ROOT_PATH', '%s/');", dir), 0o600)
	addr := startPHP(t, need.Program(t, "php-cgi"), "-d", "session.save_path="+dir, "-d", "auto_prepend_file="+dir+"/prepend.php")
	return fmt.Sprintf("root %s\nphp_fastcgi %s\nfile_server", dir, addr)
}
