package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// telling is an application that sends the same header lines with every
// response, and then what it sees of managed headers and cookies.
func telling(lines string) func(net.Conn, *http.Request) {
	return func(c net.Conn, r *http.Request) {
		var b strings.Builder
		for _, prefix := range []string{"x-session-", "x-api-", "x-remote-"} {
			for _, name := range under(r.Header, prefix) {
				if !strings.HasSuffix(name, "-Id") {
					fmt.Fprintf(&b, "%s=%s ", name, strings.Join(r.Header[name], "+"))
				}
			}
		}
		fmt.Fprintf(&b, "Cookie=%s", strings.Join(r.Header["Cookie"], "+"))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", lines, b.Len(), b.String())
	}
}

func TestUnmatchedRequestsHaveNoSession(t *testing.T) {
	const lines = "X-Session-Set: user=mallory\r\nX_Session_Set: user=mallory\r\nX-Session-Control: destroy\r\n" +
		"Set-Cookie: csid=stolen\r\nSet-Cookie: __Host-csid=stolen\r\nSet-Cookie: theme=dark\r\nX-App: 1\r\n"
	u := upstream(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n"+lines+"\r\n")
		telling(lines)(c, r)
	})
	a := app(t, scripted)
	s := serve(t, roomy, "@dynamic not path *.css\nsession @dynamic\n@css path *.css\nreverse_proxy @css "+u.addr+"\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")

	for why, cookies := range map[string]string{
		"live":      "a=1; " + cookie + ";  b=2",
		"forged":    "a=1; csid=" + strings.Repeat("A", 22) + "." + strings.Repeat("A", 43) + ";  b=2",
		"malformed": "a=1; csid=x; __Host-csid=y; __Secure-csid=z;  b=2",
		"huge":      "a=1; csid=" + strings.Repeat("x", 20<<10) + ";  b=2",
	} {
		before := asked.Load()
		raw := s.raw(s.request("GET", "/style.css", "", append(spoofed, "Cookie: "+cookies)...))
		noSessionHeaders(t, raw)
		if !strings.HasSuffix(raw, "\r\n\r\nCookie=a=1;  b=2") {
			t.Errorf("%s cookie: the application sees %.300q", why, raw)
		}
		if strings.Contains(raw, "stolen") || strings.Count(raw, "Set-Cookie: theme=dark") != 2 || strings.Count(raw, "X-App: 1") != 2 {
			t.Errorf("%s cookie: the client gets %q", why, raw)
		}
		if strings.Contains(raw, "Vary") || strings.Contains(raw, "Cache-Control") {
			t.Errorf("%s cookie: an unmatched response is told how to be cached: %q", why, raw)
		}
		if n := asked.Load() - before; n != 0 {
			t.Errorf("%s cookie: the store was asked %d times", why, n)
		}
	}
	if r := s.get("/", cookie); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
		t.Errorf("the session has become %q", r.body)
	}
}

// A matcher that fails must not open anything.
func TestFailingMatcher(t *testing.T) {
	u := upstream(t, telling(""))
	a := app(t, scripted)
	s := serve(t, probed, "@m expression int({query.n}) > 0\nsession @m\nreverse_proxy "+a.host()+"\nhandle_errors {\n\treverse_proxy "+u.addr+"\n}")
	cookie := s.get("/?n=1&set=user%3Dalice", "").cookie()
	r := s.get("/?n=x", "a=1; "+cookie, spoofed...)
	if u.last() == nil || r.body != "Cookie=a=1" {
		t.Errorf("the error route sees %q", r.body)
	}
}

