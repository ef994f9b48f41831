package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// anyHost is serve for a site that answers to every host name.
func anyHost(t testing.TB, globals, site string) *server {
	t.Helper()
	s := serve(t, globals, "respond OK")
	_, port, _ := net.SplitHostPort(s.addr)
	if err := s.try(globals, fmt.Sprintf("http://:%s {\n%s\n}", port, site)); err != nil {
		t.Fatal(err)
	}
	return s
}

// token returns a well-formed token that belongs to nobody.
func token(n int) string { return fmt.Sprintf("%021dA.%042dA", n, n) }

func TestTooLargeCookieHeader(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, roomy, "session\nreverse_proxy "+a.host())
	live := s.signIn("alice")
	const limit = 16 << 10
	for _, tt := range []struct {
		why   string
		lines []string
		large bool
	}{
		{"at the limit", []string{live + "; x=" + strings.Repeat("x", limit-len(live)-4)}, false},
		{"over the limit", []string{live + "; x=" + strings.Repeat("x", limit-len(live)-3)}, true},
		{"over the limit in two lines", []string{live, "x=" + strings.Repeat("x", limit-len(live)-1)}, true},
		{"many pairs", []string{strings.Repeat("a;", 5000) + live}, false},
		{"many more pairs", []string{strings.Repeat("a;", 9000) + live}, true},
	} {
		var lines []string
		for _, line := range tt.lines {
			lines = append(lines, "Cookie: "+line)
		}
		before := asked.Load()
		r := s.get("/?cookie", "", lines...)
		if tt.large {
			if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge || asked.Load() != before || r.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %q", tt.why, r.raw)
			}
			if r.Header.Get("Server") != "Caddy" {
				t.Errorf("%s: this is not our answer: %q", tt.why, r.raw)
			}
		} else if !strings.Contains(r.body, "user=alice") {
			t.Errorf("%s: %q", tt.why, r.raw)
		}
	}
}

func TestCookieCandidates(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy "+a.host())
	live := s.signIn("alice")
	others := func(n int) (b string) {
		for i := range n {
			b += "csid=" + token(i) + "; "
		}
		return b
	}
	for _, tt := range []struct {
		why, cookies string
		live         bool
		asked        int64
	}{
		{"four", others(3) + live, true, 4},
		{"five", others(4) + live, false, 0},
		{"five, the live one first", live + "; " + others(4), false, 0},
		{"one, five times", strings.Repeat(live+"; ", 5), true, 1},
		{"four, and malformed ones", strings.Repeat("csid=x; ", 9) + others(3) + live, true, 4},
		{"quoted", `csid="` + strings.TrimPrefix(live, "csid=") + `"`, false, 0},
		{"space after the name", strings.Replace(live, "=", " =", 1), false, 0},
		{"space before the value", strings.Replace(live, "=", "= ", 1), false, 0},
		{"another case", strings.Replace(live, "csid", "Csid", 1), false, 0},
		{"the name for HTTPS", "__Host-" + live, false, 0},
		{"padded", live + "=", false, 0},
		{"not canonical", live[:len(live)-1] + string(live[len(live)-1]+1), false, 0},
		{"short", live[:len(live)-1], false, 0},
		{"without a secret", "csid=" + sessionID(live), false, 0},
		{"behind a comma", "a=b, " + live, false, 0},
		{"behind a semicolon without space", "a=b;" + live, true, 1},
		{"behind a tab", "a=b;\t" + live, true, 1},
		{"behind broken pairs", "=; ;;\"; a=\"b; " + live, true, 1},
	} {
		before := asked.Load()
		r := s.get("/", tt.cookies)
		if got := strings.Contains(r.body, "user=alice"); got != tt.live || r.StatusCode != http.StatusOK || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %q", tt.why, r.raw)
		}
		if n := asked.Load() - before; n != tt.asked {
			t.Errorf("%s: the store was asked %d times, want %d", tt.why, n, tt.asked)
		}
	}
}

