package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The example of the README.
func TestSessionMatcherExample(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `session
@anonymous {
	not session user
	not path /in /login
}
redir @anonymous /login?next={uri}
@admin session role admin
handle @admin {
	respond "admin {session.user}"
}
reverse_proxy `+a.host())
	for _, cookie := range []string{"", "csid=" + strings.Repeat("A", 22) + "." + strings.Repeat("A", 43), s.get("/in?set=lang%3Dfr", "").cookie()} {
		r := s.get("/x?y", cookie)
		if r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/login?next=/x?y" {
			t.Errorf("not signed in: %q", r.raw)
		}
	}
	cookie := s.get("/in?set=user%3Dalice", "").cookie()
	if r := s.get("/x", cookie); r.StatusCode != http.StatusOK || !strings.HasPrefix(r.body, "user=alice ") {
		t.Errorf("signed in: %q", r.raw)
	}
	s.get(`/x?set={"role":["editor","admin"]}`, cookie)
	if r := s.get("/x", cookie); r.body != "admin alice" {
		t.Errorf("with the role: %q", r.raw)
	}
}

func TestSessionMatcher(t *testing.T) {
	const data = `{"user":7,"name":"al \"x\" é","n":3,"yes":true,"empty":"","roles":["admin",5],"o":{"lang":"fr","deep":{"k":"v"}},"a.b":"c"}`
	a := app(t, scripted)
	for _, test := range []struct {
		matcher string
		want    bool
	}{
		{"session", true},
		{"not session", false},
		{"session user", true},
		{"session user 7", true},
		{"session user 8", false},
		{`session user ""`, false},
		{"session name `al \"x\" é`", true},
		{"session n 2 3", true},
		{"session yes true", true},
		{"session empty", true},
		{`session empty ""`, true},
		{"session roles admin", true},
		{"session roles 5", true},
		{"session roles editor", false},
		{"session o.lang fr", true},
		{"session o.deep.k v", true},
		{"session o.deep.k w", false},
		{"session o.none", false},
		{"session a.b c", true},
		{"session nothing", false},
		{"session n {query.n}", true},
		{"session n {query.none}", false},
		{"session n {query.none} 3", true},
		{"session empty {query.none}", false},
		{"session user\nsession roles admin", true},
		{"session user\nsession roles editor", false},
		{"session roles editor\nsession roles admin", true},
		{"expression session()", true},
		{"expression !session()", false},
		{"expression session('user')", true},
		{"expression session('roles','editor','admin')", true},
		{"expression session('roles','editor')", false},
		{"expression session('n',{query.n})", true},
		{"expression `session('user') && {session.user} == '7'`", true},
	} {
		s := serve(t, storeOption("memory"), "session\n@m {\nnot path /in\n"+test.matcher+"\n}\nhandle @m {\n\trespond matched\n}\nreverse_proxy "+a.host())
		none := strings.Contains(test.matcher, "not ") || strings.Contains(test.matcher, "!")
		if r := s.get("/?n=3", ""); (r.body == "matched") != none {
			t.Errorf("%s, anonymous: %q", test.matcher, r.raw)
		}
		cookie := s.get("/in?set="+url.QueryEscape(data), "").cookie()
		if r := s.get("/?n=3", cookie); (r.body == "matched") != test.want {
			t.Errorf("%s: %q", test.matcher, r.raw)
		}
	}
}

func TestSubjectAtAPath(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `@alice session user.id alice
	route {
		session {
			subject user.id
		}
		header @alice X-Alice {http.auth.user.id}
		reverse_proxy `+a.host()+`
	}`)
	object := func(object string) string { return "/?set=" + url.QueryEscape(object) }
	cookie := s.get(object(`{"user":{"id":"alice","name":"Alice"}}`), "").cookie()
	if r := s.get("/", cookie); r.Header.Get("X-Alice") != "alice" || !strings.HasPrefix(r.body, `user=alice data={"user":{"id":"alice","name":"Alice"}}`) {
		t.Errorf("the application is shown %q", r.body)
	}
	r := s.get("/?unset=user", cookie)
	if r.cookie() == "" || sessionID(r.cookie()) == sessionID(cookie) {
		t.Errorf("signing out: %q", r.raw)
	}
	r = s.get(object(`{"user":{"id":["alice"]}}`), "")
	if r.Header.Get("X-Alice") != "" || r.StatusCode != 200 || !strings.HasPrefix(s.get("/", r.cookie()).body, "user= data={") {
		t.Errorf("a list as the id: %q", r.raw)
	}
}