func TestFirstMatchingSessionOwnsTheRequest(t *testing.T) {
	const (
		api  = "session /api/* {\n\theader_prefix X-Api-\n\tcookie {\n\t\tname api\n\t}\n}\n"
		web  = "session {\n\tcookie {\n\t\tname web\n\t}\n}\n"
		says = "X-Api-Set: user=api\r\nX-Session-Set: user=web\r\nSet-Cookie: web=stolen\r\nSet-Cookie: api=stolen\r\nSet-Cookie: own=1\r\n"
	)
	tests := []struct {
		name, site, target string
		want               string // the cookie that is set
		sees               string // by the application, the next time
	}{
		{"first", api + web, "/api/x", "api", "X-Api-Data={\"user\":\"api\"} X-Api-User=api X-Api-Version=1 "},
		{"second", api + web, "/", "web", "X-Session-Data={\"user\":\"web\"} X-Session-User=web X-Session-Version=1 "},
		{"in a route", "route {\n" + api + web + "reverse_proxy {app}\n}\n", "/api/x", "api", "X-Api-Data={\"user\":\"api\"} X-Api-User=api X-Api-Version=1 "},
		{"in a route, second", "route {\n" + api + web + "reverse_proxy {app}\n}\n", "/", "web", "X-Session-Data={\"user\":\"web\"} X-Session-User=web X-Session-Version=1 "},
		{"the outer one", web + "handle /api/* {\n" + api + "reverse_proxy {app}\n}\n", "/api/x", "web", "X-Session-Data={\"user\":\"web\"} X-Session-User=web X-Session-Version=1 "},
		{"the inner one", "@not not path /api/*\n" + strings.Replace(web, "session", "session @not", 1) + "handle /api/* {\n" + api + "reverse_proxy {app}\n}\n", "/api/x", "api", "X-Api-Data={\"user\":\"api\"} X-Api-User=api X-Api-Version=1 "},
		{"none", "session /never\nhandle /api/* {\n" + strings.Replace(api, "/api/*", "/never", 1) + strings.Replace(web, "session", "session /never", 1) + "reverse_proxy {app}\n}\n", "/api/x", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := upstream(t, telling(says))
			s := serve(t, probed, strings.ReplaceAll(tt.site+"reverse_proxy {app}", "{app}", u.addr))
			r := s.get(tt.target, "", append([]string{"X-Api-User: mallory", "X_Api_User: mallory"}, spoofed[:3]...)...)
			if r.body != "Cookie=" {
				t.Errorf("of an anonymous request the application sees %q", r.body)
			}
			for _, prefix := range []string{"x-api-", "x-session-"} {
				if names := under(r.Header, prefix); names != nil {
					t.Errorf("the client sees %q", names)
				}
			}
			var names, cookie string
			for _, c := range r.Cookies() {
				if names += c.Name + " "; c.Name == tt.want {
					cookie = c.Name + "=" + c.Value
				}
			}
			if strings.TrimSpace(names) != strings.TrimSpace("own "+tt.want) || strings.Contains(r.raw, "stolen") {
				t.Fatalf("cookies %q: %q", names, r.raw)
			}
			r = s.get(tt.target, "web=x; api=x; "+cookie)
			if got, want := r.body, tt.sees+"Cookie="; got != want {
				t.Errorf("the application sees %q, want %q", got, want)
			}
		})
	}
}

// One prefix may begin with the other; the owner's headers are the owner's.
func TestSessionsWithOverlappingPrefixes(t *testing.T) {
	const (
		long  = "session MATCH {\n\theader_prefix X-Session-App-\n}\n"
		short = "session MATCH\n"
		says  = "X-Session-App-Set: user=long\r\nX-Session-Set: user=short\r\nX-Session-Whatever: 1\r\n"
	)
	match := func(site, matcher string) string { return strings.Replace(site, "MATCH", matcher, 1) }
	for name, tt := range map[string]struct{ site, want string }{
		"long owns, short inside":   {match(long, "") + match(short, ""), "X-Session-App-Data={\"user\":\"long\"} X-Session-App-User=long X-Session-App-Version=1 Cookie="},
		"short owns, long inside":   {match(short, "") + match(long, ""), "X-Session-Data={\"user\":\"short\"} X-Session-User=short X-Session-Version=1 Cookie="},
		"long owns, inside short":   {match(short, "/never") + match(long, ""), "X-Session-App-Data={\"user\":\"long\"} X-Session-App-User=long X-Session-App-Version=1 Cookie="},
		"short owns, inside long":   {match(long, "/never") + match(short, ""), "X-Session-Data={\"user\":\"short\"} X-Session-User=short X-Session-Version=1 Cookie="},
		"the same twice":            {match(short, "") + match(short, ""), "X-Session-Data={\"user\":\"short\"} X-Session-User=short X-Session-Version=1 Cookie="},
		"the same, the second owns": {match(short, "/never") + match(short, ""), "X-Session-Data={\"user\":\"short\"} X-Session-User=short X-Session-Version=1 Cookie="},
	} {
		t.Run(name, func(t *testing.T) {
			u := upstream(t, telling(says))
			s := serve(t, probed, "route {\n"+tt.site+"reverse_proxy "+u.addr+"\n}")
			r := s.get("/", "", "X-Session-App-User: mallory", "X-Session-User: mallory", "Connection: X-Session-App-User, X-Session-User")
			if names := under(r.Header, "x-session-"); names != nil {
				t.Errorf("the client sees %q", names)
			}
			if r.body != "Cookie=" {
				t.Errorf("of an anonymous request the application sees %q", r.body)
			}
			if n := strings.Count(r.raw, "Set-Cookie"); n != 1 {
				t.Fatalf("%d cookies: %q", n, r.raw)
			}
			if r = s.get("/", r.cookie(), "X-Session-App-Role: admin", "X-Session-Role: admin"); r.body != tt.want {
				t.Errorf("the application sees %q, want %q", r.body, tt.want)
			}
		})
	}
}

