package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
)

// A Caddy whose role may make no table works with what the owner has made by
// `caddy session schema`, and says so before.
func TestSchemaCommand(t *testing.T) {
	server := pgtest.Shared(t)
	server.Do(t, "CREATE ROLE schema_web LOGIN PASSWORD 'hidden'")
	global := storeOption("postgres " + strings.Replace(server.URL("schema_web", ""), ":@", "@", 1) + " {\n\t\ttable public.schema_sessions\n\t\tpassword {env.SCHEMA_PASSWORD}\n\t\ttimeout 10s\n\t}")
	site := "session\nreverse_proxy " + app(t, scripted).host()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	schema := func(text string, args ...string) (out, errs string) {
		t.Helper()
		writeFile(t, file, text, 0o600)
		var status int
		out, errs, status = caddyCommand(t, append([]string{"session", "schema", "--config", file}, args...)...)
		if status != 0 {
			t.Fatalf("status %d\n%s%s", status, out, errs)
		}
		return out, errs
	}
	script, _ := schema("{\n" + global + "\n}\napp.example.com {\n" + site + "\n}\n") // without the password
	if !strings.Contains(script, `TO "schema_web"`) || strings.Contains(script, "hidden") {
		t.Errorf("the script\n%s", script)
	}

	t.Setenv("SCHEMA_PASSWORD", "hidden")
	s := serve(t, global, site)
	if r := s.get("/?set=user%3Dalice", ""); r.StatusCode != 503 {
		t.Fatalf("without tables: %d", r.StatusCode)
	}
	if out, err := server.Psql(script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cookie, other := signInEventually(t, s, "alice"), signInEventually(t, s, "alice")
	if r := s.get("/?control=revoke-others", cookie); r.StatusCode != 200 || !strings.Contains(r.body, "user=alice ") {
		t.Errorf("%d, %q", r.StatusCode, r.body)
	}
	if r := s.get("/?control=destroy", cookie); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	for _, ended := range []string{cookie, other} {
		if r := s.get("/", ended); r.StatusCode != 200 || strings.Contains(r.body, "user=alice ") {
			t.Errorf("%d, %q", r.StatusCode, r.body)
		}
	}

	for store, want := range map[string]string{"": "embedded", "memory": "memory", "redis": "redis"} {
		text := "http://localhost:9\nrespond OK"
		if store != "" {
			text = "{\n" + storeOption(store) + "\n}\n"
		}
		if out, got := schema(text); out != "" || !strings.HasSuffix(got, "The store "+want+" needs nothing to be made\n") {
			t.Errorf("store %q: %q", store, got)
		}
		if got, _ := schema(text, "--json"); got != `{"store":"`+want+`"}`+"\n" {
			t.Errorf("store %q: %q", store, got)
		}
	}
	writeFile(t, file, `{"apps":{"session":{"store":{"module":"nowhere"}}}}`, 0o600)
	if _, errs, status := caddyCommand(t, "session", "schema", "--config", file, "--adapter", ""); status != 1 || !strings.Contains(errs, "nowhere") {
		t.Errorf("an unknown store: %d %s", status, errs)
	}
}