// The key of the subject is not there when nobody is signed in, whatever the
// application writes into it.
func TestSessionMatcherSubject(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session {\n\tsubject login\n}\n@in session login\nhandle @in {\n\trespond in\n}\nreverse_proxy "+a.host())
	cookie := s.get(`/?set=login%3D`, "").cookie()
	if r := s.get("/", cookie); !strings.Contains(r.body, `data={"login":""}`) {
		t.Errorf("an empty subject is somebody: %q", r.raw)
	}
	if r := s.get("/", s.get(`/?set=login%3Dalice`, "").cookie()); r.body != "in" {
		t.Errorf("a subject is nobody: %q", r.raw)
	}
}

func TestSessionMatcherWithoutHandler(t *testing.T) {
	for _, site := range []string{
		"@m session\nrespond @m matched",
		"@m expression session()\nrespond @m matched",
		"@m not session user\nrespond @m anonymous",
		"route {\n@m session\nrespond @m matched\nsession\n}",
		"session\nerror 500\nhandle_errors {\n@m session x\nrespond @m matched\n}",
		"handle /a {\nsession\n}\nhandle {\n@m session\nrespond @m matched\n}",
	} {
		s := serve(t, storeOption("memory"), site)
		if r := s.get("/", ""); strings.Contains(r.body, "matched") {
			t.Errorf("%s: %q", site, r.raw)
		}
		if n := len(s.logged(`"level":"warn"`, "no session handler runs before a session matcher")); n != 1 {
			t.Errorf("%s: %d warnings in\n%s", site, n, s.log)
		}
	}
	for _, site := range []string{
		"session\n@m session\nrespond @m matched",
		"session\n@m not session user\nhandle @m {\n@n session x\nrespond @n x\n}",
		"route {\nsession\n@m session\nrespond @m matched\n}",
		"session\nerror 500\nhandle_errors {\nsession\n@m session x\nrespond @m matched\n}",
	} {
		s := serve(t, storeOption("memory"), site)
		if lines := s.logged("no session handler"); lines != nil {
			t.Errorf("%s: %s", site, lines)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	a := app(t, scripted)
	const all = `{session.state}|{http.session.state}|{session.id}|{session.user}|{http.session.version}|{session.created}|{session.expires}|` +
		`{session.data.o.k}|{session.data.evil}|{session.data.o}|{session.data.none}|{session.bogus}|`
	s := serve(t, storeOption("memory"), "session\nhandle /show {\nrespond `"+all+"`\n}\nhandle /error {\nerror 418\n}\nreverse_proxy "+a.host()+
		"\nhandle_errors {\nrespond `"+all+"`\n}")
	for _, target := range []string{"/show", "/error"} {
		if r := s.get(target, ""); r.body != "none|none"+strings.Repeat("|", 11) {
			t.Errorf("anonymous at %s: %q", target, r.raw)
		}
	}
	r := s.get("/?set="+url.QueryEscape(`{"user":"Zo\u00eb","o":{"k":7},"evil":"{env.HOME}\r\n{session.id}%"}`), "")
	cookie := r.cookie()
	for _, target := range []string{"/show", "/error"} {
		r = s.get(target, cookie)
		got := strings.Split(r.body, "|")
		want := []string{"live", "live", sessionID(cookie), "Zo%C3%AB", "1", "", "", "7",
			"%7Benv.HOME%7D%0D%0A%7Bsession.id%7D%25", `%7B"k":7%7D`, "", "", ""}
		for i := range want {
			switch {
			case len(got) != len(want):
				t.Fatalf("%s: %q", target, r.raw)
			case i == 5 || i == 6:
				if len(got[i]) != len("2006-01-02T15:04:05Z") {
					t.Errorf("%s: field %d is %q", target, i, got[i])
				}
			case got[i] != want[i]:
				t.Errorf("%s: field %d is %q, want %q", target, i, got[i], want[i])
			}
		}
	}
}

// Where the matcher of the directive does not match there is no session, and
// placeholders are empty rather than literal.
func TestPlaceholdersWithoutSession(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session /app*\nhandle /show {\nrespond `{session.state} {session.user}.`\n}\nreverse_proxy "+a.host())
	cookie := s.get("/app?set=user%3Dalice", "").cookie()
	if r := s.get("/show", cookie); r.body != "none ." {
		t.Errorf("outside: %q", r.raw)
	}
}