func TestRule10ErrorRoutes(t *testing.T) {
	const inner = "X-Session-Set: seen=1\r\nSet-Cookie: csid=stolen\r\n"
	tests := []struct {
		name   string
		errors string // what comes before reverse_proxy in handle_errors
		fresh  bool   // the session goes on there
	}{
		{"without session", "", false},
		{"with session", "session\n", true},
		{"with session that does not match", "session /never\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := upstream(t, telling(inner))
			a := app(t, scripted)
			s := serve(t, probed, "session\nerror /error 418\nreverse_proxy /gone "+freeAddr(t)+"\nreverse_proxy "+a.host()+
				"\nhandle_errors {\n"+tt.errors+"reverse_proxy "+u.addr+"\n}")
			for _, target := range []string{
				"/error",
				"/gone",
				"/?set=nonsense",
				"/?set=user%3Dbob&control=if-version%3D7",
				"/?set=" + url.QueryEscape(`{"x":"`+strings.Repeat("x", 5000)+`"}`),
			} {
				cookie := s.signIn("alice")
				before := u.count()
				r := s.get(target, "a=1; "+cookie, spoofed...)
				if u.count() != before+1 {
					t.Fatalf("%s: not handled by the error route: %q", target, r.raw)
				}
				want := "Cookie=a=1"
				if tt.fresh {
					want = `X-Session-Data={"user":"alice"} X-Session-User=alice X-Session-Version=1 ` + want
				}
				if r.body != want {
					t.Errorf("%s: the error route sees %q, want %q", target, r.body, want)
				}
				if tt.errors != "" { // else it is out of our reach
					if under(r.Header, "x-session-") != nil || strings.Contains(r.raw, "stolen") {
						t.Errorf("%s: the client gets %q", target, r.raw)
					}
				}
				want = `user=alice data={"user":"alice"} version=1`
				if tt.fresh {
					want = `user=alice data={"seen":"1","user":"alice"} version=2`
				}
				if r = s.get("/", cookie); !strings.Contains(r.body, want) {
					t.Errorf("%s: afterwards the session is %q, want %q", target, r.body, want)
				}
			}
		})
	}
}

// Errors before the application is asked reach error routes clean, too.
func TestRule10ErrorsBeforeTheApplication(t *testing.T) {
	a := app(t, scripted)
	u := upstream(t, telling(""))
	s := serve(t, roomy, "session\nreverse_proxy "+a.host()+"\nhandle_errors {\n\treverse_proxy "+u.addr+"\n}")
	cookie := s.signIn("alice")
	if r := s.get("/", "a=1; "+cookie+"; b="+strings.Repeat("b", 17<<10), spoofed...); !strings.HasPrefix(r.body, "Cookie=a=1; b=bbb") {
		t.Errorf("431: the error route sees %.200q", r.body)
	}
	storeDown(t)
	if r := s.get("/", "a=1; "+cookie, spoofed...); r.body != "Cookie=a=1" {
		t.Errorf("503: the error route sees %q", r.body)
	}
}