func TestTwoLiveSessionsAreEnded(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy "+a.host())
	alice, mallory, bob := s.signIn("alice"), s.signIn("mallory"), s.signIn("bob")
	r := s.get("/", "csid="+token(1)+"; "+mallory+"; "+alice)
	if !strings.Contains(r.body, "user= ") || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("two live sessions: %q", r.raw)
	}
	for _, cookie := range []string{alice, mallory} {
		if r := s.get("/", cookie); !strings.Contains(r.body, "user= ") {
			t.Errorf("still good: %q", r.body)
		}
		if s.logged(`"level":"warn"`, "several live sessions", sessionID(cookie)) == nil {
			t.Errorf("the end of %s is not logged", sessionID(cookie))
		}
	}
	if r := s.get("/", bob); !strings.Contains(r.body, "user=bob") {
		t.Errorf("another session: %q", r.body)
	}
	// One sign-in heals, though the planted cookie is still sent along.
	cookie := s.get("/?set=user%3Dalice", mallory+"; "+alice).cookie()
	if r := s.get("/", mallory+"; "+cookie); !strings.Contains(r.body, "user=alice") {
		t.Errorf("after signing in: %q", r.body)
	}
}

func TestWrongSecret(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	forged := "csid=" + sessionID(cookie) + "." + strings.Repeat("A", 43)
	for _, query := range []string{"", "control=destroy", "control=clear", "control=renew", "unset=user", "control=max-age%3D60"} {
		if r := s.get("/?"+query, forged); r.StatusCode != http.StatusOK || !strings.Contains(r.body, "user= data= version= id=\n") || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s with a wrong secret: %q", query, r.raw)
		}
	}
	r := s.get("/?set=user%3Dmallory", forged)
	if fresh := r.cookie(); fresh == "" || sessionID(fresh) == sessionID(cookie) {
		t.Errorf("signing in with a wrong secret: %q", r.raw)
	}
	if r := s.get("/", cookie); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
		t.Errorf("the session has become %q", r.body)
	}
	if s.logged(`"level":"warn"`, "wrong secret", sessionID(cookie)) == nil {
		t.Error("it is not logged")
	}

	// A secret from before a renewal is no attack yet.
	renewed := s.get("/?control=renew", cookie).cookie()
	r = s.get("/", cookie)
	if !strings.Contains(r.body, "user= ") || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("the secret before the renewal: %q", r.raw)
	}
	if s.logged(`"level":"debug"`, "before the last renewal") == nil {
		t.Error("a stale secret is not logged as such")
	}
	if r := s.get("/", renewed); !strings.Contains(r.body, "user=alice") {
		t.Errorf("after the renewal: %q", r.body)
	}

	// Ids are never adopted.
	unknown := "csid=" + token(7)
	if fresh := s.get("/?set=user%3Dalice", unknown).cookie(); fresh == "" || sessionID(fresh) == sessionID(unknown) {
		t.Errorf("an unknown id has become %q", fresh)
	}
	for _, secret := range []string{cookie, renewed, forged, unknown} {
		if _, secret, _ = strings.Cut(secret, "."); s.logged(secret) != nil {
			t.Errorf("a secret is in the log: %q", s.logged(secret))
		}
	}
}

