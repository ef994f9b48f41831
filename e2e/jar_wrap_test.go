package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// cookieOf returns the NAME=VALUE of the Set-Cookie line for name, or "".
func cookieOf(r *response, name string) string {
	for _, line := range r.Header["Set-Cookie"] {
		if pair, _, _ := strings.Cut(line, ";"); strings.HasPrefix(pair, name+"=") {
			return pair
		}
	}
	return ""
}

const wrapRules = "seal prefs\nsign lang\nsign vip {\nbound\n}\nsign node {\nformat cookie-parser\n}\nkeys " + cookieKey

func TestJarSealsAndSigns(t *testing.T) {
	s := serveJar(t, storeOption("memory"), wrapRules)
	r := s.get(setting("first=1", "prefs=secret; Path=/; Max-Age=3600", "lang=en; Path=/; HttpOnly", "node=%C3%A9", "last=1"), "")
	lines := setCookies(r)
	if len(lines) != 5 || lines[0] != "first=1" || lines[4] != "last=1" || strings.Contains(r.raw, "secret") || r.cookie() != "" ||
		!strings.HasPrefix(lines[1], "prefs=") || !strings.HasSuffix(lines[1], "; Path=/; Max-Age=3600") ||
		!strings.HasPrefix(lines[2], "lang=en.") || !strings.HasSuffix(lines[2], "; Path=/; HttpOnly") || !strings.HasPrefix(lines[3], "node=s%3A%C3%A9.") {
		t.Fatalf("the browser sees %q", r.raw)
	}
	all := strings.Join([]string{cookieOf(r, "prefs"), cookieOf(r, "lang"), cookieOf(r, "node")}, "; ")
	if r := s.get("/dir/", "a=b; "+all+";  c=d"); r.body != sees("a=b; prefs=secret; lang=en; node=%C3%A9;  c=d") {
		t.Errorf("the application sees %s", r.body)
	}
	forged := "prefs=secret; lang=de; node=x; vip=1; " + strings.Replace(cookieOf(r, "lang"), "en", "de", 1)
	if r := s.get("/dir/", forged); r.body != sees() || r.StatusCode != http.StatusOK {
		t.Errorf("forged: the application sees %s", r.body)
	}
	if n := len(s.logged(`"debug"`, "removing a cookie from a request", "does not verify")); n != 4 {
		t.Errorf("%d log lines for forged cookies, want 4 and one for what is bound", n)
	}
	if log := s.log.String(); strings.Contains(log, "secret\"") || strings.Contains(log, cookieKey) {
		t.Error("the log has a value or a key")
	}
}

func TestJarBound(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep PHPSESSID\n"+wrapRules)
	// Nothing to bind it to: it is not sent, and that is logged.
	r := s.get(setting("vip=1; Path=/"), "")
	if len(r.Header["Set-Cookie"]) != 0 || len(s.logged("ignoring a cookie that the application sets", "no session to bind it to")) != 1 {
		t.Errorf("without a session: %q", r.raw)
	}
	// The session that the same response makes is good enough.
	for _, making := range []string{setting("vip=1; Path=/") + "set=a%3Db", setting("vip=1; Path=/", "PHPSESSID=x; Path=/")} {
		r = s.get(making, "")
		cookie, vip := r.cookie(), cookieOf(r, "vip")
		sees := func(why, cookies string, want bool) {
			t.Helper()
			if r := s.get("/", cookies); strings.Contains(r.body, "vip=1") != want || !want && strings.Contains(r.body, "vip") {
				t.Errorf("%s: %s", why, r.body)
			}
		}
		sees("in its session", cookie+"; "+vip, true)
		sees("without a session", vip, false)
		sees("in another", s.get("/?set=a%3Db", "").cookie()+"; "+vip, false)
		alice := s.get("/?set=user%3Dalice", cookie).cookie()
		sees("signed in", alice+"; "+vip, true)
		gone := s.get("/?unset=user", alice).cookie()
		sees("signed out", gone+"; "+vip, false)
		// To the session from now on, not to the one before.
		r = s.get(setting("vip=1; Path=/")+"control=clear", gone)
		sees("replaced", r.cookie()+"; "+cookieOf(r, "vip"), true)
		sees("before it was replaced", gone+"; "+cookieOf(r, "vip"), false)
		if r = s.get(setting("vip=1; Path=/")+"control=destroy", r.cookie()); cookieOf(r, "vip") != "" {
			t.Errorf("bound to a destroyed session: %q", r.raw)
		}
	}
}

