package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// redmine sets another cookie on each page: its session is in that.
var redmine = webApp{
	name:     "Redmine",
	start:    startRedmine,
	form:     "/login",
	submit:   func(b *browser) bool { return b.submit("#login-submit", "#username", "admin", "#password", password) },
	signedIn: redmineSignedIn,
	steps: []step{
		{"forms", func(b *browser, origin string) bool {
			b.open(origin + "/my/account")
			return b.submit("#my_account_form input[type=submit]", "#user_lastname", "At "+origin) && b.shows("Account was successfully updated.")
		}},
		{"scripts", func(b *browser, origin string) bool {
			b.open(origin + "/my/page")
			return b.script(`['/my/add_block', '/my/remove_block'].reduce((before, url) => before.then(() =>
				$.ajax({url, type: 'POST', data: {block: 'calendar'}, dataType: 'text'})), Promise.resolve()).then(() => true, e => e.status)`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(origin + "/my/page")
			return b.submit("a.logout") && !redmineSignedIn(b, origin)
		}},
	},
}

func redmineSignedIn(b *browser, origin string) bool {
	b.open(origin + "/")
	return b.has("a.logout")
}

func startRedmine(t *testing.T) string {
	t.Helper()
	const root = "/usr/share/redmine"
	need.File(t, root+"/config.ru", "redmine")
	dir := t.TempDir()
	for _, name := range []string{"config", "files", "log", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, dir+"/config/database.yml", fmt.Sprintf("production:\n  adapter: sqlite3\n  database: %s/db.sqlite3\n", dir), 0o600)
	writeFile(t, dir+"/config/secret_key.txt", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 0o600)
	writeFile(t, dir+"/setup.rb", fmt.Sprintf("user = User.find_by_login('admin')\nuser.password = '%s'\nuser.must_change_passwd = false\nuser.save!\n", password), 0o600)
	environment := []string{
		"REDMINE_INSTANCE=../../../.." + dir, // beside Debian's in /var/lib/redmine
		"REDMINE_LANG=en", "RAILS_ENV=production", "RAILS_SERVE_STATIC_FILES=1",
	}
	ran(t, inFolder(dir, environment, "/usr/bin/rake", "--rakefile", root+"/Rakefile", "db:migrate", "redmine:load_default_data"))
	ran(t, inFolder(dir, environment, root+"/bin/rails", "runner", dir+"/setup.rb"))
	addr := freeAddr(t)
	startServer(t, addr, inFolder(dir, environment, need.Program(t, "puma"), "-b", "tcp://"+addr, "-e", "production", "--dir", root))
	return "reverse_proxy " + addr
}