func TestCookieIsRemovedUpstream(t *testing.T) {
	u := upstream(t, always(saying("200 OK", "")))
	a := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy /sign-in "+a.host()+"\nreverse_proxy "+u.addr)
	live := s.get("/sign-in?set=user%3Dalice", "").cookie()
	for _, tt := range []struct{ lines, want []string }{
		{[]string{live}, nil},
		{[]string{"a=1; " + live + "; b=2"}, []string{"a=1; b=2"}},
		{[]string{live + "; a=1"}, []string{"a=1"}},
		{[]string{"a=1; " + live}, []string{"a=1"}},
		{[]string{"a=1", live, "b=2; " + live}, []string{"a=1", "b=2"}},
		{[]string{"csid=x; __Host-csid=y; __Secure-csid=z; xcsid=1; csid2=2; Csid=3; CSID=4"}, []string{"xcsid=1; csid2=2; Csid=3; CSID=4"}},
		{[]string{"csid =x; a=1; \tcsid\t=y;csid=;b=2"}, []string{"a=1;b=2"}},
		{[]string{"<csid=x; a=1, (csid)=y; b=2; \xa0csid=z; \u3000csid=z"}, []string{"b=2"}},
		{[]string{`a="x; csid=y"; b=2`}, []string{`a="x; b=2`}},
		{[]string{"a=1;; ;  b = 2 ;c; =d; e=\"f\"; g=\xe9"}, []string{"a=1;; ;  b = 2 ;c; =d; e=\"f\"; g=\xe9"}},
		{[]string{"a=csid=1; b=; csid"}, []string{"a=csid=1; b=; csid"}},
	} {
		var lines []string
		for _, line := range tt.lines {
			lines = append(lines, "Cookie: "+line)
		}
		s.get("/", "", lines...)
		if got := u.last().Header["Cookie"]; !slices.Equal(got, tt.want) {
			t.Errorf("Cookie: %q: the application gets %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func TestApplicationCannotSetOurCookie(t *testing.T) {
	const own = "Set-Cookie: theme=\"dark, or so\"; Path=/x ;HttpOnly\r\nset-cookie: xcsid=1\r\nSet-Cookie: Csid=2\r\n"
	const ours = "Set-Cookie: csid=stolen\r\nset-cookie:csid =stolen; Path=/\r\nSet-Cookie: \t__Host-csid=stolen; Secure\r\n" +
		"Set-Cookie: __Secure-csid=stolen\r\nSet-Cookie: =csid=stolen\r\nSet-Cookie: csid=; Max-Age=0\r\n"
	for control, want := range map[string]int{"": 0, "X-Session-Set: n=1\r\n": 1} {
		u := upstream(t, always(saying("200 OK", ours+own+control)))
		s := serve(t, probed, "session\nreverse_proxy "+u.addr)
		r := s.get("/", "")
		lines := r.Header["Set-Cookie"]
		if len(lines) != 3+want || strings.Contains(r.raw, "stolen") || !slices.Equal(lines[:3], []string{`theme="dark, or so"; Path=/x ;HttpOnly`, "xcsid=1", "Csid=2"}) {
			t.Errorf("with %q the client gets %q", control, lines)
		}
		if lines := s.logged(`"level":"warn"`, "dropping a cookie"); len(lines) != 1 || !strings.Contains(lines[0], `"lines":6,"names":["__Host-csid","__Secure-csid","csid"]`) {
			t.Errorf("warnings: %s", lines)
		}
		if s.logged(`"level":"warn"`, "stolen") != nil {
			t.Error("the log has the value of a cookie")
		}
	}
}

func TestSecureCookieBehindProxies(t *testing.T) {
	a := app(t, scripted)
	const trusting = "\nservers {\n\ttrusted_proxies static 127.0.0.1/32\n}"
	for _, tt := range []struct {
		why, globals, cookie, proto string
		want                        string // how the Set-Cookie line begins and ends
	}{
		{"no proxy", "", "", "", "csid= SameSite=Lax"},
		{"a client that says so", "", "", "https", "csid= SameSite=Lax"},
		{"trusted", trusting, "", "https", "__Host-csid= Secure; SameSite=Lax"},
		{"trusted, capitals", trusting, "", "HTTPS", "__Host-csid= Secure; SameSite=Lax"},
		{"trusted, a list", trusting, "", "https, http", "__Host-csid= Secure; SameSite=Lax"},
		{"trusted, a WebSocket", trusting, "", "wss", "__Host-csid= Secure; SameSite=Lax"},
		{"trusted, over HTTP", trusting, "", "http", "csid= SameSite=Lax"},
		{"trusted, nothing said", trusting, "", "", "csid= SameSite=Lax"},
		{"trusted, domain", trusting, "domain example.com", "https", "__Secure-csid= Secure; SameSite=Lax"},
		{"trusted, path", trusting, "path /app", "https", "__Secure-csid= Secure; SameSite=Lax"},
		{"secure on", "", "secure on", "", "__Host-csid= Secure; SameSite=Lax"},
		{"secure off", trusting, "secure off", "https", "csid= SameSite=Lax"},
		{"same_site none", "", "same_site none", "", "__Host-csid= Secure; SameSite=None"},
		{"name", trusting, "name app", "https", "app= Secure; SameSite=Lax"},
		{"partitioned", "", "partitioned", "", "__Host-csid= Secure; SameSite=Lax; Partitioned"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			s := anyHost(t, probed+tt.globals, "session {\n\tcookie {\n\t\t"+tt.cookie+"\n\t}\n}\nreverse_proxy "+a.host())
			ask := func(target, cookie string) *response {
				return s.parse(s.raw("GET " + target + " HTTP/1.0\r\nHost: example.com\r\nX-Forwarded-Proto: " + tt.proto + "\r\nCookie: " + cookie + "\r\n\r\n"))
			}
			r := ask("/?set=user%3Dalice", "")
			line := r.Header.Get("Set-Cookie")
			begin, end, _ := strings.Cut(tt.want, " ")
			if !strings.HasPrefix(line, begin) || !strings.HasSuffix(line, "; HttpOnly; "+end) {
				t.Fatalf("%q", line)
			}
			cookie, _, _ := strings.Cut(line, ";")
			if r = ask("/", cookie); !strings.Contains(r.body, "user=alice") || a.last().Header.Get("Cookie") != "" {
				t.Errorf("the cookie is no good: %q, and the application sees %q", r.body, a.last().Header)
			}
			warned := len(s.logged(`"level":"warn"`, "trusted_proxies", `"peer":"127.0.0.1:`))
			if want := tt.why == "a client that says so"; (warned == 1) != want || warned > 1 {
				t.Errorf("%d warnings about a peer that is not trusted", warned)
			}
			// Only the name that fits is read: the other is easier to plant.
			for _, prefix := range []string{"csid", "__Host-csid", "__Secure-csid"} {
				if prefix+"=" != begin {
					_, value, _ := strings.Cut(cookie, "=")
					if r = ask("/", prefix+"="+value); strings.Contains(r.body, "user=alice") {
						t.Errorf("the cookie is good as %s", prefix)
					}
				}
			}
		})
	}
}

func TestHosts(t *testing.T) {
	a := app(t, scripted)
	s := anyHost(t, probed, "session\nreverse_proxy "+a.host())
	cookies := map[string]string{}
	for _, host := range []string{"example.com", "xn--bcher-kva.example", "[::1]", "192.0.2.1"} {
		cookies[host] = s.at(host, "/?set=user%3Dalice", "").cookie()
	}
	for _, tt := range []struct {
		host, as string
		live     bool
	}{
		{"EXAMPLE.com", "example.com", true},
		{"example.com:8443", "example.com", true},
		{"example.com.", "example.com", true},
		{"example.com.:80", "example.com", true},
		{"XN--Bcher-KVA.example", "xn--bcher-kva.example", true},
		{"[0:0:0:0:0:0:0:1]:80", "[::1]", true},
		{"192.0.2.1:80", "192.0.2.1", true},
		{"example.com..", "example.com", false},
		{"www.example.com", "example.com", false},
		{"com", "example.com", false},
		{"example.org", "example.com", false},
		{"[::2]", "[::1]", false},
	} {
		r := s.at(tt.host, "/", cookies[tt.as])
		if strings.Contains(r.body, "user=alice") != tt.live || cookies[tt.as] == "" {
			t.Errorf("the cookie of %s at %s: %q", tt.as, tt.host, r.raw)
		}
	}

	// What has no canonical form has no session.
	live := cookies["example.com"]
	odd := 0
	for _, host := range []string{"", "exa%6Dple.com", "a..b", "-:x", "[::1", "[fe80::1%25eth0]", "xn--a.example", strings.Repeat("a", 64) + ".example"} {
		for _, tt := range []struct {
			target string
			status int
		}{{"/", 200}, {"/?set=user%3Dmallory", 502}, {"/?control=destroy", 502}, {"/?control=no-touch", 200}} {
			before := asked.Load()
			r := s.parse(s.raw(fmt.Sprintf("GET %s HTTP/1.0\r\nHost: %s\r\nCookie: %s\r\n\r\n", tt.target, host, live)))
			if r.StatusCode == http.StatusBadRequest {
				continue // to Go or Caddy it is no host at all
			}
			odd++
			if r.StatusCode != tt.status || strings.Contains(r.body, "alice") || r.Header.Get("Set-Cookie") != "" || asked.Load() != before {
				t.Errorf("host %q, %s: %q", host, tt.target, r.raw)
			}
			if a.last().Header.Get("Cookie") != "" {
				t.Errorf("host %q: the application sees %q", host, a.last().Header["Cookie"])
			}
		}
	}
	if odd < 4*4 {
		t.Errorf("%d requests got through", odd)
	}
	r := s.parse(s.raw("GET /?set=user%3Dmallory HTTP/1.0\r\n\r\n"))
	if r.StatusCode != http.StatusBadGateway || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("without Host: %q", r.raw)
	}
	if s.logged(`"level":"error"`, `the host \"\"`) == nil {
		t.Error("it is not logged")
	}
}

func TestCookieDomain(t *testing.T) {
	a := app(t, scripted)
	s := anyHost(t, probed, "session {\n\tcookie {\n\t\tdomain .Example.com\n\t}\n}\nreverse_proxy "+a.host())
	r := s.at("app.example.com:8080", "/?set=user%3Dalice", "")
	if line := r.Header.Get("Set-Cookie"); !strings.HasSuffix(line, "; Path=/; Domain=example.com; HttpOnly; SameSite=Lax") {
		t.Errorf("Set-Cookie: %q", line)
	}
	cookie := r.cookie()
	for _, host := range []string{"example.com", "WWW.example.com.", "app.example.com"} {
		if r := s.at(host, "/", cookie); !strings.Contains(r.body, "user=alice") {
			t.Errorf("at %s: %q", host, r.raw)
		}
	}
	for _, host := range []string{"example.org", "badexample.com", "192.0.2.1"} {
		if r := s.at(host, "/", cookie); !strings.Contains(r.body, "user= ") {
			t.Errorf("at %s: %q", host, r.raw)
		}
		if r := s.at(host, "/?set=n%3D1", cookie); r.StatusCode != http.StatusBadGateway || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("a patch at %s: %q", host, r.raw)
		}
	}
	if r := s.at("example.com", "/?control=destroy", cookie); r.Header.Get("Set-Cookie") != "csid=; Path=/; Domain=example.com; Max-Age=0; HttpOnly; SameSite=Lax" {
		t.Errorf("signing out: %q", r.raw)
	}
}

