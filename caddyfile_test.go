package caddysession

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What whole Caddyfiles come to, and each mistake in them, is in e2e. This is
// what the functions here decide.

func helper(text string) httpcaddyfile.Helper {
	return httpcaddyfile.Helper{Dispenser: caddyfile.NewTestDispenser(text)}
}

// The matcher becomes that of the handler. On the route, it would exempt requests
// from what is removed.
func TestMatcherGoesIntoTheHandler(t *testing.T) {
	for text, want := range map[string]string{
		"session":               `{"handler":"session"}`,
		"session {\nidle 5m\n}": `{"handler":"session","idle":300000000000}`,
		"session /app*":         `{"handler":"session","match":[{"path":["/app*"]}]}`,
	} {
		values, err := parseDirective(helper(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		route := values[0].Value.(caddyhttp.Route)
		if len(route.MatcherSetsRaw) > 0 || len(route.HandlersRaw) != 1 || string(route.HandlersRaw[0]) != want {
			t.Errorf("%s: %s", text, route.HandlersRaw)
		}
	}
	if _, err := parseDirective(helper("session app")); err == nil || !strings.Contains(err.Error(), `unexpected "app"`) {
		t.Error(err)
	}
}

func TestHandlerSyntax(t *testing.T) {
	for _, tt := range []struct{ line, want, err string }{
		{"subject login", `{"subject":{"key":"login"}}`, ""},
		{"subject login max 3", `{"subject":{"key":"login","max":3}}`, ""},
		{"subject", "", "write: subject KEY"},
		{"subject login 3", "", "write: subject KEY"},
		{"subject login max 0", "", "give a number above zero"},
		{"record client", `{"record_client":true}`, ""},
		{"record ip", "", "write: record client"},
		{"forward a\nforward b X-B", `{"forward":[{"key":"a"},{"key":"b","header":"X-B"}]}`, ""},
		{"forward a b c", "", "write: forward KEY"},
		{"request_headers id new_id", `{"request_headers":["id","new_id"]}`, ""},
		{"request_headers", "", "needs at least one value"},
		{"idle 5m\nrequest_headers id signedin", "", `request_headers: unknown header "signedin": did you mean signed_in? Here are data, expires, id, new_id, signed_in, user and version, at Testfile:3`},
		{"idle 1m\nidle 2m", "", "idle is set twice"},
		{"max_data 4KB", `{"max_data":4000}`, ""},
		{"upgrade a b", `{"upgrade":["a","b"]}`, ""},
		{"upgrade", "", "upgrade needs at least one value"},
		{"cookie a", "", "cookie { ... }"},
		{"cookie {\nname a\npersistent\n}", `{"cookie":{"name":"a","persistent":true}}`, ""},
		{"cookie {\npersistent idle\n}", `{"cookie":{"persistent_idle":true}}`, ""},
		{"cookie {\npersistent always\n}", "", "write: persistent, or persistent idle"},
		{"cookies {\nkeep a b\nkeep c\n}", `{"cookies":{"keep":["a","b","c"]}}`, ""},
		{"cookies a", "", "cookies { ... }"},
		{"cookies {\nkeep a\nforward a X-A\n}", `{"cookies":{"keep":["a"],"forward":[{"name":"a","header":"X-A"}]}}`, ""},
		{"cookies {\nsign a {\nformat cookie-parser\n}\nkeys 0123456789abcdef0123456789abcdef\n}",
			`{"cookies":{"sign":[{"names":["a"],"format":"cookie-parser"}],"keys":["0123456789abcdef0123456789abcdef"]}}`, ""},
		{"cookies {\nharden secure http_only same_site=lax\n}", `{"cookies":{"harden":{"secure":true,"http_only":true,"same_site":"lax"}}}`, ""},
		{"cookies {\nharden secure secure\n}", "", "harden has secure twice"},
		{"cookies {\nharden same_site=lax same_site=strict\n}", "", "harden has same_site twice"},
		{"cookies {\nharden same_site=\n}", "", "use secure"},
		{"on_store_error ignore", "", "write fail or pass, at Testfile:"}, // compiled here, where the line is known
	} {
		h, err := parse(tt.line)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.line, err)
			}
			continue
		}
		if got, _ := json.Marshal(h); err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v", tt.line, got, err)
		}
	}
}

func TestActionSyntax(t *testing.T) {
	parsers := map[string]httpcaddyfile.UnmarshalHandlerFunc{
		"session_set": parseSet, "session_unset": parseUnset, "session_destroy": parseDestroy, "session_renew": parseRenew,
	}
	for _, tt := range []struct{ line, want, err string }{
		{"session_set a 1", `{"set":{"a":"1"}}`, ""},
		{"session_set a 1 2", `{"set":{"a":["1","2"]}}`, ""},
		{"session_set {\na 1\nb 2\n}", `{"set":{"a":"1","b":"2"}}`, ""},
		{"session_set a 1 {\nb 2\n}", "", "not both"},
		{"session_set {\na 1\na 2\n}", "", `"a" is set twice`},
		{"session_set a", "", "needs a value"},
		{"session_set", "", "write: session_set"},
		{`session_set "" 1`, "", "the key is empty"},
		{"session_unset a b", `{"keys":["a","b"]}`, ""},
		{"session_unset", "", "write: session_unset"},
		{"session_unset a {\nb\n}", "", "has no block"},
		{"session_destroy", `{}`, ""},
		{"session_destroy now", "", "takes no argument but a matcher"},
		{"session_renew", `{}`, ""},
		{"session_renew {\na\n}", "", "has no block"},
	} {
		name, _, _ := strings.Cut(tt.line, " ")
		action, err := parsers[name](helper(tt.line))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.line, err)
			}
			continue
		}
		if got, _ := json.Marshal(action); err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v", tt.line, got, err)
		}
	}
}
