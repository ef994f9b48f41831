package caddysession

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestMatchSession(t *testing.T) {
	h, _ := handler(t, "subject login")
	own := begin(t, h, `{"login":"alice","roles":["editor","author"],"prefs":{"lang":"fr"},"n":1,"empty":""}`)
	nobody := begin(t, h, `{"login":"","n":1}`)
	for _, tt := range []struct {
		matcher                 MatchSession
		alice, nobody, stranger bool
	}{
		{MatchSession{}, true, true, false},
		{MatchSession{"n": nil}, true, true, false},
		{MatchSession{"n": {"1"}}, true, true, false},
		{MatchSession{"n": {"2"}}, false, false, false},
		{MatchSession{"login": nil}, true, false, false},
		{MatchSession{"login": {"alice"}}, true, false, false},
		{MatchSession{"login": {"bob", "alice"}}, true, false, false},
		{MatchSession{"login": {"bob"}}, false, false, false},
		{MatchSession{"login": {""}}, false, false, false},
		{MatchSession{"roles": {"author"}}, true, false, false},
		{MatchSession{"roles": {"admin"}}, false, false, false},
		{MatchSession{"prefs.lang": {"de", "fr"}}, true, false, false},
		{MatchSession{"login": nil, "n": {"2"}}, false, false, false},
		{MatchSession{"login": {"{http.request.host}"}}, false, false, false},
		{MatchSession{"login": {"{http.request.header.X-User}"}}, true, false, false},
		{MatchSession{"n": {"{http.request.header.X-None}"}}, false, false, false}, // no value, not any
		{MatchSession{"n": {"{http.request.header.X-None}", "1"}}, true, true, false},
		{MatchSession{"empty": {""}}, true, false, false},
		{MatchSession{"absent": nil}, false, false, false},
	} {
		for _, of := range []struct {
			cookie string
			want   bool
		}{{own, tt.alice}, {nobody, tt.nobody}, {"", tt.stranger}} {
			r := request("/", of.cookie)
			r.Header.Set("X-User", "alice")
			if tt.matcher.Match(r) {
				t.Errorf("%v matches before a handler", tt.matcher)
			}
			if _, err := answer(h, r, says()); err != nil {
				t.Fatal(err)
			}
			if got, err := tt.matcher.MatchWithError(r); got != of.want || err != nil {
				t.Errorf("%v: %v, %v, want %v for cookie %q", tt.matcher, got, err, of.want, of.cookie)
			}
		}
	}
}

func TestMatcherSyntax(t *testing.T) {
	for _, tt := range []struct {
		text string
		want MatchSession
		err  string
	}{
		{"session", MatchSession{}, ""},
		{"session user", MatchSession{"user": {}}, ""},
		{"session role admin editor", MatchSession{"role": {"admin", "editor"}}, ""},
		{"session role admin\nsession role editor\nsession user", MatchSession{"role": {"admin", "editor"}, "user": {}}, ""},
		{`session ""`, nil, "the key is empty"},
		{"session {\nuser alice\n}", nil, "has no block"},
	} {
		var m MatchSession
		err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.text))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.text, err)
			}
			continue
		}
		if err != nil || len(m) != len(tt.want) {
			t.Errorf("%s: %v, %v", tt.text, m, err)
		}
		for key, values := range tt.want {
			if got, ok := m[key]; !ok || strings.Join(got, ",") != strings.Join(values, ",") {
				t.Errorf("%s: %s is %q", tt.text, key, got)
			}
		}
	}
	if (MatchSession{"": nil}).Validate() == nil {
		t.Error("an empty key is valid in JSON")
	}
}