func TestJarKeysRotate(t *testing.T) {
	a := app(t, cookieApp)
	site := func(keys string) string {
		return "session {\n\tcookies {\n\t\tseal prefs\n\t\tsign lang\n\t\tkeys " + keys + "\n\t}\n}\nreverse_proxy " + a.host()
	}
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 32)
	t.Setenv("JAR_KEY", second)
	s := serve(t, storeOption("memory"), site(first))
	r := s.get(setting("prefs=p; Path=/; Max-Age=1000; Secure", "lang=en; Path=/dir; SameSite=Strict"), "")
	old := cookieOf(r, "prefs") + "; " + cookieOf(r, "lang")
	s.load(storeOption("memory"), site("{env.JAR_KEY} "+first))
	r = s.get("/dir/", old)
	if lines := r.Header["Set-Cookie"]; r.body != sees("prefs=p; lang=en") || len(lines) != 2 ||
		!strings.Contains(lines[0], "; Secure; Path=/; Max-Age=") || !strings.HasSuffix(lines[1], "; SameSite=Strict; Path=/dir") || r.Header.Get("Cache-Control") != "private" {
		t.Fatalf("under two keys: %q", r.raw)
	}
	fresh := cookieOf(r, "prefs") + "; " + cookieOf(r, "lang")
	if r := s.get("/dir/", fresh); r.body != sees("prefs=p; lang=en") || len(r.Header["Set-Cookie"]) != 0 {
		t.Errorf("fresh under two keys: %q", r.raw)
	}
	if r := s.get("/dir/?h.Cache-Control=public", old); len(r.Header["Set-Cookie"]) != 0 || r.Header.Get("Cache-Control") != "public" {
		t.Errorf("into a cache: %q", r.raw)
	}
	if r := s.get(setting("lang=de"), old); len(r.Header["Set-Cookie"]) != 2 || !strings.HasPrefix(r.Header["Set-Cookie"][0], "lang=de.") {
		t.Errorf("beside the application's: %q", r.raw)
	}
	s.load(storeOption("memory"), site("{env.JAR_KEY}"))
	if r := s.get("/dir/", fresh); r.body != sees("prefs=p; lang=en") {
		t.Errorf("fresh under the new key: %s", r.body)
	}
	if r := s.get("/dir/", old); r.body != sees() {
		t.Errorf("old under the new key: %s", r.body)
	}

	// Keys that are too short, unknown or empty keep a config from loading.
	t.Setenv("JAR_KEY", "short")
	for _, key := range []string{"{env.JAR_KEY}", "{env.JAR_NONE}", "{file./does/not/exist}"} {
		err := s.try(storeOption("memory"), fmt.Sprintf("http://%s {\n%s\n}", s.addr, site(key)))
		if err == nil || !strings.Contains(err.Error(), "keys") || strings.Contains(err.Error(), `"short"`) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestJarHardens(t *testing.T) {
	const block = "keep PHPSESSID\nsign lang\nharden secure http_only same_site=lax\nkeys " + cookieKey
	s := serveJar(t, storeOption("memory"), block)
	r := s.get(setting("a=b; Path=/", "c=d; SameSite=Strict; httponly", "gone=; Max-Age=0", "PHPSESSID=x", "lang=en"), "")
	if lines := setCookies(r); len(lines) != 4 || lines[0] != "a=b; Path=/; SameSite=Lax; HttpOnly" || lines[1] != "c=d; SameSite=Strict; httponly" ||
		lines[2] != "gone=; Max-Age=0" || !strings.HasSuffix(lines[3], "; SameSite=Lax; HttpOnly") {
		t.Errorf("over plain HTTP: %q", r.raw)
	}
	if line := r.Header["Set-Cookie"][len(r.Header["Set-Cookie"])-1]; !strings.HasPrefix(line, "csid=") || !strings.HasSuffix(line, "; Path=/; HttpOnly; SameSite=Lax") {
		t.Errorf("our own cookie is %q", line)
	}
}

func TestJarForwards(t *testing.T) {
	a := app(t, cookieApp)
	site := "session {\n\tforward role\n\tcookies {\n\t\tkeep PHPSESSID\n\t\tsign lang\n\t\tseal prefs\n\t\tkeys " + cookieKey +
		"\n\t\tforward lang\n\t\tforward PHPSESSID X-Remote-Session\n\t\tforward prefs\n\t}\n}\nreverse_proxy " + a.host()
	s := serve(t, storeOption("memory"), site)
	r := s.get(setting("PHPSESSID=x y%; Path=/", "lang=\xc3\xa9; Path=/"), "")
	cookies := r.cookie() + "; " + cookieOf(r, "lang")
	for _, forged := range []string{"X-Remote-Session", "x-remote-session", "X_Remote_Session", "X-Session-Cookie-Lang", "X-Session-Cookie-Prefs", "X~Remote~Session"} {
		s.get("/", cookies+"; prefs=evil", forged+": evil", "Connection: "+forged)
		got := a.last().Header
		if names := under(got, "x-remote-session"); !slices.Equal(names, []string{"X-Remote-Session"}) || !slices.Equal(got["X-Remote-Session"], []string{"x y%25"}) {
			t.Errorf("%s: %q", forged, got)
		}
		if names := under(got, "x-session-cookie-"); !slices.Equal(names, []string{"X-Session-Cookie-Lang"}) || got.Get("X-Session-Cookie-Lang") != "%C3%A9" {
			t.Errorf("%s: %q", forged, got)
		}
	}
	// A signed cookie needs no session.
	s.get("/", cookieOf(r, "lang"))
	if got := a.last().Header; got.Get("X-Session-Cookie-Lang") != "%C3%A9" || len(under(got, "x-remote-session")) != 0 || got.Get("X-Session-Id") != "" {
		t.Errorf("without a session: %q", got)
	}
	// Nor one that could be there.
	s.load(storeOption("memory"), "session /never {\n\tcookies {\n\t\tsign lang\n\t\tkeys "+cookieKey+"\n\t\tforward lang\n\t}\n}\n"+
		"error /error 404\nhandle_errors {\n\treverse_proxy "+a.host()+"\n}\nreverse_proxy "+a.host())
	s.get("/", cookies, "X-Session-Cookie-Lang: evil", "X-Session-Cookie-Prefs: evil")
	if got := a.last().Header; got.Get("X-Session-Cookie-Lang") != "%C3%A9" || len(under(got, "x-session-")) != 1 {
		t.Errorf("not matched: %q", got)
	}
	s.get("/error", cookies, "X-Session-Cookie-Lang: evil")
	if got := a.last().Header; len(under(got, "x-session-")) != 0 {
		t.Errorf("after an error: %q", got)
	}
	s.load(storeOption("memory"), site)
	// What would not fit is not taken.
	if r := s.get(setting("lang="+strings.Repeat("%", 1400)), ""); cookieOf(r, "lang") != "" || len(s.logged("larger than exposed")) != 1 {
		t.Errorf("too large: %q", r.raw)
	}
}

func TestJarSameSite(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep *")
	cookie := s.get(setting("d=1; Path=/", "s=1; Path=/; SameSite=Strict", "l=1; Path=/; SameSite=Lax", "n=1; Path=/; SameSite=None"), "").cookie()
	for _, test := range []struct{ lines, want string }{
		{"X: y", "d=1; s=1; l=1; n=1"},
		{"Sec-Fetch-Site: same-origin", "d=1; s=1; l=1; n=1"},
		{"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document", "d=1; l=1; n=1"},
		{"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image", "n=1"},
		{"Origin: http://evil.example", "n=1"},
		{"Origin: http://" + s.addr, "d=1; s=1; l=1; n=1"},
		{"Origin: null", "d=1; s=1; l=1; n=1"}, // our own Lax cookie would not be there from elsewhere
		{"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: empty", "d=1; l=1; n=1"},
		{"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe", "n=1"},
	} {
		if r := s.get("/", cookie, test.lines); r.body != sees(test.want) {
			t.Errorf("%q: the application sees %s, want %s", test.lines, r.body, test.want)
		}
	}
	// Another site can't make the application set such a cookie either.
	s.get(setting("s=evil; Path=/; SameSite=Strict"), cookie, "Origin: http://evil.example")
	if r := s.get("/", cookie); !strings.Contains(r.body, "s=1;") {
		t.Errorf("afterwards: %s", r.body)
	}
}

func TestJarExpires(t *testing.T) {
	jarStores(t, func(t *testing.T, option string) {
		s := serveJar(t, option, "keep *")
		cookie := s.get(setting("short=1; Path=/; Max-Age=3", "long=1; Path=/; Max-Age=1000"), "").cookie()
		if r := s.get("/", cookie); r.body != sees("short=1; long=1") {
			t.Errorf("at once: %s", r.body)
		}
		eventually(t, "the short one has expired", func() bool { return s.get("/", cookie).body == sees("long=1") })
	})
}

// The jar on every protocol, with redirects and errors.
func TestJarProtocols(t *testing.T) {
	a := app(t, cookieApp)
	eachClient(t, "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t\tsign lang\n\t\tharden secure\n\t\tkeys "+cookieKey+"\n\t}\n}\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		r := c.do("POST", setting("PHPSESSID=one; Path=/; Secure", "lang=en; Path=/", "a=b")+"status=303&h.Location=/", nil)
		lines := r.Header["Set-Cookie"]
		if r.StatusCode != http.StatusSeeOther || len(lines) != 3 || !strings.HasPrefix(lines[0], "lang=en.") || !strings.HasSuffix(lines[0], "; Path=/; Secure") ||
			lines[1] != "a=b; Secure" || !strings.HasPrefix(lines[2], "__Host-csid=") {
			t.Fatalf("a redirect: %s %q", r.Status, lines)
		}
		c.cookie = r.cookie() + "; PHPSESSID=evil; " + cookieOf(r, "lang") + "; a=b"
		for _, status := range []int{200, 404, 500, 204} {
			value := fmt.Sprint("s", status)
			r := c.do("GET", setting("PHPSESSID="+value+"; Path=/")+fmt.Sprint("status=", status), nil)
			if lines := r.Header["Set-Cookie"]; r.StatusCode != status || len(lines) != 1 || !strings.HasPrefix(lines[0], "__Host-csid=") {
				t.Errorf("%d: %s %q", status, r.Status, r.Header)
			}
			if r := c.do("GET", "/", nil); r.body != sees("PHPSESSID="+value+"; lang=en; a=b") {
				t.Errorf("after %d: %s", status, r.body)
			}
		}
	})
}