// Browsers store 4096 bytes of name and value. The token is in the HttpOnly cookie
// and nowhere else.
func TestSessionCookieFitsBrowsers(t *testing.T) {
	a := app(t, scripted)
	site := func(name string) string {
		return "session {\n\tcookie {\n\t\tname " + name + "\n\t}\n}\nreverse_proxy " + a.host()
	}
	longest := "__Host-" + strings.Repeat("x", 256-len("__Host-"))
	s := serve(t, probed, site(longest))
	r := s.get("/?set=user%3Dalice&control=max-age%3D864000", "")
	line := r.Header.Get("Set-Cookie")
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, _ := strings.Cut(pair, "=")
	if name != longest || value == "" || len(name)+len(value) > 4096 || !strings.Contains(attributes+";", "; HttpOnly;") {
		t.Errorf("Set-Cookie: %q", line)
	}
	if _, secret, _ := strings.Cut(value, "."); secret == "" || strings.Contains(strings.Replace(r.raw, line, "", 1), secret) {
		t.Errorf("the secret is elsewhere, too: %q", r.raw)
	}
	if r := s.get("/", pair); !strings.Contains(r.body, "user=alice") || strings.Contains(r.raw, value) {
		t.Errorf("%q", r.raw)
	}
	if err := s.try(probed, "http://"+s.addr+" {\n"+site(longest+"x")+"\n}"); err == nil || !strings.Contains(err.Error(), "name has 257 bytes") {
		t.Errorf("a longer name: %v", err)
	}
}

