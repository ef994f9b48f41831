package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// How a session goes on under another cookie.
var replacements = []struct{ name, start, query string }{
	{"renew", "set=n%3D1", "control=renew"},
	{"sign-in", "set=n%3D1", "set=user%3Dalice"},
	{"clear", "set=n%3D1", "control=clear&set=n%3D2"},
	{"another user", "set=user%3Dalice", "set=user%3Dbob"},
	{"sign-out", "set=user%3Dalice", "unset=user"},
}

// Rule 5: what comes with a cookie that was replaced a moment ago must not take
// the place of the new one.
func TestRule5StaleRequests(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		s := serve(t, option, "session\nreverse_proxy "+a.host())
		for _, tt := range replacements {
			t.Run(tt.name, func(t *testing.T) {
				old := s.get("/?"+tt.start, "").cookie()
				fresh := s.get("/?"+tt.query, old).cookie()
				if fresh == "" || fresh == old {
					t.Fatalf("the cookie is %q after %q", fresh, old)
				}
				for _, query := range []string{"", "set=poll%3D1", "set=%7B%7D", "control=renew", "control=destroy", "control=clear&set=poll%3D1", "set=poll%3D1&control=max-age%3D60"} {
					r := s.get("/?"+query, old)
					if r.StatusCode != http.StatusOK || !strings.Contains(r.body, "user= data= version= id=\n") || r.Header.Get("Set-Cookie") != "" {
						t.Errorf("%q with the old cookie: %q", query, r.raw)
					}
				}
				if r := s.get("/?set=poll%3D1&control=if-version%3D0", old); r.StatusCode != http.StatusConflict || r.Header.Get("Set-Cookie") != "" {
					t.Errorf("if-version with the old cookie: %q", r.raw)
				}
				if r := s.get("/", fresh); !strings.Contains(r.body, "id="+sessionID(fresh)) || strings.Contains(r.body, "poll") {
					t.Errorf("the session has become %q", r.body)
				}
				again := s.get("/?set=user%3Dcarol", old).cookie()
				if sessionID(again) == "" || sessionID(again) == sessionID(old) || sessionID(again) == sessionID(fresh) {
					t.Errorf("signing in with the old cookie: %q", again)
				}
				if r := s.get("/", again); !strings.Contains(r.body, "user=carol") {
					t.Errorf("after signing in: %q", r.body)
				}
			})
		}
		if lines := s.logged("wrong secret"); lines != nil {
			t.Errorf("taken for forged: %q", lines)
		}
	})
}

// Two renewals within a moment: requests with either old secret are on the way.
func TestRule5StaleTwice(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		s := serve(t, option, "session\nreverse_proxy "+a.host())
		cookies := []string{s.get("/?set=n%3D1", "").cookie()}
		for _, query := range []string{"set=user%3Dalice", "control=renew", "control=clear&set=n%3D2"} {
			cookies = append(cookies, s.get("/?"+query, cookies[len(cookies)-1]).cookie())
		}
		for i, old := range cookies[:3] {
			if r := s.get("/?set=poll%3D1", old); r.cookie() != "" {
				t.Errorf("with cookie %d: %q", i, r.raw)
			}
		}
	})
}

// Rule 5: the cookies that such a response sets are not kept either.
func TestRule5StaleRequestsKeepNoCookies(t *testing.T) {
	jarStores(t, func(t *testing.T, option string) {
		a := app(t, cookieApp)
		s := serve(t, option, "session {\n\tcookies {\n\t\tkeep *\n\t}\n}\n@in path /in\nsession_renew @in\nreverse_proxy "+a.host())
		old := s.get(setting("PHPSESSID=first"), "").cookie()
		fresh := s.get("/in", old).cookie()
		if fresh == "" || fresh == old {
			t.Fatalf("the cookie is %q after %q", fresh, old)
		}
		r := s.get(setting("PHPSESSID=second"), old)
		if r.StatusCode != http.StatusOK || r.Header.Get("Set-Cookie") != "" || r.body != "[]" {
			t.Errorf("with the old cookie: %q", r.raw)
		}
		if r := s.get("/dir/page", fresh); r.body != sees("PHPSESSID=first") {
			t.Errorf("the jar has become %q", r.body)
		}
		if s.logged(`"level":"debug"`, "not beginning a session") == nil {
			t.Error("it is not logged")
		}
	})
}

// A double click on "Sign in": both requests have the visitor's cookie, and
// whichever response comes last, the user is signed in.
func TestRule5DoubleClickedSignIn(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		g := newGate(t)
		s := serve(t, option, "session\nreverse_proxy "+g.host())
		visitor := s.get("/?set=n%3D1", "").cookie()
		second := s.getLater(g, "/?set=user%3Dalice", visitor)
		first := s.get("/?set=user%3Dalice", visitor).cookie()
		third := s.get("/?set=user%3Dalice", visitor).cookie() // this one came a moment later
		close(g.open)
		if late := s.await(second); late.StatusCode != http.StatusOK || late.cookie() != "" {
			t.Errorf("the second response: %q", late.raw)
		}
		for i, cookie := range []string{first, third} {
			if r := s.get("/", cookie); !strings.Contains(r.body, "user=alice") {
				t.Errorf("cookie %d: %q", i, r.body)
			}
		}
	})
}

// A record that was replaced is no session: operators do not see it.
func TestReplacedSessionsAreNotListed(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		o := serveOperated(t, option, "session\nreverse_proxy "+a.host())
		old := o.signIn("alice")
		fresh := o.get("/?set=user%3Dbob", old).cookie()
		l := o.post("list", `{}`)
		if len(l.Sessions) != 1 || l.Sessions[0].ID != sessionID(fresh) {
			t.Errorf("listed: %+v", l.Sessions)
		}
		for _, action := range []string{"show", "end"} {
			body := fmt.Sprintf(`{"id":%q}`, sessionID(old))
			if status, answer := o.ask("POST", "/session/"+action, body, "Content-Type: application/json"); status != http.StatusNotFound {
				t.Errorf("%s with the old id: %d %s", action, status, answer)
			}
		}
		if r := o.get("/?set=poll%3D1", old); r.cookie() != "" {
			t.Errorf("afterwards: %q", r.raw)
		}
	})
}
