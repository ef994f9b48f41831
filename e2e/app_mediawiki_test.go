package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var mediaWiki = webApp{
	name:     "MediaWiki",
	lines:    "pass wikiUser* UseDC UseCDNCache",
	start:    startMediaWiki,
	form:     "/index.php?title=Special:UserLogin",
	submit:   func(b *browser) bool { return mediaWikiSubmit(b, "Alice") },
	remember: "#wpRemember",
	signedIn: func(b *browser, origin string) bool { return mediaWikiUser(b, origin, "Alice") },
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(origin + "/index.php?title=Sandbox&action=edit")
			return b.submit("#wpSave", "#wpTextbox1", "Written at "+origin) && b.shows("Written at "+origin)
		}},
		{"scripts", func(b *browser, origin string) bool {
			return b.script(`mw.loader.using('mediawiki.api').then(() => new mw.Api().postWithToken('watch', {action: 'watch', titles: 'Sandbox'})).then(r => 'batchcomplete' in r, e => e)`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool { return mediaWikiSignOut(b) && !mediaWikiUser(b, origin, "Alice") }},
	},
}

func startMediaWiki(t *testing.T) string {
	t.Helper()
	const root = "/usr/share/mediawiki"
	need.File(t, root+"/index.php", "mediawiki")
	dir := t.TempDir()
	settings := filepath.Join(dir, "LocalSettings.php")
	php := need.Program(t, "php")
	ran(t, inFolder(dir, nil, php, root+"/maintenance/install.php", "--confpath="+dir, "--dbtype=sqlite", "--dbpath="+dir, "--dbname=wiki", "--scriptpath=",
		"--server=https://localhost", "--pass="+password, "--skins=Vector", "Wiki", "Alice"))
	// As if it had been installed at each of the addresses.
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, settings, strings.Replace(string(text), `$wgServer = "https://localhost"`, `$wgServer = "https://" . ($_SERVER['HTTP_HOST'] ?? 'localhost')`, 1), 0o600)
	ran(t, inFolder(dir, []string{"MW_CONFIG_FILE=" + settings}, php, root+"/maintenance/createAndPromote.php", "Bob", password))
	writeFile(t, dir+"/prepend.php", fmt.Sprintf("<?php define('MW_CONFIG_FILE', '%s');", settings), 0o600)
	addr := startPHP(t, need.Program(t, "php-cgi"), "-d", "auto_prepend_file="+dir+"/prepend.php")
	return fmt.Sprintf("root %s\nphp_fastcgi %s\nfile_server", root, addr)
}

func mediaWikiSubmit(b *browser, user string) bool {
	return b.submit("#wpLoginAttempt", "#wpName1", user, "#wpPassword1", password)
}

func mediaWikiSignOut(b *browser) bool {
	if !b.has("#pt-logout a") {
		return false
	}
	b.click("#pt-logout a")
	return true
}

// mediaWikiUser reports whether the main page is a user's.
func mediaWikiUser(b *browser, origin, user string) bool {
	b.open(origin + "/index.php?title=Main_Page")
	return b.has("#pt-userpage") && strings.Contains(b.script("document.querySelector('#pt-userpage').innerText"), user)
}

// TestMediaWikiInBrowserCaches goes through pages that the browser has cached. Each
// must be of the user whose it is without us.
func TestMediaWikiInBrowserCaches(t *testing.T) {
	s := serveWebApp(t, mediaWiki)
	b := browse(t, s.trust, "--disable-features=BackForwardCache") // which has pages as they were, whatever caches say
	var shown [2][]string
	for i, origin := range []string{s.origins[0], s.origins[2]} { // bare, keep *
		b.anew()
		user := func() string {
			if !b.has("#pt-userpage") {
				return "nobody"
			}
			return b.script("document.querySelector('#pt-userpage').innerText.trim()")
		}
		note := func(step string) { shown[i] = append(shown[i], step+": "+user()) }
		follow := func(pages ...string) {
			t.Helper()
			for _, page := range pages {
				b.open(origin + "/index.php?title=" + page)
				note(page)
			}
		}
		// read goes to and fro until the main page comes out of the browser's cache. That
		// may take a while: MediaWiki has cookies that last for ten seconds, and jobs that
		// change the page's time.
		read := func(who string) {
			t.Helper()
			follow("Main_Page", "Special:Version", "Main_Page")
			eventually(t, "the browser's cache is in use", func() bool {
				b.open(origin + "/index.php?title=Special:Version")
				b.open(origin + "/index.php?title=Main_Page")
				if got := user(); got != who {
					t.Fatalf("the page is that of %s, who is signed in is %s", got, who)
				}
				// 300: asked for, and not modified.
				return b.script("(e => e.transferSize > 0 && e.transferSize <= 300)(performance.getEntriesByType('navigation')[0])") == "true"
			})
		}
		signIn := func(user string) {
			t.Helper()
			b.open(origin + mediaWiki.form)
			if !mediaWikiSubmit(b, user) {
				t.Fatal("no sign-in")
			}
			note("signed in")
		}
		b.open(origin + "/index.php?title=Main_Page")
		note("first")
		signIn("Alice")
		read("Alice")
		follow("Special:Version", "Main_Page&uselang=en") // which nobody else opens until they go back to it
		if !mediaWikiSignOut(b) {
			t.Fatal("no sign-out")
		}
		note("signed out")
		read("nobody")
		for alice := false; !alice; note("back") {
			b.back()
			alice = b.script("location.search.includes('uselang')") == "true"
		}
		signIn("Bob")
		read("Bob")
	}
	if !slices.Equal(slices.Compact(shown[0]), slices.Compact(shown[1])) { // they need not go back as far
		t.Errorf("bare:\n%s\nkeep *:\n%s", strings.Join(shown[0], "\n"), strings.Join(shown[1], "\n"))
	}
	if !slices.Contains(shown[0], "signed out: nobody") || !slices.Contains(shown[0], "signed in: Bob") {
		t.Error("nobody signs out, or in again")
	}
}
