package caddysession

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// What the settings come to.
func TestPolicy(t *testing.T) {
	change := func(f func(*session.Policy)) session.Policy {
		p := session.DefaultPolicy()
		f(&p)
		return p
	}
	for _, tt := range []struct {
		block string
		want  session.Policy
	}{
		{"", session.DefaultPolicy()},
		{"idle 10m", change(func(p *session.Policy) { p.Idle = 10 * time.Minute })},
		{"lifetime 20m", change(func(p *session.Policy) { p.Lifetime, p.Idle = 20*time.Minute, 20*time.Minute })},
		{"lifetime 48h", change(func(p *session.Policy) { p.Lifetime = 48 * time.Hour })},
		{"remember 1d\ntouch 30s", change(func(p *session.Policy) { p.Remember, p.Touch = 24*time.Hour, 30*time.Second })},
		{"max_data 1KiB\nexposed 512", change(func(p *session.Policy) { p.MaxData, p.Exposed = 1024, 512 })},
		{"subject login", change(func(p *session.Policy) { p.SubjectKey = "login" })},
		{"subject login max 3", change(func(p *session.Policy) { p.SubjectKey, p.MaxSessions = "login", 3 })},
		{"encryption off", change(func(p *session.Policy) { p.Plain = true })},
		{"encryption on", session.DefaultPolicy()},
	} {
		h, err := parse(tt.block)
		if err != nil {
			t.Errorf("%s: %v", tt.block, err)
			continue
		}
		got, err := h.compile()
		if got.RememberedUntil == nil {
			t.Errorf("%s: kept cookies remember no session", tt.block)
		}
		got.RememberedUntil = nil // functions can't be compared
		if !reflect.DeepEqual(got, tt.want) || err != nil {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", tt.block, got, err, tt.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, tt := range []struct {
		settings Handler
		want     string
	}{
		{Handler{OnStoreError: "ignore"}, `on_store_error "ignore": write fail or pass`},
		{Handler{OnEnd: "never"}, `on_end "never": write close or keep`},
		{Handler{Encryption: "yes"}, `encryption "yes": write on or off`},
		{Handler{Realm: strings.Repeat("r", 256)}, "realm has 256 bytes, more than 255"},
		{Handler{Idle: caddy.Duration(2 * time.Hour), Lifetime: caddy.Duration(time.Hour)}, "idle"},
		{Handler{HeaderPrefix: "no"}, "prefix"},
		{Handler{RequestHeaders: []string{"id", "expire"}}, `request_headers: unknown header "expire": did you mean expires? Here are data, expires, id, new_id, signed_in, user and version`},
		{Handler{RequestHeaders: []string{"id", "user", "id"}}, "each at most once"},
		{Handler{Cookie: cookiejar.Cookie{SameSite: "none", Secure: "off"}}, "same_site"},
		{Handler{Cookies: &cookiejar.Rules{Drop: []string{"csid"}}}, "cookies: "},
		{Handler{Cookies: &cookiejar.Rules{Forward: []cookiejar.ForwardCookie{{Name: "a"}}}}, "cookies: "},
		{Handler{Forward: []session.Forward{{Key: "a", Header: "X-A"}},
			Cookies: &cookiejar.Rules{Keep: []string{"b"}, Forward: []cookiejar.ForwardCookie{{Name: "b", Header: "X-A"}}}}, "X-A"},
	} {
		if _, err := tt.settings.compile(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.want, err)
		}
	}
	if _, err := (&Handler{Realm: strings.Repeat("r", 255)}).compile(); err != nil {
		t.Error(err)
	}
}

// Headers that show cookies are managed: clients can't send them.
func TestForwardedCookiesAreManaged(t *testing.T) {
	h, _ := handler(t, "cookies {\nkeep theme lang\nforward theme\nforward lang X-Lang\n}")
	for name, want := range map[string]bool{"X-Session-Cookie-Theme": true, "X-Lang": true, "X-Other": false} {
		if got := h.managed(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := h.appCookies.Headers; len(got) != 2 || got[0] != "X-Session-Cookie-Theme" || got[1] != "X-Lang" {
		t.Errorf("%q", got)
	}
}

// Keys may come from the environment; an error does not show one.
func TestKeysAreResolved(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	t.Setenv("SESSION_TEST_KEY", key)
	const rules = "cookies {\nseal a\nkeys "
	h, s := handler(t, rules+"{env.SESSION_TEST_KEY}\n}")
	if h.Cookies.Keys[0] != "{env.SESSION_TEST_KEY}" {
		t.Error("the configuration has the key in it: the admin API would show it")
	}
	if _, err := s.load(rules + key + "\n}"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"{env.SESSION_TEST_NO_KEY}", "{env.SESSION_TEST_KEY} {unknown}"} {
		if _, err := s.load(rules + bad + "\n}"); err == nil || !strings.Contains(err.Error(), "cookies: keys") || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
