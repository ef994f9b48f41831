package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const cookieKey = "0123456789abcdef0123456789abcdef"

// cookieApp answers with the Set-Cookie lines of the request's parameters set,
// in order, and with the Cookie header that it got.
func cookieApp(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for _, line := range q["cookie"] {
		w.Header().Add("Set-Cookie", line)
	}
	scriptedHeaders(w, r)
	fmt.Fprintf(w, "%q", r.Header["Cookie"])
}

// setting returns a target that makes cookieApp set cookies.
func setting(lines ...string) string {
	target := "/dir/page?"
	for _, line := range lines {
		target += "cookie=" + escape(line) + "&"
	}
	return target
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// jarStores runs a test on the stores that need no other program.
func jarStores(t *testing.T, run func(t *testing.T, option string)) {
	t.Run("memory", func(t *testing.T) { run(t, storeOption("memory")) })
	t.Run("embedded", func(t *testing.T) {
		run(t, storeOption("embedded "+filepath.Join(t.TempDir(), "sessions.db")))
	})
}

// serveJar loads a site with a cookies block before the application.
func serveJar(t *testing.T, option, block string) *server {
	t.Helper()
	a := app(t, cookieApp)
	return serve(t, option, "session {\n\tcookies {\n"+block+"\n\t}\n}\nreverse_proxy "+a.host())
}

// sees is what cookieApp answers if its Cookie header has these lines.
func sees(lines ...string) string { return fmt.Sprintf("%q", lines) }

// setCookies returns the Set-Cookie lines of a response but ours.
func setCookies(r *response) (lines []string) {
	for _, line := range r.Header["Set-Cookie"] {
		if !strings.HasPrefix(line, "csid=") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestJarKeeps(t *testing.T) {
	jarStores(t, func(t *testing.T, option string) {
		s := serveJar(t, option, "keep PHPSESSID app_*")
		r := s.get(setting("PHPSESSID=secret; path=/; HttpOnly", "app_a=1; Path=/dir", "theme=dark"), "")
		cookie := r.cookie()
		if cookie == "" {
			t.Fatalf("a kept cookie makes no session: %q", r.raw)
		}
		if got := setCookies(r); !slices.Equal(got, []string{"theme=dark"}) || strings.Contains(r.raw, "secret") {
			t.Errorf("the browser sees %q", r.raw)
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control %q", r.Header.Get("Cache-Control"))
		}
		if r := s.get("/dir/page", "theme=dark; "+cookie); r.body != sees("app_a=1; PHPSESSID=secret; theme=dark") {
			t.Errorf("in the directory: %s", r.body)
		}
		if r := s.get("/", cookie); r.body != sees("PHPSESSID=secret") {
			t.Errorf("elsewhere: %s", r.body)
		}
		// Another value, and the end of it.
		if r := s.get(setting("PHPSESSID=other; path=/"), cookie); untagged(r.cookie()) != untagged(cookie) || r.cookie() == cookie {
			t.Errorf("a change does not send the cookie with another tag: %q", r.raw)
		}
		if r := s.get("/", cookie); r.body != sees("PHPSESSID=other") {
			t.Errorf("after a change: %s", r.body)
		}
		s.get(setting("PHPSESSID=deleted; path=/; expires=Thu, 01-Jan-1970 00:00:01 GMT"), cookie)
		if r := s.get("/", cookie); r.body != sees() {
			t.Errorf("after deletion: %s", r.body)
		}
		// Without the session there is nothing.
		if r := s.get("/", ""); r.body != sees() {
			t.Errorf("anonymous: %s", r.body)
		}
	})
}

// untagged returns a session cookie without the tag of what is kept.
func untagged(cookie string) string {
	parts := strings.SplitN(cookie, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func TestJarForgeries(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep PHPSESSID app_x\ndrop _ga*")
	cookie := s.get(setting("PHPSESSID=real; Path=/"), "").cookie()
	for _, forged := range []string{
		"PHPSESSID=evil", "PHPSESSID =evil", "\tPHPSESSID=evil", "PHPSESSID", "phpsessid=evil",
		"PHPSESSID[x]=evil", "PHPSESSID[=evil", "%50HPSESSID=evil", "+PHPSESSID=evil", "PHPSESSID%00x=evil",
		"app.x=evil", "app x=evil", "app[x=evil", "APP_X=evil", "app%2ex=evil", "app%5Bx=evil",
		"a,PHPSESSID=evil", ",PHPSESSID=evil", "a, PHPSESSID[x]=evil", "\xa0PHPSESSID=evil", "\u3000PHPSESSID\u00a0=evil", "%20PHPSESSID%85=evil", `"PHPSESSID"=evil`,
		"=PHPSESSID=evil", "==PHPSESSID=evil", "b=1,PHPSESSID=evil", `b="1, PHPSESSID =evil"`,
		"<PHPSESSID=evil", "{[(PHPSESSID)]}=evil", "<=PHPSESSID=evil", "b=1, (PHPSESSID=evil", `b={"c":1,"PHPSESSID=evil":2}`, "_ga=1", "_ga.x=1", "_GA_X=2",
	} {
		for _, before := range []string{"", cookie + "; "} {
			want := sees("a=b; c=d")
			if before != "" {
				want = sees("PHPSESSID=real; a=b; c=d")
			}
			if r := s.get("/", before+"a=b; "+forged+"; c=d"); r.body != want {
				t.Errorf("%q: the application sees %s, want %s", before+forged, r.body, want)
			}
		}
	}
	// Several lines.
	if r := s.get("/", "a=b", "Cookie: PHPSESSID=evil", "Cookie: c=d; PHPSESSID=evil", "Cookie: "+cookie); r.body != sees("PHPSESSID=real; a=b", "c=d") {
		t.Errorf("several lines: %s", r.body)
	}
	// Whatever becomes of the request.
	site := "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\n"
	a := app(t, cookieApp)
	s.load(roomy, site+"reverse_proxy "+a.host()+"\nhandle_errors {\nreverse_proxy "+a.host()+"\n}")
	big := "csid=" + token(1) + "; PHPSESSID=evil; a=" + strings.Repeat("x", 17<<10)
	if r := s.get("/", big); !strings.Contains(r.body, "xxx") || strings.Contains(r.body, "evil") {
		t.Errorf("431: %.100s", r.body)
	}
	storeDown(t)
	if r := s.get("/", "csid="+token(1)+"; PHPSESSID=evil; a=b"); r.body != sees("a=b") {
		t.Errorf("503: %s", r.body)
	}
}

func TestJarLeavesOthersAlone(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep PHPSESSID app_x\ndrop _ga*")
	cookie := s.get(setting("PHPSESSID=real; Path=/"), "").cookie()
	// Nothing else is touched.
	const odd = `a = b ;;c="d, e"; {"x":"y=","z":1}; =; \u00e4; f`
	if r := s.get("/", odd); r.body != sees(odd) {
		t.Errorf("odd cookies: %s", r.body)
	}
	// A quote that is left open swallows nothing.
	if r := s.get("/", `x="; `+cookie); r.body != sees(`PHPSESSID=real; x="`) {
		t.Errorf("an open quote: %s", r.body)
	}
}

func TestJarConnection(t *testing.T) {
	s := serveJar(t, storeOption("memory"), "keep PHPSESSID")
	cookie := s.get(setting("PHPSESSID=real; Path=/"), "").cookie()
	for _, connection := range []string{"Cookie", "close, cookie", "COOKIE, close"} {
		r := s.parse(s.raw(s.request("GET", "/", "", "Cookie: "+cookie, "Connection: "+connection, "Connection: close")))
		if r.body != sees("PHPSESSID=real") {
			t.Errorf("Connection: %s: %s", connection, r.body)
		}
	}
	// As trailers.
	u := upstream(t, always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	s.load(storeOption("memory"), "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy "+u.addr)
	s.raw(s.request("POST", "/", "1\r\nx\r\n0\r\nCookie: PHPSESSID=evil\r\nX-Own: 1\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: X-Own, Cookie", "Connection: close"))
	if got := u.last().Trailer; got.Get("Cookie") != "" || got.Get("X-Own") != "1" {
		t.Errorf("trailers %v", got)
	}
}

func TestJarNotMatched(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, storeOption("memory"), "@dynamic path /dir/* /in\nsession @dynamic {\n\tcookies {\n\t\tkeep PHPSESSID\n\t\tsign lang\n\t\tdrop x\n\t\tkeys "+cookieKey+"\n\t}\n}\nreverse_proxy "+a.host())
	r := s.get(setting("PHPSESSID=real; Path=/", "lang=en; Path=/"), "")
	cookie := r.cookie()
	signed, _, _ := strings.Cut(setCookies(r)[0], ";")
	if r := s.get("/in", cookie+"; "+signed); r.body != sees("PHPSESSID=real; lang=en") {
		t.Fatalf("matched: %s", r.body)
	}
	r = s.get("/out?cookie="+escape("PHPSESSID=new; Path=/")+"&cookie="+escape("x=y")+"&cookie="+escape("a=b"), cookie+"; PHPSESSID=evil; lang=de; "+signed+"; x=1; a=b")
	if r.body != sees("lang=en; a=b") || !slices.Equal(r.Header["Set-Cookie"], []string{"a=b"}) {
		t.Errorf("not matched: %q", r.raw)
	}
	if r := s.get("/in", cookie); r.body != sees("PHPSESSID=real") {
		t.Errorf("afterwards: %s", r.body)
	}
}

// TestJarOfTwoHandlers: each handler's rules begin with what the client has sent,
// but for the session cookies of all.
func TestJarOfTwoHandlers(t *testing.T) {
	a := app(t, cookieApp)
	handler := func(name, matcher string) string {
		return "session " + matcher + " {\n\tcookie {\n\t\tname " + name + "\n\t}\n\tcookies {\n\t\tkeep kept_" + name + "\n\t}\n}\n"
	}
	const cookies = "one=secret1; two=secret2; kept_one=x; kept_two=y; a=b"
	t.Run("in a row", func(t *testing.T) {
		s := serve(t, storeOption("memory"), handler("one", "/one/*")+handler("two", "")+"reverse_proxy "+a.host())
		for target, want := range map[string]string{"/one/": "kept_two=y; a=b", "/": "kept_one=x; a=b"} {
			if r := s.get(target, cookies); r.body != sees(want) {
				t.Errorf("%s: %s, want %s", target, r.body, sees(want))
			}
		}
	})
	t.Run("after an error", func(t *testing.T) {
		s := serve(t, storeOption("memory"), handler("one", "")+"error 404\nhandle_errors {\n"+handler("two", "")+"reverse_proxy "+a.host()+"\n}")
		if r := s.get("/", cookies); r.body != sees("kept_one=x; a=b") {
			t.Errorf("%s", r.body)
		}
	})
}

func TestJarPassesByteForByte(t *testing.T) {
	odd := []string{
		"Set-Cookie: a=b; Path=/; Secure; HttpOnly; SameSite=Lax",
		"Set-Cookie: =nameless; x",
		"Set-Cookie: a b=c\"d,e f; expires=never; PATH = /",
		"Set-Cookie: utf8=\xc3\xa4\xff; Domain=.other.example",
		"Set-Cookie: lonely",
		"Set-Cookie: a=b;;; ;Secure=no",
		"Set-Cookie: __Host-x=1",
		"Set-Cookie: ",
		"Set-Cookie: big=" + strings.Repeat("x", 5000),
	}
	u := upstream(t, always("HTTP/1.1 200 OK\r\n"+strings.Join(odd, "\r\n")+"\r\nContent-Length: 0\r\n\r\n"))
	for _, block := range []string{"keep PHPSESSID", "keep PHPSESSID\nseal s*\nsign t\nkeys " + cookieKey} {
		s := serve(t, storeOption("memory"), "session {\n\tcookies {\n"+block+"\n\t}\n}\nreverse_proxy "+u.addr)
		raw := s.raw(s.request("GET", "/", ""))
		var got []string
		for line := range strings.SplitSeq(raw, "\r\n") {
			if strings.HasPrefix(line, "Set-Cookie:") {
				got = append(got, line)
			}
		}
		if !slices.Equal(got, odd) {
			t.Errorf("%s: got\n%q, want\n%q", block, got, odd)
		}
	}
}

// A cookie that passes where all others are managed is free in its value.
func TestJarPassesValues(t *testing.T) {
	for _, block := range []string{"keep *\npass consent", "default drop\npass consent", "default keep\nkeep PHPSESSID\npass consent"} {
		s := serveJar(t, storeOption("memory"), block)
		for _, value := range []string{"groups=C1:1, C2:0 version=6", `{"ads": true, "lang=de": [1, 2]}`, "a, b c=d\u3000e=f"} {
			if r := s.get("/", "x=1; consent="+value+"; y=2"); r.body != sees("consent="+value) {
				t.Errorf("%s: of %q, the application sees %s", block, value, r.body)
			}
		}
	}
}

func TestJarInterim(t *testing.T) {
	u := upstream(t, func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: PHPSESSID=early; Path=/\r\nSet-Cookie: prefs=clear\r\nSet-Cookie: a=b\r\n\r\n"+
			"HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: PHPSESSID=late; Path=/\r\nContent-Length: 0\r\n\r\n")
	})
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep PHPSESSID\n\t\tseal prefs\n\t\tkeys "+cookieKey+"\n\t}\n}\nreverse_proxy "+u.addr)
	raw := s.raw(s.request("GET", "/", ""))
	early, late, _ := strings.Cut(raw, "\r\n\r\n")
	if strings.Contains(raw, "PHPSESSID") || strings.Contains(raw, "clear") || strings.Contains(early, "csid=") || !strings.Contains(early, "Set-Cookie: a=b") {
		t.Errorf("the client sees %q", raw)
	}
	r := s.parse(late)
	s.get("/", r.cookie())
	if got := u.last().Header.Get("Cookie"); got != "PHPSESSID=late" {
		t.Errorf("kept is %q", got)
	}
}

// Paths are those that the browser knows, not those that the application sees.
func TestJarPaths(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, storeOption("memory"), "handle_path /app/* {\nsession {\n\tcookies {\n\t\tkeep *\n\t}\n}\nrewrite * /in{uri}\nreverse_proxy "+a.host()+"\n}")
	cookie := s.get("/app/dir/page?cookie=default%3D1&cookie="+escape("path=1; Path=/app/x%20y")+"&cookie="+escape("inside=1; Path=/in"), "").cookie()
	for target, want := range map[string]string{
		"/app/dir/": sees("default=1"), "/app/dir": sees("default=1"), "/app/dirx": sees(), "/app/x%20y/z": sees("path=1"), "/app/in": sees(),
	} {
		if r := s.get(target, cookie); r.body != want {
			t.Errorf("%s: the application sees %s, want %s", target, r.body, want)
		}
		if got := a.last().URL.Path; !strings.HasPrefix(got, "/in/") {
			t.Errorf("%s is rewritten to %s", target, got)
		}
	}
}

