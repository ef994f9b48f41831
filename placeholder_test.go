package caddysession

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// replacer is that of a request.
func replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

func TestPlaceholders(t *testing.T) {
	h, _ := handler(t, "")
	own := begin(t, h, `{"user":"Zoë {x}","n":1.5,"prefs":{"lang":"fr","list":[1,"a"]},"braces":"{env.HOME}","none":null}`)
	id, _, _ := strings.Cut(strings.TrimPrefix(own, "csid="), ".")
	const whatever = "\x00"
	for _, tt := range []struct{ name, live, anonymous string }{
		{"session.state", "live", "none"},
		{"session.id", id, ""},
		{"session.user", "Zo%C3%AB %7Bx%7D", ""},
		{"session.version", "1", ""},
		{"session.data.n", "1.5", ""},
		{"session.data.prefs.lang", "fr", ""},
		{"session.data.prefs.list", `[1,"a"]`, ""},
		{"session.data.prefs", whatever, ""},
		{"session.data.braces", "%7Benv.HOME%7D", ""},
		{"session.data.none", "", ""},
		{"session.data.absent", "", ""},
		{"session.data.", "", ""},
		{"session.secret", "", ""}, // known, so that it is not left as it is
		{"session", "{session}", "{session}"},
		{"sessions.id", "{sessions.id}", "{sessions.id}"},
	} {
		for cookie, want := range map[string]string{own: tt.live, "": tt.anonymous} {
			for _, prefix := range []string{"", "http."} {
				if prefix != "" && strings.HasPrefix(want, "{") {
					continue
				}
				r := request("/", cookie)
				if _, err := answer(h, r, says()); err != nil {
					t.Fatal(err)
				}
				got := replacer(r).ReplaceAll("{"+prefix+tt.name+"}", "")
				if !strings.HasPrefix(want, "{") && strings.ContainsAny(got, "{}") && want != whatever {
					t.Errorf("%s: %q may be expanded again", tt.name, got)
				}
				if prefix == "" && strings.HasPrefix(want, "{") {
					got = replacer(r).ReplaceKnown("{"+tt.name+"}", "")
				}
				if got != want && want != whatever {
					t.Errorf("%s%s with cookie %v: %q, want %q", prefix, tt.name, cookie != "", got, want)
				}
			}
		}
	}
	r := request("/", own)
	if _, err := answer(h, r, says()); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]time.Duration{"created": 0, "expires": 30 * time.Minute} {
		text := replacer(r).ReplaceAll("{session."+name+"}", "")
		at, err := time.Parse(time.RFC3339, text)
		if off := time.Until(at) - in; err != nil || off < -time.Minute || off > time.Minute || !strings.HasSuffix(text, "Z") {
			t.Errorf("%s: %q, %v off", name, text, off)
		}
	}
}

// {http.auth.user.id} is the session's user rather than one from outside, and
// goes when a request has no session any more.
func TestShowUser(t *testing.T) {
	h, _ := handler(t, "")
	alice, nobody := begin(t, h, `{"user":"alice"}`), begin(t, h, `{"a":1}`)
	const user = "http.auth.user.id"
	for _, tt := range []struct{ what, cookie, before, want string }{
		{"signed in", alice, "", "alice"},
		{"signed in, and by somebody else before", alice, "bob", "alice"},
		{"a session of nobody", nobody, "", ""},
		{"a session of nobody, and by somebody else before", nobody, "bob", "bob"},
		{"anonymous", "", "bob", "bob"},
	} {
		r := request("/", tt.cookie)
		repl := replacer(r)
		if tt.before != "" {
			repl.Set(user, tt.before)
		}
		if _, err := answer(h, r, says()); err != nil {
			t.Fatal(err)
		}
		if got, _ := repl.GetString(user); got != tt.want {
			t.Errorf("%s: %q", tt.what, got)
		}
		if tt.before == "" && tt.want != "" { // one that authenticates inside of the session handler
			repl.Set(user, "carol")
			if got, _ := repl.GetString(user); got != "carol" {
				t.Errorf("%s, inside: %q", tt.what, got)
			}
		}
	}

	r := request("/", alice)
	replacer(r).Set(user, "bob")
	if _, err := answer(h, r, says()); err != nil {
		t.Fatal(err)
	}
	visitOf(r).showUser(r, nil) // the session is gone when an error route runs
	if got, there := replacer(r).GetString(user); there && got != "" {
		t.Errorf("after the session: %q", got)
	}
}