// maxAge returns what the session cookie of a response says, -1 for nothing.
func maxAge(t *testing.T, r *response) int {
	t.Helper()
	_, rest, ok := strings.Cut(r.Header.Get("Set-Cookie"), "Max-Age=")
	if !ok {
		return -1
	}
	digits, _, _ := strings.Cut(rest, ";")
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Errorf("%q: %v", r.raw, err)
	}
	return n
}

func TestCookieMaxAge(t *testing.T) {
	a := app(t, scripted)
	near := func(got, want int) bool { return want-5 <= got && got <= want }
	for name, site := range map[string]string{
		"session":    "session {\n\tlifetime 2h\n\tremember 10h\n}\n",
		"persistent": "session {\n\tlifetime 2h\n\tremember 10h\n\tcookie {\n\t\tpersistent\n\t}\n}\n",
	} {
		usual := -1
		if name == "persistent" {
			usual = 7200
		}
		s := serve(t, probed, site+"reverse_proxy "+a.host())
		r := s.signedIn("alice")
		if got := maxAge(t, r); got != usual {
			t.Errorf("%s: signing in: Max-Age %d", name, got)
		}
		cookie := r.cookie()
		for _, tt := range []struct {
			query, why string
			want       int
		}{
			{"control=max-age%3D60", "short", 60},
			{"control=max-age%3D3600", "remember me", 3600},
			{"control=max-age%3D360000", "over the limit", 36000},
			{"control=renew", "it stays remembered", 36000},
			{"control=max-age%3D0", "back", usual},
		} {
			r = s.get("/?"+tt.query, cookie)
			if got := maxAge(t, r); got != tt.want && !(tt.query == "control=renew" && near(got, tt.want)) || r.cookie() == "" {
				t.Errorf("%s, %s: Max-Age %d, want %d: %q", name, tt.why, got, tt.want, r.raw)
			}
			cookie = r.cookie()
		}
		if s.logged("max-age is more than remember allows") == nil {
			t.Errorf("%s: capping is not logged", name)
		}
		if r = s.get("/?set=n%3D1", cookie); r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: the cookie is sent again: %q", name, r.raw)
		}
	}
}