func TestJarWebSocket(t *testing.T) {
	a, ended := webSocketApp(t, "Set-Cookie: PHPSESSID=socket; Path=/\r\nSet-Cookie: c=d\r\n", func() {})
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+a.host())
	cookie := s.get("/?h.Set-Cookie="+escape("PHPSESSID=page; Path=/"), "").cookie()
	r, in, c := s.upgrade(cookie+"; PHPSESSID=evil", "dGhlIHNhbXBsZSBub25jZQ==")
	if lines := setCookies(&response{Response: r}); r.StatusCode != http.StatusSwitchingProtocols || !slices.Equal(lines, []string{"c=d"}) {
		t.Fatalf("handshake: %s %q", r.Status, r.Header)
	}
	if text, err := readFrame(in); err != nil || text != "user= data={} cookie=PHPSESSID=page; a=b" {
		t.Errorf("the application greets %q, %v", text, err)
	}
	s.get("/", cookie)
	if got := a.last().Header.Get("Cookie"); got != "PHPSESSID=socket" {
		t.Errorf("during the connection: %q", got)
	}
	c.Close()
	hangUp(t, ended)

	// And it makes a session.
	r, _, c = s.upgrade("x=y", "dGhlIHNhbXBsZSBub25jZQ==")
	next := (&response{Response: r}).cookie()
	s.get("/", next)
	if got := a.last().Header.Get("Cookie"); got != "PHPSESSID=socket" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a new session: %q, %q", got, r.Header)
	}
	c.Close()
}

