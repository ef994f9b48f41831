package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A matcher or directive that no session handler runs before is told with its
// site, the path of its route, its line in the Caddyfile and both remedies.
func TestWiring(t *testing.T) {
	for _, test := range []struct {
		site string
		want map[string]string // fields of the one warning
	}{
		{"@m session role admin\nrespond @m matched", map[string]string{"at": "Caddyfile:15", "matcher": `{"role":["admin"]}`}},
		{"handle /x/* {\n\trespond a\n}\nhandle /a/* {\n\tsession_unset cart draft\n\trespond b\n}", map[string]string{
			"at": "Caddyfile:19", "route": "/a/*", "directive": `{"keys":["cart","draft"]}`}},
		// The site has session, but Caddy sorts header before it.
		{"session\n@m session user\nheader @m X-Known yes\nrespond hello", map[string]string{"at": "Caddyfile:16"}},
		{"@m expression session('user')\nrespond @m matched", map[string]string{"matcher": "session('user')"}},
	} {
		s := serve(t, storeOption("memory"), test.site)
		host, _, _ := strings.Cut(s.addr, ":")
		lines := s.logged(`"level":"warn"`, "no session handler runs before")
		if len(lines) != 1 {
			t.Errorf("%s: %d warnings in\n%s", test.site, len(lines), s.log)
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &fields); err != nil {
			t.Fatal(err)
		}
		test.want["site"] = host
		for name, want := range test.want {
			if fields[name] != want {
				t.Errorf("%s: %s is %v, want %s", test.site, name, fields[name], want)
			}
		}
		if message := fmt.Sprint(fields["msg"]); !strings.Contains(message, "write session into the site") || !strings.Contains(message, "move it into a route") {
			t.Errorf("%s: no remedy in %q", test.site, message)
		}
	}
}

// What is proxied without session, in a site that has it elsewhere, gets forged
// headers.
func TestWiringProxyWithoutSession(t *testing.T) {
	const message = "reaches an application without session"
	a := app(t, nil)
	proxy := "reverse_proxy " + a.host()
	for _, test := range []struct{ site, route string }{
		{"handle /a/* {\n\tsession\n\t" + proxy + "\n}\nhandle {\n\t" + proxy + "\n}", ""},
		{"handle {\n\tsession\n\t" + proxy + "\n}\nhandle /b/* {\n\tphp_fastcgi " + a.host() + "\n}", "/b/*"},
		{"route {\n\t" + proxy + " /early*\n\tsession\n\t" + proxy + "\n}", ""},
		{"session\n" + proxy + "\nhandle_errors {\n\t" + proxy + "\n}", ""},
	} {
		s := serve(t, storeOption("memory"), strings.ReplaceAll(test.site, proxy+" /early*", "reverse_proxy /early* "+a.host()))
		lines := s.logged(`"level":"warn"`, message)
		if len(lines) != 1 || !strings.Contains(lines[0], a.host()) || !strings.Contains(lines[0], `"site":"127.0.0.1"`) || !strings.Contains(lines[0], test.route) {
			t.Errorf("%s: %q in\n%s", test.site, lines, s.log)
		}
		if strings.HasPrefix(test.site, "handle /a/*") { // it is true
			if r := s.get("/", "", "X-Session-User: admin"); !strings.Contains(r.body, "admin") {
				t.Errorf("not forged: %q", r.raw)
			}
		}
	}
	for _, site := range []string{
		proxy,
		"session\n" + proxy,
		"session /a/*\n" + proxy,
		"handle /a/* {\n\tsession\n\t" + proxy + "\n}\nhandle {\n\tsession\n\t" + proxy + "\n}",
		"session\n" + proxy + "\nhandle_errors {\n\tsession\n\t" + proxy + "\n}",
		"@a host a.example.com\nhandle @a {\n\tsession\n\t" + proxy + "\n}\n@b host b.example.com\nhandle @b {\n\t" + proxy + "\n}",
	} {
		s := serve(t, storeOption("memory"), site)
		if lines := s.logged(message); lines != nil {
			t.Errorf("%s: %s", site, lines)
		}
	}
}

// Another site of the same server may do without.
func TestWiringOtherSite(t *testing.T) {
	a := app(t, nil)
	s := &server{t: t, addr: freeAddr(t), log: newLogFile(t)}
	_, port, _ := strings.Cut(s.addr, ":")
	if err := s.try(storeOption("memory"), fmt.Sprintf("http://a.localhost:%[1]s {\n\tsession\n\treverse_proxy %[2]s\n}\nhttp://b.localhost:%[1]s {\n\treverse_proxy %[2]s\n}", port, a.host())); err != nil {
		t.Fatal(err)
	}
	defer caddy.Stop()
	if lines := s.logged("reaches an application"); lines != nil {
		t.Error(lines)
	}
}

func TestWiringValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	for _, test := range []struct {
		site string
		want []string
	}{
		{"respond hello\n", nil},
		{"session\n\t@m session user\n\trespond @m hello\n", nil},
		{"@m session user\n\trespond @m hello\n", []string{"no session handler runs before a session matcher", `"site":"app.example.com"`, file + `:2"`}},
		{"session_destroy /logout\n", []string{"session_destroy", `"site":"app.example.com"`, `"route":"/logout"`, file + `:2"`}},
		{"handle /a {\n\t\tsession\n\t}\n\thandle {\n\t\treverse_proxy localhost:9\n\t}\n", []string{"reaches an application without session", `"site":"app.example.com"`}},
	} {
		if err := os.WriteFile(file, []byte("app.example.com {\n\t"+test.site+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, status := caddyCommand(t, "validate", "--config", file)
		var warnings []string
		for line := range strings.SplitSeq(out+errs, "\n") {
			if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"logger":"session"`) {
				warnings = append(warnings, line)
			}
		}
		if status != 0 || len(warnings) != min(1, len(test.want)) {
			t.Errorf("%s: status %d, %q\n%s", test.site, status, warnings, errs)
			continue
		}
		if i := slices.IndexFunc(test.want, func(want string) bool { return !strings.Contains(warnings[0], want) }); i >= 0 {
			t.Errorf("%s: no %s in %s", test.site, test.want[i], warnings[0])
		}
	}
}
