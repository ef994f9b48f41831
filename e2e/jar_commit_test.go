package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

func TestJarParallel(t *testing.T) {
	run := func(t *testing.T, option string) {
		s := serveJar(t, option, "keep k* first")
		cookie := s.get(setting("first=1; Path=/"), "").cookie()
		const n = 20
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { s.get(setting(fmt.Sprintf("k%02d=v%d; Path=/", i, i)), cookie) })
		}
		wg.Wait()
		r := s.get("/", cookie)
		for i := range n {
			if want := fmt.Sprintf("k%02d=v%d", i, i); !strings.Contains(r.body, want) {
				t.Errorf("%s was lost: %s", want, r.body)
			}
		}
		// More than fit, all at once: none of the requests fails. They are no more
		// requests than before: a store commits them in a row, and has two seconds.
		for i := range n {
			wg.Go(func() {
				var lines []string
				for j := range 4 {
					lines = append(lines, fmt.Sprintf("kx%02d%d=v; Path=/", i, j))
				}
				if r := s.get(setting(lines...), cookie); r.StatusCode != http.StatusOK {
					t.Errorf("%s", r.Status)
				}
			})
		}
		wg.Wait()
		if r := s.get("/", cookie); strings.Count(r.body, "=") != 50 {
			t.Errorf("%d cookies are kept: %s", strings.Count(r.body, "="), r.body)
		}
		if len(s.logged("more cookies than it may keep")) == 0 {
			t.Error("no log line for evicted cookies")
		}
	}
	jarStores(t, run)
	t.Run("redis", func(t *testing.T) { run(t, inRedis(redistest.Start(t))) })
}

func TestJarWritesOnlyChanges(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, probed, "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+a.host())
	cookie := s.get(setting("PHPSESSID=x; Path=/; Max-Age=3600"), "").cookie()
	calls := func(target string) int64 {
		before := asked.Load()
		r := s.get(target, cookie)
		if next := r.cookie(); next != "" { // with the new tag
			cookie = next
		}
		return asked.Load() - before
	}
	before := asked.Load()
	s.get("/", cookie) // the cookie comes back for the first time: a read and a touch
	eventually(t, "the touch", func() bool { return asked.Load() == before+2 })
	for _, test := range []struct {
		target string
		want   int64
	}{
		{"/", 1}, // the read
		{setting("PHPSESSID=x; Path=/; Max-Age=3600"), 1},
		{setting("PHPSESSID=x; Path=/; Max-Age=3590"), 1},
		{setting("other=x; Path=/"), 1},
		{setting("PHPSESSID=y; Path=/; Max-Age=3600"), 2},
		{setting("PHPSESSID=; Path=/other; Max-Age=0"), 1},
		{setting("PHPSESSID=; Path=/; Max-Age=0"), 2},
		{setting("PHPSESSID=; Path=/; Max-Age=0"), 1},
		// With session headers it is one commit.
		{setting("PHPSESSID=z; Path=/") + "set=a%3Db", 2},
	} {
		if got := calls(test.target); got != test.want {
			t.Errorf("%s: %d store calls, want %d", test.target, got, test.want)
		}
	}
	// Nothing is created for nothing.
	before = asked.Load()
	for _, line := range []string{"PHPSESSID=; Max-Age=0", "PHPSESSID=x; Domain=example.org", "PHPSESSID=x; Secure", "PHPSESSID=" + strings.Repeat("x", 4097), "other=x"} {
		if r := s.get(setting(line), ""); r.cookie() != "" || r.StatusCode != http.StatusOK || strings.Contains(r.raw, "Set-Cookie: PHPSESSID") {
			t.Errorf("%.40q: %.200q", line, r.raw)
		}
	}
	if got := asked.Load() - before; got != 0 {
		t.Errorf("%d store calls", got)
	}
	for reason, n := range map[string]int{"more than 4096 bytes": 1, "not one of the request's host": 1, "did not come over HTTPS": 1} {
		if got := len(s.logged("ignoring a cookie that the application sets", reason)); got != n {
			t.Errorf("%d log lines with %q", got, reason)
		}
	}
	if strings.Contains(s.log.String(), strings.Repeat("x", 100)) {
		t.Error("the log has a value")
	}
}

