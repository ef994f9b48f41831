package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// What `caddy session check` finds in a Caddyfile, each beside one that differs
// little and has nothing wrong.
func TestCheck(t *testing.T) {
	full := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	good := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")
	site := func(address, lines string) string {
		return "{\n" + storeOption("memory") + "\n}\n" + address + " {\n" + lines + "\n}\n"
	}
	const proxy = "\nreverse_proxy 127.0.0.1:9"
	redis := func(address string) string {
		return "{\n\tsession {\n\t\tstore redis " + address + "\n\t}\n}\napp.example.com {\n\tsession\n}\n"
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	for _, test := range []struct {
		what, bad string
		want      []string // parts of the only finding
		good      string
	}{
		{"a matcher", site("app.example.com", "@m session user\nrespond @m hello"),
			[]string{file + ":", "a session matcher", "site: app.example.com", "write session into the site"},
			site("app.example.com", "session\n@m session user\nrespond @m hello")},
		{"a directive", site("app.example.com", "session_destroy /logout"),
			[]string{file + ":", "session_destroy", "route: /logout"},
			site("app.example.com", "session\nsession_destroy /logout")},
		{"a proxy beside it", site("app.example.com", "handle /a {\nsession"+proxy+"\n}\nhandle {"+proxy+"\n}"),
			[]string{"reaches an application without session", "application: 127.0.0.1:9"},
			site("app.example.com", "session\nhandle /a {"+proxy+"\n}\nhandle {"+proxy+"\n}")},
		{"plain HTTP", site(":8080", "session"+proxy),
			[]string{"not Secure", "site: :8080", "trusted_proxies"},
			"{\n\tservers {\n\t\ttrusted_proxies static private_ranges\n\t}\n}\n:8080 {\n\tsession" + proxy + "\n}\n"},
		{"plain HTTP with a name", site("http://app.example.com", "session"+proxy),
			[]string{"not Secure", "site: app.example.com"},
			site("http://app.example.com", "session {\ncookie {\nsecure on\n}\n}"+proxy)},
		{"plain HTTP, not of this machine", site("http://192.168.1.2:8080", "session"+proxy),
			[]string{"not Secure"},
			site("http://localhost:8080", "session"+proxy)},
		{"secure off", site("app.example.com", "session {\ncookie {\nsecure off\n}\n}"+proxy),
			[]string{"not Secure", "remove secure off"},
			site("app.localhost", "session {\ncookie {\nsecure off\n}\n}"+proxy)},
		{"a public application", site("app.example.com", "session\nreverse_proxy 203.0.113.7:80"),
			[]string{"public address", "application: 203.0.113.7:80", "firewall"},
			site("app.example.com", "session\nreverse_proxy 10.0.0.1:80 [fd00::1]:80 100.64.0.1:80 unix//run/app.sock app:80\n")},
		{"a public application without session", site("app.example.com", "session /a"+"\nreverse_proxy [2001:db8::1]:80"),
			[]string{"public address"},
			"{\n" + storeOption("memory") + "\n}\napp.example.com {\nsession" + proxy + "\n}\nb.example.com {\nreverse_proxy 203.0.113.7:80\n}\n"},
		{"a header of ours", site("app.example.com", "session\nreverse_proxy 127.0.0.1:9 {\nheader_up X-Session-User bob\n}"),
			[]string{"the site sets a request header", "header: X-Session-User"},
			site("app.example.com", "session\nreverse_proxy 127.0.0.1:9 {\nheader_up X-User bob\n}")},
		{"no session", "app.example.com {" + proxy + "\n}\n",
			[]string{"no site has sessions", "write session into the site"},
			site("app.example.com", "session"+proxy)},
		{"no session, but a store", site("app.example.com", proxy),
			[]string{"no site has sessions"},
			site("app.example.com", "session"+proxy)},
		{"debug_errors", site("app.example.com", "session {\ndebug_errors\n}"),
			[]string{"without the global option debug"},
			"{\n\tdebug\n}\napp.example.com {\n\tsession {\n\t\tdebug_errors\n\t}\n}\n"},
		{"a store that evicts", redis(full.Addr),
			[]string{"redis evicts sessions", "maxmemory_policy: allkeys-lru", "set maxmemory-policy to noeviction"},
			redis(good.Addr)},
		{"a store that is down", redis("127.0.0.1:1"), []string{"the store redis can't be asked"}, redis(good.Addr)},
	} {
		check := func(text string, args ...string) (string, string, int) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return caddyCommand(t, append([]string{"session", "check", "--config", file, "--adapter", "caddyfile"}, args...)...)
		}
		out, errs, status := check(test.bad)
		if status != 6 || strings.Count(out, "do: ") != 1 {
			t.Errorf("%s: status %d\n%s%s", test.what, status, out, errs)
		}
		for _, part := range test.want {
			if !strings.Contains(out, part) {
				t.Errorf("%s: no %q in\n%s", test.what, part, out)
			}
		}
		if out, errs, status := check(test.good); status != 0 || out != "Nothing found\n" {
			t.Errorf("%s, done right: status %d\n%s%s", test.what, status, out, errs)
		}
	}
	if err := os.WriteFile(file, []byte("app.example.com {\n\tsession\n\tsession_set user {query.user}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := caddyCommand(t, "session", "check", "--config", file); status != 1 || !strings.Contains(errs, "query.user") {
		t.Errorf("what does not start: status %d\n%s%s", status, out, errs)
	}
}