// The cookie ends with idle, and goes on with it.
func TestCookieThatEndsWithIdle(t *testing.T) {
	a := app(t, scripted)
	site := func(settings string) string {
		return "session {\n\tidle 10m\n\tlifetime 20m\n\t" + settings + "\n\tcookie {\n\t\tpersistent idle\n\t}\n}\nreverse_proxy " + a.host()
	}
	s := serve(t, storeOption("memory"), site("touch 1ms")) // so each use is due
	r := s.get("/?set=n%3D1", "")
	first := r.cookie()
	if got := maxAge(t, r); got != 600 {
		t.Errorf("at the begin: Max-Age %d", got)
	}
	for _, tt := range []struct {
		query string
		want  int // -1: not sent
	}{
		{"", 600},
		{"set=n%3D2", 600},
		{"set=n%3D3&control=no-touch", -1},
		{"control=no-touch", -1},
		{"h.Cache-Control=public", -1},
		{"control=max-age%3D60", 60},
		{"control=max-age%3D0", 600},
	} {
		var r *response
		for range 20 { // by then a millisecond has passed
			if r = s.get("/?"+tt.query, first); r.cookie() != "" {
				break
			}
		}
		if got := maxAge(t, r); got != tt.want || got >= 0 && r.cookie() != first {
			t.Errorf("%q: Max-Age %d, want %d: %q", tt.query, got, tt.want, r.raw)
		}
		if cc := r.Header.Get("Cache-Control"); tt.want >= 0 && !strings.Contains(cc, "private") && !strings.Contains(cc, "no-store") {
			t.Errorf("%q: Cache-Control %q", tt.query, cc)
		}
	}
	s.load(storeOption("memory"), site("touch 1m")) // so none is
	cookie := s.get("/?set=user%3Dalice", "").cookie()
	for query, want := range map[string]int{"": -1, "set=n%3D2": 600} {
		if got := maxAge(t, s.get("/?"+query, cookie)); got != want {
			t.Errorf("no touch is due, %q: Max-Age %d, want %d", query, got, want)
		}
	}
	s.load(storeOption("memory"), "session {\n\tidle 10m\n\tlifetime 10m\n\tcookie {\n\t\tpersistent idle\n\t}\n}\nreverse_proxy "+a.host())
	r = s.get("/?set=n%3D1", "")
	if got := maxAge(t, r); got != 600 {
		t.Errorf("at the deadline: Max-Age %d", got)
	}
}

// signedIn is signIn with the whole response.
func (s *server) signedIn(user string) *response {
	s.t.Helper()
	return s.get("/?set="+url.QueryEscape("user="+user), "")
}