func TestJarWithSessionHeaders(t *testing.T) {
	jarStores(t, func(t *testing.T, option string) {
		s := serveJar(t, option, "keep PHPSESSID")
		with := func(target string, parameters ...string) string { return target + strings.Join(parameters, "&") }
		set := func(value string) string { return setting("PHPSESSID=" + value + "; Path=/") }
		kept := func(why, cookie, want string) {
			t.Helper()
			wants := sees()
			if want != "" {
				wants = sees("PHPSESSID=" + want)
			}
			if r := s.get("/", cookie); r.body != wants {
				t.Errorf("%s: the application sees %s, want %s", why, r.body, wants)
			}
		}
		// A visitor's cookie survives signing in, with a new secret.
		r := s.get(set("visitor"), "")
		visitor := r.cookie()
		alice := s.get("/?set=user%3Dalice", visitor).cookie()
		kept("signed in", alice, "visitor")
		kept("before signing in", visitor, "")

		// With the user goes what the application knows the user by.
		for _, leaving := range []string{"unset=user", "control=clear", "set=user%3Dbob", "set=%7B%22user%22:null,%22note%22:1%7D"} {
			cookie := s.get(with(set("old"), "set=user%3Dalice"), "").cookie()
			kept("before "+leaving, cookie, "old")
			next := s.get("/?"+leaving+"&set=x%3Dy", cookie).cookie()
			if next == "" {
				t.Fatalf("%s sends no cookie", leaving)
			}
			kept(leaving, next, "")
			kept("the old cookie after "+leaving, cookie, "")

			// What the same response sets is for the next one: also if the
			// value is the old one.
			for _, value := range []string{"new", "old"} {
				cookie = s.get(with(set("old"), "set=user%3Dalice"), "").cookie()
				next = s.get(with(set(value), leaving, "set=x%3Dy"), cookie).cookie()
				kept(leaving+" and a cookie", next, value)
			}
		}
		cookie := s.get(set("old"), "").cookie()
		s.get(with(set("new"), "control=destroy"), cookie)
		kept("destroyed", cookie, "")

		// Nothing of a response that is refused.
		cookie = s.get(set("old"), "").cookie()
		for parameter, status := range map[string]int{"set=nonsense": 502, "control=if-version%3D99": 409} {
			if r := s.get(with(set("new"), parameter), cookie); r.StatusCode != status || strings.Contains(r.raw, "PHPSESSID") {
				t.Errorf("%s: %q", parameter, r.raw)
			}
			kept(parameter, cookie, "old")
		}
		// Limits of data are not those of the jar.
		if r := s.get(setting("PHPSESSID="+strings.Repeat("%22", 1000)+"; Path=/"), cookie); r.StatusCode != http.StatusOK {
			t.Errorf("a long value: %s", r.Status)
		}
	})
}

func TestJarOfDeadSession(t *testing.T) {
	g := &gate{arrived: make(chan struct{}, 100), open: make(chan struct{})}
	g.application = app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			g.arrived <- struct{}{}
			<-g.open
		}
		cookieApp(w, r)
	})
	for _, ending := range []string{"control=destroy", "control=renew", "control=clear", "set=user%3Dalice"} {
		s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+g.host())
		g.open = make(chan struct{})
		cookie := s.get(setting("PHPSESSID=old; Path=/"), "").cookie()
		slow := s.getLater(g, setting("PHPSESSID=late; Path=/"), cookie)
		next := s.get("/?"+ending, cookie).cookie()
		close(g.open)
		if r := s.await(slow); r.StatusCode != http.StatusOK || r.cookie() != "" || strings.Contains(r.raw, "PHPSESSID=late") {
			t.Errorf("%s: the slow response is %q", ending, r.raw)
		}
		for _, c := range []string{cookie, next} {
			if r := s.get("/", c); strings.Contains(r.body, "late") {
				t.Errorf("%s: %s came back to life", ending, r.body)
			}
		}
	}
}

