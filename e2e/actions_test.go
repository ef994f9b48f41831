package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A static site that remembers a language, without any application.
func TestSetOnStaticSite(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "page.txt"), []byte("the page"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := serve(t, probed, `session
root `+root+`
header Cache-Control "public, max-age=3600"
header Surrogate-Control max-age=600
session_set /fr* lang fr
session_unset /none lang
redir /fr /
redir /none /
respond /lang "{session.data.lang}"
file_server`)
	// One directive each for a redirection, a file, and a response.
	if r := s.get("/page.txt", ""); r.cookie() != "" || r.body != "the page" {
		t.Errorf("a page: %q", r.raw)
	}
	if r := s.get("/none", ""); r.cookie() != "" {
		t.Errorf("removing a key has created a session: %q", r.raw)
	}
	r := s.get("/fr", "")
	cookie := r.cookie()
	if r.StatusCode != http.StatusFound || cookie == "" || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Surrogate-Control") != "" {
		t.Fatalf("choosing a language: %q", r.raw)
	}
	before := asked.Load()
	if r := s.get("/lang", cookie); r.body != "fr" || r.Header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("the language: %q", r.raw)
	}

	eventually(t, "the touch", func() bool { return asked.Load() == before+2 }) // the cookie came back for the first time

	// What is so already writes nothing.
	before = asked.Load()
	for range 3 {
		s.get("/fr", cookie)
	}
	if n := asked.Load() - before; n != 3 {
		t.Errorf("%d store calls for 3 requests that change nothing", n)
	}
	if r := s.get("/none", cookie); r.StatusCode != http.StatusFound || r.cookie() != "" {
		t.Errorf("forgetting it: %q", r.raw)
	}
	if r := s.get("/lang", cookie); r.body != "" {
		t.Errorf("the language afterwards: %q", r.raw)
	}
}

// hiccup is a cheap bcrypt hash of that word.
const hiccup = "$2a$04$pGqOnXWMNqdCt39Cj5d.t.mOGoAkVGy5L.JVRyKBoCv95WmlM4gT2"

func TestSetUserFromBasicAuth(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `session
basic_auth /login {
	Zoë `+hiccup+`
	bob `+hiccup+`
}
session_set user {http.auth.user.id}
reverse_proxy `+a.host())
	basic := func(user string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, "hiccup")
		return "Authorization: " + r.Header.Get("Authorization")
	}
	if r := s.get("/", ""); r.cookie() != "" || !strings.HasPrefix(r.body, "user= ") {
		t.Errorf("anonymous: %q", r.raw)
	}
	r := s.get("/login", "")
	if r.StatusCode != http.StatusUnauthorized || r.cookie() != "" {
		t.Errorf("no password: %q", r.raw)
	}
	r = s.get("/login", "", basic("Zoë"))
	cookie := r.cookie()
	if cookie == "" {
		t.Fatalf("signing in: %q", r.raw)
	}
	// {http.auth.user.id} is from the session now, and encoded: that is no
	// other user.
	for range 3 {
		if r = s.get("/", cookie); !strings.HasPrefix(r.body, "user=Zo%C3%AB ") || r.cookie() != "" || !strings.Contains(r.body, "version=1 ") {
			t.Fatalf("signed in: %q", r.raw)
		}
	}
	r = s.get("/login", cookie, basic("bob"))
	if next := r.cookie(); next == "" || sessionID(next) == sessionID(cookie) {
		t.Errorf("another user: %q", r.raw)
	}
}

