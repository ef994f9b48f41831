package e2e

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
)

// Values that would break out of a header, a log line or a placeholder.
func TestRule6ValuesCannotSmuggle(t *testing.T) {
	t.Setenv("SMUGGLED", "expanded")
	users := []struct{ json, header string }{
		{`alice`, `alice`},
		{`a\r\nX-Admin: 1`, `a%0D%0AX-Admin: 1`},
		{`a\u0000b`, `a%00b`},
		{` a `, `%20a%20`},
		{`100%`, `100%25`},
		{`a%0D%0Ab`, `a%250D%250Ab`},
		{`J\u00fcrgen`, `J%C3%BCrgen`},
		{`\u007f\u0080\u2028`, `%7F%C2%80%E2%80%A8`},
		{`{env.SMUGGLED}`, `{env.SMUGGLED}`},
		{`{http.request.header.Cookie}`, `{http.request.header.Cookie}`},
		{`{{env \"SMUGGLED\"}}`, `{{env "SMUGGLED"}}`},
		{`a, b; c=\"d\"`, `a, b; c="d"`},
		{`\\`, `\`},
	}
	u := upstream(t, telling(""))
	a := app(t, scripted)
	s := serve(t, probed, `
log
session {
	forward user
	forward user X-Remote-User
	forward list X-Remote-List
}
header /respond X-Shown {http.auth.user.id}
redir /redir /u/{http.auth.user.id}
respond /respond "user {http.auth.user.id}."
reverse_proxy /sign-in `+a.host()+`
reverse_proxy `+u.addr+` {
	header_up X-Copied "<{http.auth.user.id}>"
}`)
	for _, user := range users {
		cookie := s.get("/sign-in?set="+url.QueryEscape(`{"user":"`+user.json+`","list":["`+user.json+`",1]}`), "").cookie()
		raw := s.raw(s.request("GET", "/", "", "Cookie: "+cookie))
		got := u.last().Header
		for _, name := range []string{"X-Session-User", "X-Remote-User"} {
			if v := got[name]; len(v) != 1 || v[0] != user.header {
				t.Errorf("user %s: %s is %q, want %q", user.json, name, v, user.header)
			}
		}
		if v := got.Get("X-Copied"); v != "<"+user.header+">" {
			t.Errorf("user %s: header_up with the placeholder is %q", user.json, v)
		}
		if v := got.Get("X-Remote-List"); !strings.HasPrefix(v, "[") || strings.ContainsAny(v, "\r\n\x00\x7f") {
			t.Errorf("user %s: X-Remote-List is %q", user.json, v)
		}
		if got.Get("X-Admin") != "" || strings.Contains(raw, "\nX-Admin") {
			t.Errorf("user %s: a header got in", user.json)
		}
		for _, target := range []string{"/respond", "/redir"} {
			r := s.get(target, cookie)
			if strings.Contains(r.raw, "expanded") || strings.Contains(r.raw, sessionID(cookie)) {
				t.Errorf("user %s: %s expands a value: %q", user.json, target, r.raw)
			}
			if want := "user " + user.header + "."; target == "/respond" && r.body != want {
				t.Errorf("user %s: respond gives %q, want %q", user.json, r.body, want)
			}
		}
	}
	eventually(t, "access log", func() bool { return len(s.logged("handled request", `"uri":"/redir"`)) == len(users) })
	for _, user := range users {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(user.header)
		if s.logged("handled request", fmt.Sprintf(`"user_id":"%s"`, quoted)) == nil {
			t.Errorf("no access log line with user_id %s", quoted)
		}
	}
}

func TestForwardedValues(t *testing.T) {
	u := upstream(t, telling(""))
	a := app(t, scripted)
	s := serve(t, probed, `
session {
	forward role X-Remote-Role
	forward "my key!"
	forward count
}
reverse_proxy /sign-in `+a.host()+`
reverse_proxy `+u.addr)
	for _, tt := range []struct{ set, want string }{
		{`{"user":"alice","role":"admin","my key!":"a b","count":7}`, "X-Session-Count=7 X-Session-My-Key-=a b X-Session-User=alice X-Session-Version=1 X-Remote-Role=admin "},
		{`{"role":["a","b"],"my key!":{"b":1, "a":"\u00fc"},"count":1e3}`, `X-Session-Count=1e3 X-Session-My-Key-={"a":"\u00fc","b":1} X-Session-Version=1 X-Remote-Role=["a","b"] `},
		{`{"role":"","count":false,"other":"secret"}`, "X-Session-Count=false X-Session-Version=1 X-Remote-Role= "},
		{`{}`, "X-Session-Version=1 "},
	} {
		cookie := s.get("/sign-in?set="+url.QueryEscape(tt.set), "").cookie()
		if r := s.get("/", cookie); r.body != tt.want+"Cookie=" {
			t.Errorf("%s: the application sees %q, want %q", tt.set, r.body, tt.want)
		}
	}
}

// The user is known to what runs with the session, and to the access log of
// its requests only. To the others the placeholder is unknown, as without us.
func TestUserPlaceholder(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "log\n@in not path /out\nsession @in\nrespond /out \"<{http.auth.user.id}>\"\nrespond /in \"<{http.auth.user.id}>\"\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	for target, want := range map[string]string{"/in": "<alice>", "/out": "<{http.auth.user.id}>"} {
		if r := s.get(target, cookie); r.body != want {
			t.Errorf("%s: %q, want %q", target, r.body, want)
		}
	}
	c := s.dial()
	defer c.Close()
	io.WriteString(c, s.request("GET", "/in", "", "Cookie: "+cookie, "Connection: keep-alive")+s.request("GET", "/in?anonymous", ""))
	both, _ := io.ReadAll(c)
	if got := string(both); strings.Count(got, "<alice>") != 1 || !strings.HasSuffix(got, "<{http.auth.user.id}>") {
		t.Errorf("two requests on one connection: %q", got)
	}
	eventually(t, "access log", func() bool { return s.logged("handled request", "/in?anonymous") != nil })
	if s.logged("handled request", "/in?anonymous", `"user_id":""`) == nil || s.logged("handled request", `"uri":"/in"`, `"user_id":"alice"`) == nil {
		t.Errorf("access log: %q", s.logged("handled request"))
	}
}