// A cookie that somebody has planted is worth nothing after a sign-in that
// renews it, as docs/cookies.md has it for applications that do not know us.
func TestJarAndFixation(t *testing.T) {
	a := app(t, cookieApp)
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep *\n\t}\n}\nsession_renew /dir/login\nreverse_proxy "+a.host())
	planted := s.get(setting("PHPSESSID=of nobody; Path=/"), "").cookie()
	if r := s.get("/", planted); r.body != sees("PHPSESSID=of nobody") {
		t.Fatalf("the application sees %s", r.body)
	}
	r := s.get(strings.Replace(setting("PHPSESSID=of the victim; Path=/"), "page", "login", 1), planted)
	victim := r.cookie()
	if victim == "" || victim == planted || len(setCookies(r)) != 0 {
		t.Fatalf("signing in: %q", r.raw)
	}
	if r := s.get("/", planted); r.body != sees() {
		t.Errorf("with the planted cookie the application sees %s", r.body)
	}
	if r := s.get("/", victim); r.body != sees("PHPSESSID=of the victim") {
		t.Errorf("the victim's application sees %s", r.body)
	}
}

// An application gone mad costs what a hundred cookies cost, and one line in the
// log.
func TestJarTooManyCookies(t *testing.T) {
	var lines strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&lines, "Set-Cookie: c%d=1; Path=/; Bad=%d\r\n", i, i)
	}
	u := upstream(t, always(saying("200 OK", lines.String())))
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep *\n\t\tpass c1*\n\t}\n}\nreverse_proxy "+u.addr)
	begin := time.Now()
	r := s.get("/", "")
	t.Logf("the response took %v", time.Since(begin))
	if n := len(r.Header["Set-Cookie"]); r.StatusCode != http.StatusOK || n != 11+1 { // c1, c10 to c19, and the session's
		t.Errorf("%d cookies with status %d", n, r.StatusCode)
	}
	if lines := s.logged(`"warn"`, "ignoring cookies that the application sets: the response has too many", `"ignored":19900`, `"most":100`); len(lines) != 1 {
		t.Errorf("the log: %q", lines)
	}
}
