package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shownHeaders returns the session headers of the last request that reached the
// application.
func (a *application) shownHeaders() map[string]string {
	shown := map[string]string{}
	for name, values := range a.last().Header {
		if short, ok := strings.CutPrefix(name, "X-Session-"); ok {
			shown[short] = strings.Join(values, "|")
		}
	}
	return shown
}

func TestRequestHeadersAreThoseThatAreAskedFor(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session {\n\trequest_headers user\n}\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	const forged = "X-Session-Id: a\r\nX-Session-Data: {}\r\nX_Session_New_Id: b\r\nX-Session-Expires: 1\r\nx-session-signed-in: 1"
	for _, test := range []struct {
		block  string
		signed string
		anyone string
	}{
		{"", "Data Id User Version", ""},
		{"request_headers user", "User", ""},
		{"request_headers id expires signed_in", "Expires Id Signed-In", ""},
		{"forward lang", "Id User Version", ""},
		{"request_headers user data\nforward user X-Remote-User", "Data User", ""},
		{"request_headers id version data expires new_id", "Data Expires Id New-Id Version", "New-Id"},
	} {
		s.load("session {\n\tstore memory\n}", "session {\n"+test.block+"\n}\nreverse_proxy "+a.host())
		for cookie, want := range map[string]string{cookie: test.signed, "": test.anyone} {
			s.get("/", cookie, forged)
			if got := strings.Join(slices.Sorted(maps.Keys(a.shownHeaders())), " "); got != want {
				t.Errorf("%q shows %q, want %q", test.block, got, want)
			}
		}
	}
}

func TestRequestHeadersTellTheTimes(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session {\n\tidle 10m\n\trequest_headers expires signed_in\n}\nreverse_proxy "+a.host())
	begin := time.Now().Unix()
	cookie := s.signIn("alice")
	s.get("/", cookie)
	for name, want := range map[string]int64{"Expires": begin + 600, "Signed-In": begin} {
		if got, err := strconv.ParseInt(a.shownHeaders()[name], 10, 64); err != nil || got < want || got > want+int64(timeout/time.Second) {
			t.Errorf("X-Session-%s is %q, want about %d", name, a.shownHeaders()[name], want)
		}
	}
	cookie = s.get("/?unset=user", cookie).cookie()
	s.get("/", cookie)
	if shown := a.shownHeaders(); shown["Signed-In"] != "" || shown["Expires"] == "" {
		t.Errorf("when nobody is signed in: %v", shown)
	}
}

// The application knows the id of a session before that begins.
func TestRequestHeadersTellTheNewID(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/malformed" {
			w.Header().Set("X-Session-Set", "nonsense")
		}
		scripted(w, r)
	})
	const block = "{\n\trequest_headers id new_id\n}\n"
	s := serve(t, "session {\n\tstore memory\n}", `@dynamic not path /static/*
	session @dynamic `+block+`
	reverse_proxy `+a.host()+`
	handle_errors {
		session /malformed `+block+`
		rewrite /malformed /afresh
		rewrite /static/* /without
		reverse_proxy `+a.host()+`
	}`)
	cookie := ""
	for _, query := range []string{"set=a%3D1", "control=clear", "set=user%3Dalice", "set=user%3Dbob", "control=renew", "unset=user"} {
		s.get("/", cookie)
		before := a.shownHeaders()
		r := s.get("/?"+query, cookie)
		at := a.shownHeaders()
		if before["New-Id"] == at["New-Id"] || len(at["New-Id"]) != 22 {
			t.Fatalf("%s: the new id is %q after %q", query, at["New-Id"], before["New-Id"])
		}
		cookie = r.cookie()
		want := at["New-Id"]
		if query == "set=user%3Dalice" || query == "control=renew" {
			want = at["Id"]
		}
		if id := sessionID(cookie); id != want {
			t.Errorf("%s: the session has the id %s, the application was told %v", query, id, at)
		}
	}
	s.get("/static/file", "")
	if shown := a.shownHeaders(); len(shown) > 0 {
		t.Errorf("where the matcher does not match: %v", shown)
	}
	// An error route has no session, or one that begins afresh.
	r := s.get("/malformed?set=a%3D1", "")
	if shown := a.shownHeaders(); r.StatusCode != 200 || a.last().URL.Path != "/afresh" || sessionID(r.cookie()) != shown["New-Id"] {
		t.Errorf("in an error route: status %d, session %q, shown %v at %s", r.StatusCode, r.cookie(), shown, a.last().URL)
	}
}