func TestActionsWithAnApplication(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `session
session_destroy /destroy*
session_renew /renew*
session_unset /unset* a b
session_set /set* {
	site yes
	list x {query.y}
	empty {query.none}
	who {query.who}
}
session_set /again* site no
session_unset /again* site
session_set /again* site again
error /fail* 418
reverse_proxy `+a.host())
	do := func(target, cookie string) (data, next string) {
		t.Helper()
		r := s.get(target, cookie)
		noSessionHeaders(t, r.raw)
		if next = r.cookie(); next == "" {
			next = cookie
		}
		_, data, _ = strings.Cut(s.get("/", next).body, "data=")
		data, _, _ = strings.Cut(data, " ")
		return data, next
	}
	data, cookie := do("/set?y=2&who=%7Benv.HOME%7D&set=app%3Dtoo", "")
	if want := `{"app":"too","list":["x","2"],"site":"yes","who":"{env.HOME}"}`; data != want {
		t.Errorf("one commit for both: %s, want %s", data, want)
	}
	if r := s.get("/", cookie); !strings.Contains(r.body, "version=1 ") {
		t.Errorf("more than one commit: %s", r.body)
	}
	if data, _ = do("/set?y=2&who=me&set=site%3Dapp", cookie); !strings.Contains(data, `"site":"app","who":"me"`) {
		t.Errorf("the application has the last word: %s", data)
	}
	if data, _ = do("/again", cookie); !strings.Contains(data, `"site":"no"`) == strings.Contains(data, `"site":"again"`) {
		t.Errorf("in order of the directives: %s", data)
	}
	if data, _ = do("/unset?set="+url.QueryEscape(`{"a":1,"c":2}`), cookie); !strings.Contains(data, `"a":1`) {
		t.Errorf("an application sets what the site removes: %s", data)
	}
	if data, _ = do("/unset", cookie); strings.Contains(data, `"a"`) || !strings.Contains(data, `"c":2`) {
		t.Errorf("removed: %s", data)
	}
	before, _ := do("/", cookie)
	data, next := do("/renew", cookie)
	if data != before || next == cookie || sessionID(next) != sessionID(cookie) {
		t.Errorf("renewed: %s with %s instead of %s", data, next, cookie)
	}
	cookie = next
	if data, next = do("/set?control=clear&y=1", cookie); data != "{}" || next == cookie {
		t.Errorf("clear drops what the site has set: %s", data)
	}
	cookie = next
	if r := s.get("/fail-destroy", cookie); r.StatusCode != http.StatusTeapot {
		t.Errorf("an error: %q", r.raw)
	}
	if r := s.get("/set?who=%FF", cookie); r.StatusCode != http.StatusBadRequest {
		t.Errorf("invalid UTF-8: %q", r.raw)
	}
	if r := s.get("/set?control=nonsense", cookie); r.StatusCode != http.StatusBadGateway {
		t.Errorf("a malformed header: %q", r.raw)
	}
	if data, _ = do("/", cookie); data != "{}" {
		t.Errorf("after responses that failed: %s", data)
	}
	r := s.get("/destroy?set=a%3Db", cookie)
	if line := r.Header.Get("Set-Cookie"); !strings.Contains(line, "Max-Age=0") {
		t.Errorf("destroyed: %q", r.raw)
	}
	if data, _ = do("/destroy", cookie); data != "" {
		t.Errorf("after the end: %s", data)
	}
}

// A site's wishes are carried out with the response: what is no response of the
// route carries out nothing.
func TestActionsOnErrors(t *testing.T) {
	s := serve(t, probed, "session /app*\nsession_set lang fr\nerror /app/error 418\nrespond ok")
	for _, target := range []string{"/app/error", "/static"} {
		if r := s.get(target, ""); r.cookie() != "" || r.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s: %q", target, r.raw)
		}
	}
	storeDown(t)
	if r := s.get("/app", ""); r.StatusCode != http.StatusServiceUnavailable || r.body == "ok" || r.cookie() != "" {
		t.Errorf("while the store is down: %q", r.raw)
	}
}