func TestJarTrailers(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Trailer", "X-Sum, Set-Cookie")
		w.Write([]byte("body"))
		w.(http.Flusher).Flush()
		h.Set("X-Sum", "42")
		h.Set("Set-Cookie", "PHPSESSID=late")
		h.Set(http.TrailerPrefix+"set-cookie", "PHPSESSID=later")
	})
	eachClient(t, "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+a.host(), func(t *testing.T, c *client) {
		r := c.do("GET", "/", http.Header{"Te": {"trailers"}})
		if r.body != "body" || len(r.Trailer["Set-Cookie"]) != 0 || len(r.Header["Set-Cookie"]) != 0 {
			t.Errorf("header %q, trailer %q", r.Header, r.Trailer)
		}
		if r.ProtoAtLeast(1, 1) && r.Trailer.Get("X-Sum") != "42" {
			t.Errorf("the application's own trailer is lost: %q", r.Trailer)
		}
	})
}

func TestJarCounts(t *testing.T) {
	a := app(t, cookieApp)
	site := func(keys string) string {
		return "metrics /metrics\nsession {\n\tcookies {\n\t\tkeep k*\n\t\tsign lang\n\t\tkeys " + keys + "\n\t}\n}\nreverse_proxy " + a.host()
	}
	s := serve(t, storeOption("memory"), site(cookieKey))
	counts := func() (all [4]int) {
		body := s.get("/metrics", "").body
		for i, event := range []string{"invalid", "ignored", "evicted", "reissued"} {
			_, after, ok := strings.Cut(body, `caddy_session_cookies_total{outcome="cookie_`+event+`"} `)
			if _, err := fmt.Sscan(after, &all[i]); !ok || err != nil {
				t.Fatalf("no count of %s: %v", event, err)
			}
		}
		return all
	}
	lang := cookieOf(s.get(setting("lang=en; Path=/"), ""), "lang")
	before := counts()
	s.get("/", "lang=evil; lang=worse; "+lang)
	s.get(setting("k=x; Secure", "k=x; Domain=com", "lang="+strings.Repeat("x", 5000)), "")
	var many []string
	for i := range 52 {
		many = append(many, fmt.Sprintf("k%d=x", i))
	}
	s.get(setting(many...), "")
	s.load(storeOption("memory"), site(strings.Repeat("n", 32)+" "+cookieKey))
	s.get("/", lang)
	after := counts()
	for i := range after {
		after[i] -= before[i]
	}
	if want := [4]int{2, 3, 2, 1}; after != want {
		t.Errorf("counted invalid, ignored, evicted, reissued %v, want %v", after, want)
	}
}