func TestJarStoreFails(t *testing.T) {
	a := app(t, cookieApp)
	for _, setting503 := range []string{"", "on_store_error pass\n"} {
		s := serve(t, probed, "session {\n"+setting503+"cookies {\n\t\tkeep PHPSESSID\n\t\tsign lang\n\t\tkeys "+cookieKey+"\n\t}\n}\nreverse_proxy "+a.host())
		cookie := s.get(setting("PHPSESSID=x; Path=/"), "").cookie()
		down.Store(true)
		for _, c := range []string{"", cookie} {
			if r := s.get(setting("PHPSESSID=y; Path=/", "lang=en"), c); r.StatusCode != http.StatusServiceUnavailable || len(r.Header["Set-Cookie"]) > 0 {
				t.Errorf("%q with the store down: %q", c, r.raw)
			}
		}
		if setting503 != "" {
			if r := s.get("/", cookie+"; PHPSESSID=evil; a=b"); r.StatusCode != http.StatusOK || r.body != sees("a=b") {
				t.Errorf("passing: %q", r.raw)
			}
		}
		down.Store(false)
		if r := s.get("/", cookie); r.body != sees("PHPSESSID=x") {
			t.Errorf("afterwards: %s", r.body)
		}
	}
}

func TestJarErrorRoute(t *testing.T) {
	a := app(t, cookieApp)
	const rules = "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t\tseal prefs\n\t\tkeys " + cookieKey + "\n\t}\n}\n"
	for _, with := range []bool{false, true} {
		inRoute := ""
		if with {
			inRoute = rules
		}
		s := serve(t, storeOption("memory"), "@fail path /fail\n"+rules+"error @fail 500\nreverse_proxy "+a.host()+"\nhandle_errors {\n"+inRoute+"reverse_proxy "+a.host()+"\n}")
		r := s.get(setting("PHPSESSID=x; Path=/", "prefs=p; Path=/"), "")
		cookie := r.cookie()
		sealed, _, _ := strings.Cut(setCookies(r)[0], ";")
		r = s.get("/fail", cookie+"; "+sealed+"; PHPSESSID=evil; prefs=evil; a=b")
		want := sees("prefs=p; a=b")
		if with {
			want = sees("PHPSESSID=x; prefs=p; a=b")
		}
		if r.body != want {
			t.Errorf("with rules in the error route %v: %s %s, want %s", with, r.Status, r.body, want)
		}
	}
	// The application fails after it has said something.
	u := upstream(t, always("HTTP/1.1 200 OK\r\nSet-Cookie: PHPSESSID=x\r\nSet-Cookie: prefs=clear\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
	s := serve(t, storeOption("memory"), rules+"reverse_proxy "+u.addr+" {\n@all status 200\nhandle_response @all {\ncopy_response_headers\nerror 418\n}\n}")
	if r := s.get("/", ""); r.StatusCode != http.StatusTeapot || !slices.Equal(r.Header["Set-Cookie"], []string{"a=b"}) {
		t.Errorf("after an error: %q", r.raw)
	}
}

func TestJarCaching(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep PHPSESSID\nseal prefs\nkeys "+cookieKey)
	cookie := s.get(setting("PHPSESSID=x; Path=/"), "").cookie()
	change := setting("PHPSESSID=y; Path=/") + "h.Cache-Control=" + escape("Public, max-age=60, S-MaxAge=9") + "&h.CDN-Cache-Control=max-age%3D99&h.Surrogate-Control=x"
	for _, test := range []struct{ target, cookie, want, cdn string }{
		{change, cookie, "max-age=60, private", ""},
		{change, "", "no-store", ""}, // with our cookie
		{setting("a=b") + "h.Cache-Control=public", cookie, "public", ""},
		{setting("PHPSESSID=y; Path=/") + "h.Cache-Control=no-store", cookie, "no-store", ""},
		{setting("PHPSESSID=y; Path=/") + "h.Cache-Control=private,x", cookie, "private,x", ""},
		{setting("PHPSESSID=y; Path=/") + "h.Expires=0", cookie, "private", ""},
		{setting("PHPSESSID=y; Path=/") + "h.CDN-Cache-Control=no-store", cookie, "private", "no-store"},
		{"/", cookie, "private", ""},
	} {
		r := s.get(test.target, test.cookie)
		if got := r.Header.Get("Cache-Control"); got != test.want || r.StatusCode != http.StatusOK || r.Header.Get("Cdn-Cache-Control") != test.cdn || r.Header.Get("Surrogate-Control") != "" {
			t.Errorf("%s: %q, want Cache-Control: %s", test.target, r.raw, test.want)
		}
	}
	// Out of a cache comes somebody else's cookie.
	for _, line := range []string{"h.Age=5", "h.Cache-Status=" + escape("x; hit"), "h.X-Cache=HIT"} {
		for _, c := range []string{cookie, ""} {
			if r := s.get(setting("PHPSESSID=mallory; Path=/", "a=b")+line, c); r.cookie() != "" || !slices.Equal(setCookies(r), []string{"a=b"}) {
				t.Errorf("%s: %q", line, r.raw)
			}
		}
		if r := s.get("/", cookie); r.body != sees("PHPSESSID=y") {
			t.Errorf("%s: the application sees %s", line, r.body)
		}
	}
	if lines := s.logged("not keeping the cookies of a response that comes from a cache"); len(lines) != 1 { // at most one a second
		t.Errorf("the log: %s", lines)
	}
}

func TestJarHosts(t *testing.T) {
	a := app(t, cookieApp)
	s := anyHost(t, storeOption("memory"), "session {\n\tcookie {\n\t\tdomain example.com\n\t}\n\tcookies {\n\t\tkeep PHPSESSID wide\n\t}\n}\nreverse_proxy "+a.host())
	r := s.at("a.example.com", setting("PHPSESSID=a; Path=/", "wide=a; Domain=example.com; Path=/"), "")
	cookie := r.cookie()
	s.at("b.example.com", setting("PHPSESSID=b; Path=/"), cookie)
	for host, want := range map[string]string{
		"a.example.com": sees("PHPSESSID=a; wide=a"), "A.EXAMPLE.com.:80": sees("PHPSESSID=a; wide=a"),
		"b.example.com": sees("PHPSESSID=b"), "example.com": sees(), "x.a.example.com": sees(), "evil.example": sees(),
	} {
		if r := s.at(host, "/", cookie); r.body != want {
			t.Errorf("%s: the application sees %s, want %s", host, r.body, want)
		}
	}
	// Where there can't be a session, the page is served all the same.
	for _, host := range []string{"evil.example", "[::1]", "a_b..example.com"} {
		if r := s.at(host, setting("PHPSESSID=x; Path=/", "a=b"), ""); r.StatusCode != http.StatusOK || !slices.Equal(r.Header["Set-Cookie"], []string{"a=b"}) {
			t.Errorf("%s: %q", host, r.raw)
		}
	}
}

func TestJarSurvivesReload(t *testing.T) {
	a := app(t, cookieApp)
	option := storeOption("embedded " + filepath.Join(t.TempDir(), "sessions.db"))
	site := func(rules string) string {
		return "session {\n\tencryption off\n\tcookies {\n" + rules + "\n\t}\n}\nreverse_proxy " + a.host()
	}
	s := serve(t, option, site("keep PHPSESSID app_*"))
	cookie := s.get(setting("PHPSESSID=x; Path=/", "app_a=1; Path=/"), "").cookie()
	s.load(option, site("keep PHPSESSID\npass app_*"))
	if r := s.get("/", cookie+"; app_a=client"); r.body != sees("PHPSESSID=x; app_a=client") {
		t.Errorf("other rules: %s", r.body)
	}
	s.load(option, "session\nreverse_proxy "+a.host())
	if r := s.get("/", cookie+"; PHPSESSID=client"); r.body != sees("PHPSESSID=client") {
		t.Errorf("no rules: %s", r.body)
	}
}

// TestJarNested has two session directives: the one that owns the request
// decides about its cookies, whichever comes first.
func TestJarNested(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, storeOption("memory"), `@a path /a /a/*
route {
	session @a {
		cookies {
			keep ka
			seal prefs {
				bound
			}
			drop x
			harden http_only
			keys `+cookieKey+`
		}
	}
	session {
		cookies {
			keep kb
			seal prefs {
				bound
			}
			keys `+cookieKey+`
		}
	}
	reverse_proxy `+a.host()+`
}`)
	set := "?cookie=" + escape("ka=1; Path=/") + "&cookie=" + escape("kb=1; Path=/") + "&cookie=" + escape("prefs=p; Path=/") + "&cookie=" + escape("x=1")
	r := s.get("/a"+set, "")
	if lines := setCookies(r); len(lines) != 2 || lines[0] != "kb=1; Path=/; HttpOnly" || !strings.HasSuffix(lines[1], "; Path=/; HttpOnly") {
		t.Fatalf("/a: %q", r.raw)
	}
	cookie := r.cookie()
	sealed, _, _ := strings.Cut(setCookies(r)[1], ";")
	all := cookie + "; " + sealed + "; ka=client; kb=client; x=client"
	if r := s.get("/a", all); r.body != sees("ka=1; prefs=p; kb=client") {
		t.Errorf("/a: %s", r.body)
	}
	if r := s.get("/b", all); r.body != sees("prefs=p; ka=client; x=client") {
		t.Errorf("/b: %s", r.body)
	}
	r = s.get("/b"+set, cookie)
	if lines := setCookies(r); len(lines) != 3 || lines[0] != "ka=1; Path=/" || strings.Contains(lines[1], "HttpOnly") || lines[2] != "x=1" || strings.Contains(r.raw, "kb=") {
		t.Errorf("/b: %q", r.raw)
	}
	if r := s.get("/b", all); r.body != sees("kb=1; prefs=p; ka=client; x=client") {
		t.Errorf("/b: %s", r.body)
	}
}

func TestJarPHP(t *testing.T) {
	path := need.Program(t, "php-cgi", "php-cgi8.4", "php-cgi8.2")
	root := t.TempDir()
	writeFile(t, root+"/index.php", `<?php
session_start();
if (isset($_GET['name'])) { session_regenerate_id(true); $_SESSION['name'] = $_GET['name']; }
if (isset($_GET['out'])) { $_SESSION = []; session_destroy(); setcookie(session_name(), '', 1, '/'); }
setcookie('my_pref', 'v', time() + 3600);
echo $_SESSION['name'] ?? 'nobody', ' ', json_encode($_COOKIE['my_pref'] ?? null), ' ', count($_COOKIE);
`, 0o600)
	addr := startPHP(t, path, "-n", "-d", "session.save_path="+root)
	s := serve(t, storeOption("memory"), fmt.Sprintf("session {\n\tcookies {\n\t\tkeep PHPSESSID my_pref\n\t}\n}\nroot %s\nphp_fastcgi %s", root, addr))
	r := s.get("/?name=alice", "")
	cookie := r.cookie()
	if cookie == "" || len(r.Header["Set-Cookie"]) != 1 {
		t.Fatalf("signing in: %q", r.raw)
	}
	for _, forged := range []string{"", "; PHPSESSID=evil0123456789", "; PHPSESSID[]=evil", "; PHPSESSID", "; my.pref=evil", "; my_pref[a]=evil", "; my[pref=evil", "; my pref=evil", ";=my_pref=evil", "; my%5Fpref=evil"} {
		if r := s.get("/", cookie+forged); r.body != `alice "v" 2` {
			t.Errorf("%q: %s", forged, r.body)
		}
	}
	s.get("/?out", cookie)
	if r := s.get("/", cookie); !strings.HasPrefix(r.body, "nobody ") {
		t.Errorf("signed out: %s", r.body)
	}
}
