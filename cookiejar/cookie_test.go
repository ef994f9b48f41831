package cookiejar_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestSet(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		why    string
		cookie cookiejar.Cookie
		secure bool
		age    time.Duration
		want   string
	}{
		{"default over HTTP", cookiejar.Cookie{}, false, 0,
			"csid=v; Path=/; HttpOnly; SameSite=Lax"},
		{"default over HTTPS", cookiejar.Cookie{}, true, 0,
			"__Host-csid=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"the defaults by name", cookiejar.Cookie{Name: "auto", Path: "/", SameSite: "lax", Secure: "auto"}, true, 0,
			"__Host-csid=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"domain", cookiejar.Cookie{Domain: ".Example.com"}, true, 0,
			"__Secure-csid=v; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{"international domain", cookiejar.Cookie{Domain: "b\u00fccher.example"}, false, 0,
			"csid=v; Path=/; Domain=xn--bcher-kva.example; HttpOnly; SameSite=Lax"},
		{"path", cookiejar.Cookie{Path: "/app"}, true, 0,
			"__Secure-csid=v; Path=/app; HttpOnly; Secure; SameSite=Lax"},
		{"name", cookiejar.Cookie{Name: "x"}, true, 0,
			"x=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"everything", cookiejar.Cookie{SameSite: "none", Partitioned: true, Priority: "high"}, true, time.Hour,
			"__Host-csid=v; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High"},
		{"strict, low", cookiejar.Cookie{SameSite: "strict", Priority: "low"}, false, 0,
			"csid=v; Path=/; HttpOnly; SameSite=Strict; Priority=Low"},
		{"medium", cookiejar.Cookie{Priority: "medium"}, false, 0,
			"csid=v; Path=/; HttpOnly; SameSite=Lax; Priority=Medium"},
		{"seconds are rounded down", cookiejar.Cookie{}, false, 2*time.Second - 1,
			"csid=v; Path=/; Max-Age=1; HttpOnly; SameSite=Lax"},
		{"but never to 0, which would expire the cookie", cookiejar.Cookie{}, false, 1,
			"csid=v; Path=/; Max-Age=1; HttpOnly; SameSite=Lax"},
		{"at most 400 days", cookiejar.Cookie{}, false, 400*day + time.Second,
			"csid=v; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax"},
		{"over already", cookiejar.Cookie{}, false, -1,
			"csid=v; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			cookie := compile(t, tt.cookie)
			got := cookie.SetLine("v", tt.secure, tt.age)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if name := cookiejar.SetCookieName(got); name != cookie.NameFor(tt.secure) {
				t.Errorf("SetCookieName: %q", name)
			}
			if _, err := http.ParseSetCookie(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExpire(t *testing.T) {
	c := compile(t, cookiejar.Cookie{Domain: "example.com", Path: "/app", SameSite: "none", Partitioned: true, Priority: "low"})
	got := c.ExpireLine(true)
	want := "__Secure-csid=; Path=/app; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=None; Partitioned; Priority=Low"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := compile(t, cookiejar.Cookie{}).ExpireLine(false), "csid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSecureAndName(t *testing.T) {
	all := []string{"__Host-csid", "__Secure-csid", "csid"}
	tests := []struct {
		cookie      cookiejar.Cookie
		http, https string // the names; a Secure cookie is marked with "+"
		names       []string
	}{
		{cookiejar.Cookie{}, "csid", "__Host-csid+", all},
		{cookiejar.Cookie{Secure: "off"}, "csid", "csid", all},
		{cookiejar.Cookie{Secure: "on"}, "__Host-csid+", "__Host-csid+", all},
		{cookiejar.Cookie{Name: "auto", Path: "/"}, "csid", "__Host-csid+", all},
		{cookiejar.Cookie{Domain: "example.com"}, "csid", "__Secure-csid+", all},
		{cookiejar.Cookie{Path: "/a"}, "csid", "__Secure-csid+", all},
		{cookiejar.Cookie{SameSite: "none"}, "__Host-csid+", "__Host-csid+", all},
		{cookiejar.Cookie{Partitioned: true}, "__Host-csid+", "__Host-csid+", all},
		{cookiejar.Cookie{Name: "x"}, "x", "x+", []string{"x"}},
		{cookiejar.Cookie{Name: "csid"}, "csid", "csid+", []string{"csid"}},
		{cookiejar.Cookie{Name: "x", Secure: "on"}, "x+", "x+", []string{"x"}},
		{cookiejar.Cookie{Name: "__Host-x"}, "__Host-x+", "__Host-x+", []string{"__Host-x"}},
		{cookiejar.Cookie{Name: "__secure-x"}, "__secure-x+", "__secure-x+", []string{"__secure-x"}},
		{cookiejar.Cookie{Name: "__Http-x"}, "__Http-x+", "__Http-x+", []string{"__Http-x"}},
		{cookiejar.Cookie{Name: "__Host-Http-x"}, "__Host-Http-x+", "__Host-Http-x+", []string{"__Host-Http-x"}},
	}
	for _, tt := range tests {
		cookie := compile(t, tt.cookie)
		for https, want := range map[bool]string{false: tt.http, true: tt.https} {
			secure := cookie.SecureFor(https)
			got := cookie.NameFor(secure)
			if secure {
				got += "+"
			}
			if got != want {
				t.Errorf("%+v, https %v: got %s, want %s", tt.cookie, https, got, want)
			}
		}
		if got := cookie.Names(); !slices.Equal(got, tt.names) {
			t.Errorf("%+v: Names %q, want %q", tt.cookie, got, tt.names)
		}
		for _, secure := range []bool{false, true} {
			names, shared := cookie.Reserved(secure)
			if !slices.Equal(slices.Concat(names, shared), tt.names) || slices.Contains(shared, cookie.NameFor(secure)) ||
				(len(shared) > 0) != (secure && len(tt.names) > 1) {
				t.Errorf("%+v, Secure %v: reserves %q, shares %q", tt.cookie, secure, names, shared)
			}
		}
	}
}

func TestScopeHost(t *testing.T) {
	tests := []struct{ why, domain, host, want string }{ // want "" = false
		{"no domain", "", "App.Example.com:443", "app.example.com"},
		{"the domain itself", "example.com", "example.com", "example.com"},
		{"a subdomain", "example.com", "A.B.Example.com:80", "example.com"},
		{"IPv4 without domain", "", "192.0.2.1:80", "192.0.2.1"},
		{"IPv6 without domain", "", "[::1]:80", "[::1]"},
		{"leading dot, case", ".EXAMPLE.com", "a.example.com", "example.com"},
		{"international", "b\u00fccher.example", "a.xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a suffix is not a subdomain", "example.com", "badexample.com", ""},
		{"the parent", "app.example.com", "example.com", ""},
		{"another host", "example.com", "example.org", ""},
		{"IPv4", "example.com", "192.0.2.1:80", ""},
		{"IPv6", "example.com", "[::1]:80", ""},
		{"no host", "example.com", "", ""},
		{"no canonical host", "example.com", "a b.example.com", ""},
	}
	for _, tt := range tests {
		got, ok := compile(t, cookiejar.Cookie{Domain: tt.domain}).ScopeHost(tt.host)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: got %q, %v; want %q", tt.why, got, ok, tt.want)
		}
	}
}

func TestPerRequestAllocations(t *testing.T) {
	for _, cookie := range []cookiejar.Cookie{{}, {Domain: ".example.com", SameSite: "none"}, {Name: "__Host-x"}} {
		c := compile(t, cookie)
		n := testing.AllocsPerRun(100, func() {
			c.NameFor(c.SecureFor(true))
			c.ScopeHost("app.example.com:8080")
		})
		if n != 0 {
			t.Errorf("%+v: %v allocations", cookie, n)
		}
	}
}

func TestCookieJSON(t *testing.T) {
	var c cookiejar.Cookie
	in := `{"name":"x","domain":"example.com","path":"/a","same_site":"strict","secure":"on","partitioned":true,"priority":"low","persistent":true}`
	if err := json.Unmarshal([]byte(in), &c); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(c)
	if err != nil || string(out) != in {
		t.Errorf("got %s, %v", out, err)
	}
	if out, err = json.Marshal(cookiejar.Cookie{}); err != nil || string(out) != "{}" {
		t.Errorf("zero value: %s, %v", out, err)
	}
}
