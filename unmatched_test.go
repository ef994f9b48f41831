package caddysession

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// Where the matcher does not match there is no session, and nothing of ours comes
// or goes.
func TestPassing(t *testing.T) {
	s := newSite(t)
	settings, err := parse("cookies {\nkeep PHPSESSID\nseal lang\nkeys 0123456789abcdef0123456789abcdef\nforward lang\n}")
	if err != nil {
		t.Fatal(err)
	}
	settings.MatcherSetsRaw = rawMatcher(`{"path":["/app"]}`)
	h, err := s.provision(settings)
	if err != nil {
		t.Fatal(err)
	}
	ignored := 0
	h.appCookies.Count = func(e session.Event) {
		if e == sessionapp.EventCookieIgnored {
			ignored++
		}
	}
	w, err := answer(h, request("/app", ""), says("X-Session-Set: user=alice", "Set-Cookie: lang=fr"))
	if err != nil || len(w.Header()["Set-Cookie"]) != 2 {
		t.Fatal(w.Header(), err)
	}
	lang, _, _ := strings.Cut(w.Header()["Set-Cookie"][0], ";")
	cookie, _, _ := strings.Cut(w.Header()["Set-Cookie"][1], ";")
	for _, tt := range []struct{ path, user, setCookie, caching string }{
		{"/app", "alice", "theme=light", "private"},
		{"/other", "", "theme=light", "private"}, // since a cookie was taken out
	} {
		r := request(tt.path, cookie+"; PHPSESSID=planted; theme=dark; "+lang)
		r.Header.Set("X-Session-User", "forged")
		w, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
			if got := r.Header.Get("X-Session-User"); got != tt.user {
				t.Errorf("%s: user %q", tt.path, got)
			}
			if got := r.Header.Get("Cookie"); got != "theme=dark; lang=fr" {
				t.Errorf("%s: Cookie %q", tt.path, got)
			}
			if got := r.Header.Get("X-Session-Cookie-Lang"); got != "fr" {
				t.Errorf("%s: forwarded %q", tt.path, got)
			}
			w.Header().Set("Trailer", "X-Session-Set, Set-Cookie, X-Sum")
			err := says("X-Session-Control: renew", "Set-Cookie: csid=x",
				"Set-Cookie: PHPSESSID=1", "Set-Cookie: theme=light")(w, r)
			w.Header().Set(http.TrailerPrefix+"X-Session-Set", "late")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Join(w.Header()["Set-Cookie"], "|")
		if tt.user != "" { // the renewal's
			var own string
			lines, own, _ = strings.Cut(lines, "|")
			if !strings.HasPrefix(own, "csid=") {
				t.Errorf("%s: no cookie after a renewal: %q", tt.path, own)
			}
			tt.caching = "no-store"
		}
		if lines != tt.setCookie || w.Header().Get("Cache-Control") != tt.caching || w.Header().Get("Trailer") != "X-Sum" {
			t.Errorf("%s: response %v", tt.path, w.Header())
		}
		for name := range w.Header() {
			if strings.Contains(name, "X-Session") {
				t.Errorf("%s: the client sees %s", tt.path, name)
			}
		}
	}
	if n := s.store.sessions(t); n != 1 {
		t.Errorf("%d sessions", n)
	}
	if ignored != 1 {
		t.Errorf("%d cookies are ignored, want that of the request without a session", ignored)
	}
}

// In an error route, the session from before is no more.
func TestPassingInErrorRoutes(t *testing.T) {
	outer, s := handler(t, "")
	other := s.handler("")
	other.matchers = caddyhttp.MatcherSets{{&matcher{}}}
	r := request("/", begin(t, outer, `{"a":1}`))
	failing := application(func(http.ResponseWriter, *http.Request) error { return errors.New("no") })
	if _, err := answer(outer, r, failing); err == nil {
		t.Fatal("no error")
	}
	if _, err := answer(other, r, func(_ http.ResponseWriter, r *http.Request) error {
		if got := replacer(r).ReplaceAll("{session.state}", ""); got != "none" || (MatchSession{}).Match(r) {
			t.Errorf("state %q", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
