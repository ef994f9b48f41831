package e2e

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// wikiRoot is where Debian installs DokuWiki.
const wikiRoot = "/usr/share/dokuwiki"

// dokuwiki starts DokuWiki as Debian ships it, unchanged, with configuration and
// data of its own and a user alice, and returns the address of its FastCGI server.
// Each script runs these lines of PHP first.
func dokuwiki(t *testing.T, lines ...string) string {
	t.Helper()
	path := need.Program(t, "php-cgi")
	if _, err := os.Stat(wikiRoot + "/doku.php"); err != nil {
		need.Missing(t, "dokuwiki")
	}
	dir := t.TempDir()
	for _, name := range []string{"conf", "sessions", "data/pages", "data/attic", "data/media", "data/media_attic", "data/media_meta",
		"data/meta", "data/cache", "data/index", "data/locks", "data/tmp", "data/log"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"prepend.php":         fmt.Sprintf("<?php define('DOKU_CONF', '%s/conf/'); %s", dir, strings.Join(lines, " ")),
		"conf/local.php":      fmt.Sprintf("<?php $conf['title'] = 'A wiki'; $conf['savedir'] = '%s/data'; $conf['useacl'] = 1; $conf['superuser'] = 'alice'; $conf['updatecheck'] = 0;", dir),
		"conf/users.auth.php": fmt.Sprintf("alice:%x:Alice:alice@example.com:admin,user\n", md5.Sum([]byte("secret"))),
		"conf/acl.auth.php":   "*\t@ALL\t1\n*\t@user\t8\n",
	} {
		writeFile(t, filepath.Join(dir, name), text, 0o600)
	}
	// What is not set is as Debian has it.
	for _, pattern := range []string{"*.conf", "dokuwiki.php", "license.php", "mediameta.php", "plugins*.php", "manifest.json"} {
		files, err := filepath.Glob("/etc/dokuwiki/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := os.Symlink(file, filepath.Join(dir, "conf", filepath.Base(file))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return startPHP(t, path, "-d", "auto_prepend_file="+dir+"/prepend.php", "-d", "session.save_path="+dir+"/sessions")
}

// TestDokuWiki keeps all cookies of a real application and uses it with a real
// browser: signing in, editing, signing out; and ends the session in the store.
func TestDokuWiki(t *testing.T) {
	addr := dokuwiki(t)
	redis := redistest.Start(t)
	s := serve(t, inRedis(redis), fmt.Sprintf("session {\n\tcookies {\n\t\tkeep *\n\t}\n}\nroot %s\nphp_fastcgi %s\nfile_server", wikiRoot, addr))
	b := browse(t)
	wiki := "http://" + s.addr + "/doku.php?id="
	says := func(what, want string, signedIn bool) {
		t.Helper()
		text := b.script("document.body.innerText")
		if !strings.Contains(text, want) || strings.Contains(text, "Logged in as: Alice") != signedIn {
			t.Fatalf("%s: %s", what, text)
		}
		cookies := b.cookies()
		var names []string
		for _, c := range cookies {
			names = append(names, c.Name)
		}
		t.Logf("%s: the browser has the cookies %q, scripts see %q", what, names, b.script("document.cookie"))
		if len(cookies) != 1 || cookies[0].Name != "csid" || !cookies[0].HTTPOnly || cookies[0].SameSite != "Lax" {
			t.Errorf("%s: the browser has %+v", what, cookies)
		}
		if seen := b.script("document.cookie"); seen != "" {
			t.Errorf("%s: scripts see %q", what, seen)
		}
	}
	signIn := func() {
		t.Helper()
		b.open(wiki + "start&do=login")
		b.fill("#dw__login input[name=u]", "alice")
		b.fill("#dw__login input[name=p]", "secret")
		b.click("#dw__login button[type=submit]")
	}

	b.open(wiki + "start")
	says("anonymous", "Log In", false)
	signIn()
	says("signed in", "Log Out", true)
	b.screenshot(t, "signed-in")

	b.open(wiki + "playground&do=edit")
	b.fill("#wiki__text", "====== A page ======\n\nWritten by Alice in a browser.")
	b.click("#edbtn__save")
	says("edited", "Written by Alice in a browser.", true)
	b.screenshot(t, "edited")
	b.open(wiki + "playground")
	says("read again", "Written by Alice in a browser.", true)

	// An operator ends the session.
	id := sessionID("csid=" + b.cookies()[0].Value)
	redisDo(t, redis, "DEL", "session:"+id)
	b.open(wiki + "playground")
	says("revoked", "Written by Alice in a browser.", false)
	b.screenshot(t, "revoked")
	b.open(wiki + "playground&do=edit")
	if b.script("document.querySelector('#edbtn__save') === null") != "true" {
		t.Error("who is signed out can still edit")
	}

	signIn()
	says("signed in again", "Log Out", true)
	b.click("a[href*='do=logout']")
	says("signed out", "Log In", false)
	b.open(wiki + "playground")
	says("signed out, another page", "Written by Alice in a browser.", false)

	// What a thief takes from elsewhere is worth nothing here.
	if r := s.get("/doku.php?id=start", "DokuWiki=0123456789abcdef0123456789"); r.StatusCode != http.StatusOK || strings.Contains(r.body, "Alice") || strings.Contains(r.raw, "Set-Cookie: DokuWiki") {
		t.Errorf("a planted id: %q", r.raw)
	}
}