// TestWrappedRoom measures the longest cookies that fit with attributes as
// applications set them, and compares that with docs/cookies.md.
func TestWrappedRoom(t *testing.T) {
	documented := regexp.MustCompile(`(?s)a sealed cookie has room for ([\d,]+) bytes of name and value,\s+a signed one for ([\d,]+)`).
		FindStringSubmatch(repoFile(t, "docs/cookies.md"))
	if documented == nil {
		t.Fatal("docs/cookies.md does not say how much room there is")
	}
	s := serveJar(t, storeOption("memory"), "seal prefs\nsign lang\nkeys "+cookieKey)
	for i, name := range []string{"prefs", "lang"} {
		promised, err := strconv.Atoi(strings.ReplaceAll(documented[i+1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, attributes := range []string{"", "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Path=/; Max-Age=31536000; Expires=Wed, 01 Jan 2031 00:00:00 GMT; HttpOnly"} {
			room := len(name) + sort.Search(5000, func(n int) bool {
				return len(setCookies(s.get(setting(name+"="+strings.Repeat("x", n+1)+attributes), ""))) == 0
			})
			t.Logf("%s with %q: %d bytes", name, attributes, room)
			if room < promised || room > promised+100 {
				t.Errorf("%s with %q has room for %d bytes, docs/cookies.md says %d", name, attributes, room, promised)
			}
		}
	}
}