func TestActionsWithoutHandler(t *testing.T) {
	for _, name := range []string{"session_set a b", "session_unset a", "session_destroy", "session_renew", "session_label a"} {
		s := serve(t, storeOption("memory"), "route {\n"+name+"\nsession\nrespond ok\n}\n")
		name, _, _ := strings.Cut(name, " ")
		if r := s.get("/", ""); r.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: %q", name, r.raw)
		}
		if s.logged(name+": no session handler runs before it") == nil || s.logged(`"warn"`, "which answers 500") == nil {
			t.Errorf("%s: the log says\n%s", name, s.log)
		}
	}
	s := serve(t, storeOption("memory"), "session\nerror /e 418\nrespond ok\nhandle_errors {\nsession_set a b\nrespond handled\n}")
	if r := s.get("/e", ""); r.body == "handled" || r.cookie() != "" || s.logged("session_set: no session handler runs before it") == nil {
		t.Errorf("in an error route: %q", r.raw)
	}
	s = serve(t, storeOption("memory"), "session\nerror /e 418\nrespond ok\nhandle_errors {\nsession\nsession_set a b\nrespond handled\n}")
	if r := s.get("/e", ""); r.StatusCode != http.StatusTeapot || r.cookie() == "" {
		t.Errorf("in an error route with a session: %q", r.raw)
	}
}

// A visitor who has gone before the application answered has not been there.
func TestActionsOfVisitorsWhoAreGone(t *testing.T) {
	arrived := make(chan struct{})
	a := app(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	s := serve(t, probed, "log\nsession\nsession_set lang fr\nreverse_proxy "+a.host())
	before := asked.Load()
	c := s.dial()
	fmt.Fprintf(c, "GET /gone HTTP/1.1\r\nHost: %s\r\n\r\n", s.addr)
	<-arrived
	c.Close()
	eventually(t, "Caddy notices", func() bool { return s.logged(`"msg":"handled request"`, `"uri":"/gone"`) != nil })
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d store calls", n)
	}
}

// What a visitor makes too large is not set, and nothing else happens.
func TestSetOverALimit(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("memory"), `session
session_set /note note {query.note}
session_set /both {
	note {query.note}
	site yes
}
session_set /later note {query.note}
session_set /later note short
session_set /user user {http.auth.user.id}
basic_auth /user {
	`+strings.Repeat("u", 1100)+" "+hiccup+`
}
reverse_proxy `+a.host())
	large := strings.Repeat("x", 5000)
	counted := func() float64 { return value(o.series(), "caddy_session_actions_total", "outcome=set_ignored") }
	before := counted()
	for range 3 {
		if r := o.get("/note?note="+large, ""); r.StatusCode != http.StatusOK || r.cookie() != "" {
			t.Errorf("a session for a note that is too large: %q", r.raw)
		}
	}
	if n := counted() - before; n != 3 {
		t.Errorf("%v counted for 3 notes", n)
	}
	basic := &http.Request{Header: http.Header{}}
	basic.SetBasicAuth(strings.Repeat("u", 1100), "hiccup")
	if r := o.get("/user", "", "Authorization: "+basic.Header.Get("Authorization")); r.StatusCode != http.StatusOK || r.cookie() != "" {
		t.Errorf("a user with a name that is too long: %q", r.raw)
	}
	for _, test := range []struct{ target, data string }{
		{"/both?note=" + large, `{"site":"yes"}`},
		{"/later?note=" + large, `{"note":"short"}`},
		{"/note?set=app%3Dtoo&note=" + large, `{"app":"too"}`},
		{"/note?note=small", `{"note":"small"}`},
		{"/note?set=app%3D" + strings.Repeat("y", 3000) + "&note=" + large[:2000], `{"app":"` + strings.Repeat("y", 3000) + `"}`},
	} {
		r := o.get(test.target, "")
		if r.StatusCode != http.StatusOK || r.cookie() == "" {
			t.Errorf("%.40s: %q", test.target, r.raw)
			continue
		}
		if got := o.get("/", r.cookie()).body; !strings.Contains(got, "data="+test.data+" ") {
			t.Errorf("%.40s: %s", test.target, got)
		}
	}
	if lines := o.logged(`"level":"error"`); lines != nil {
		t.Errorf("errors: %s", lines)
	}
	if lines := o.logged("not setting"); len(lines) > 3 || lines == nil || strings.Contains(lines[0], "xxx") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	// What the application asks for is as malformed as ever.
	if r := o.get("/note?note=a&set=app%3D"+large, ""); r.StatusCode != http.StatusBadGateway {
		t.Errorf("too much of the application: %q", r.raw)
	}
}
