package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// Documentation that is not run rots.

func TestExampleIsFormatted(t *testing.T) {
	text := repoFile(t, "Caddyfile.example")
	if got := string(caddyfile.Format([]byte(text))); got != text {
		t.Error("run caddy fmt --overwrite Caddyfile.example")
	}
}

func TestExample(t *testing.T) {
	application := &server{t: t, addr: freeAddr(t)}
	_, port, _ := net.SplitHostPort(application.addr)
	s := serveFile(t, strings.ReplaceAll(repoFile(t, "Caddyfile.example"), ":8081", ":"+port), "localhost:8080")
	page := func(cookie string, want ...string) {
		t.Helper()
		r := s.get("/", cookie)
		if ct := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || ct != "text/html; charset=utf-8" {
			t.Errorf("the page: status %d, Content-Type %q", r.StatusCode, ct)
		}
		for _, w := range want {
			if !strings.Contains(r.body, w) {
				t.Errorf("the page has no %s:\n%s", w, r.body)
			}
		}
		noSessionHeaders(t, r.raw)
		// What it says of each button is what the application answers.
		buttons := regexp.MustCompile(`<button formaction="([^"]+)"[^>]*>([^<]+)<`).FindAllStringSubmatch(r.body, -1)
		if len(buttons) != 3 {
			t.Errorf("the page has %d buttons", len(buttons))
		}
		for _, b := range buttons {
			answer := regexp.MustCompile(`<dt>` + b[2] + `</dt>\s*<dd>([^<]+)</dd>`).FindStringSubmatch(r.body)
			if answer == nil || !strings.Contains(application.post(b[1], "", nil).raw, "\r\n"+answer[1]+"\r\n") {
				t.Errorf("%s is not answered with %q", b[2], answer)
			}
		}
	}
	whoami := func(cookie, want string) {
		t.Helper()
		if r := s.get("/whoami", cookie); r.body != want+"\n" || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("/whoami: %q, want %q", r.raw, want)
		}
	}
	post := func(target, cookie string) *response {
		t.Helper()
		r := s.post(target, cookie, nil)
		if r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/" {
			t.Fatalf("POST %s: %q", target, r.raw)
		}
		noSessionHeaders(t, r.raw)
		return r
	}

	page("", `<html lang="en" class="light">`, "Hello, stranger!", `formaction="/login/alice"`)
	whoami("", "no session")
	for _, target := range []string{"/login/mallory", "/login/alice%26admin=1", "/login/alice/x", "/theme/red"} {
		if r := s.post(target, "", nil); r.StatusCode != http.StatusNotFound || r.Header.Get("Set-Cookie") != "" || !strings.Contains(r.body, `href="/"`) {
			t.Errorf("POST %s: %q", target, r.raw)
		}
	}
	_, port, _ = net.SplitHostPort(s.addr)
	if r := s.at("127.0.0.1:"+port, "/whoami?x", ""); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "http://"+s.addr+"/whoami?x" {
		t.Errorf("by a number: %q", r.raw)
	}
	if r := s.at("demo.example:"+port, "/", ""); r.StatusCode != http.StatusNotFound || !strings.Contains(r.body, "http://"+s.addr) {
		t.Errorf("by another name: %q", r.raw)
	}
	if r := s.get("/login/alice", ""); r.Header.Get("Set-Cookie") != "" {
		t.Errorf("GET signs in: %q", r.raw)
	}

	// A preference comes before signing in, and survives it.
	cookie := post("/theme/dark", "").cookie()
	page(cookie, `<html lang="en" class="dark">`, "Hello, stranger!")
	if cookie = post("/login/alice", cookie).cookie(); cookie == "" {
		t.Fatal("signing in sends no new cookie")
	}
	whoami(cookie, "user: alice\ndata: {\"theme\":\"dark\",\"user\":\"alice\"}\nversion: 2")
	page(cookie, `class="dark"`, "Hello, alice!", "{&#34;theme&#34;:&#34;dark&#34;,&#34;user&#34;:&#34;alice&#34;}")

	// Elsewhere: the same user, and another one.
	second, bob := post("/login/alice", "").cookie(), post("/login/bob", "").cookie()
	page(bob, `class="light"`, "Hello, bob!")
	post("/logout-others", cookie)
	whoami(second, "no session")
	whoami(bob, "user: bob\ndata: {\"user\":\"bob\"}\nversion: 1")
	page(cookie, "Hello, alice!")

	post("/logout", cookie)
	whoami(cookie, "no session")
	page(cookie, "Hello, stranger!")
}

func TestDocsCaddyfiles(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "secret")
	t.Setenv("SENTINEL_PASSWORD", "secret")
	t.Setenv("SESSION_DB_PASSWORD", "secret")
	t.Setenv("COOKIE_KEY", cookieKey)
	blocks := snippets(t, "caddyfile")
	if len(blocks) < 15 {
		t.Errorf("the documents have only %d Caddyfiles", len(blocks))
	}
	for i, text := range blocks {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			if got := string(caddyfile.Format([]byte(text))); got != text {
				t.Errorf("not formatted by caddy fmt:\n%s", text)
			}
			config, err := adapt(text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			parsed := new(caddy.Config)
			if err := json.Unmarshal(config, parsed); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(parsed); err != nil {
				t.Errorf("%v in\n%s", err, text)
			}
		})
	}
}

func TestDocsRedirectToSignIn(t *testing.T) {
	a := app(t, scripted)
	var blocks []string
	for _, block := range snippets(t, "caddyfile") {
		if strings.Contains(block, "redir @anonymous") {
			blocks = append(blocks, strings.ReplaceAll(block, "app.example.com", "http://localhost:8080"))
		}
	}
	if len(blocks) != 1 {
		t.Fatalf("%d examples redirect to the sign-in page, want 1", len(blocks))
	}
	s := serveFile(t, strings.ReplaceAll(blocks[0], "legacy:8080", a.host()), "localhost:8080")
	if r := s.get("/", "", "X-Session-User: alice"); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/login?next=%2F" {
		t.Errorf("anonymous: %q", r.raw)
	}
	r := s.get("/login?set=user%3Dalice", "")
	if r = s.get("/", r.cookie()); r.StatusCode != http.StatusOK || !strings.Contains(r.body, "user=alice ") {
		t.Errorf("signed in: %q", r.raw)
	}
}

func TestDocsPHP(t *testing.T) {
	s := servePHP(t, snippets(t, "php")[0], `function password_is_right($name, $password) { return $password === 'secret'; }`)
	if r := s.get("/", ""); r.body != "Hello stranger, in en" {
		t.Errorf("anonymous: %q", r.raw)
	}
	if r := s.post("/", "", url.Values{"name": {"Zoë"}, "password": {"wrong"}}); r.cookie() != "" {
		t.Errorf("a wrong password: %q", r.raw)
	}
	const name = "Zoë <b>\r\nX-Session-Control: destroy\r\n100%, \"x\""
	r := s.post("/", "", url.Values{"name": {name}, "password": {"secret"}})
	if r.StatusCode != http.StatusSeeOther || r.cookie() == "" {
		t.Fatalf("signing in: %q", r.raw)
	}
	want := "Hello " + strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(name) + ", in en"
	if r = s.get("/", r.cookie()); r.body != want {
		t.Errorf("signed in: %q, want %q", r.body, want)
	}
}

// servePHP runs a script behind php_fastcgi, with the functions of a prelude.
func servePHP(t *testing.T, script, prelude string) *server {
	t.Helper()
	php := need.Program(t, "php-cgi")
	dir := t.TempDir()
	writeFile(t, dir+"/index.php", script, 0o600)
	writeFile(t, dir+"/prelude.inc", "<?php "+prelude, 0o600)

	responder := freeAddr(t)
	cmd := exec.Command(php, "-b", responder, "-d", "auto_prepend_file="+dir+"/prelude.inc")
	cmd.Stderr = t.Output()
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "php-cgi listens", func() bool {
		c, err := net.Dial("tcp", responder)
		if err == nil {
			c.Close()
		}
		return err == nil
	})

	return serve(t, storeOption("memory"), fmt.Sprintf("session\nroot %s\nphp_fastcgi %s", dir, responder))
}

// What the manual says of PHP: arrays that are lists in JSON, two lines, and the
// user in REMOTE_USER.
func TestDocsTrapsPHP(t *testing.T) {
	blocks := snippets(t, "php")
	if len(blocks) != 2 {
		t.Fatalf("%d blocks in PHP", len(blocks))
	}
	prelude := "function explode_items($text) { return $text === '' ? [] : json_decode($text, true); }\n" +
		"function data() { return $_SERVER['HTTP_X_SESSION_DATA'] ?? ''; }"
	s := servePHP(t, blocks[1]+"echo '|', data();", prelude)
	for items, want := range map[string]string{
		"":                        `|{"seen":`,
		`{"0":"a","1":"b"}`:       `|{"0":"a","1":"b","seen":`,
		`{"user":"Zo\u00eb + 1"}`: `Zoë + 1|{"seen":`,
	} {
		r := s.get("/?items="+url.QueryEscape(items), "")
		if r.StatusCode != http.StatusOK || r.cookie() == "" {
			t.Errorf("%s: %q", items, r.raw)
			continue
		}
		if r := s.get("/", r.cookie()); !strings.HasPrefix(r.body, want) {
			t.Errorf("%s: %q, want %q", items, r.body, want)
		}
	}
	// And these are traps.
	for _, wrong := range []string{"json_encode([])", "json_encode(['0' => 'a', '1' => 'b'])"} {
		s := servePHP(t, "<?php header('X-Session-Set: ' . "+wrong+");", "")
		if r := s.get("/", ""); r.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %q", wrong, r.raw)
		}
	}
}

// What the manual says of JavaScript.
func TestDocsTrapsJavaScript(t *testing.T) {
	node := need.Program(t, "node")
	var line string
	for _, block := range snippets(t, "js") {
		if strings.HasPrefix(block, "const ascii") {
			line = block
		}
	}
	out, err := exec.Command(node, "-e", line+`process.stdout.write(ascii({user: "Zo\u00eb \u{1F600}\u007f"}))`).Output()
	if want := `{"user":"Zo\u00eb \ud83d\ude00\u007f"}`; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

// A cookie that an application sets with a path of its own is kept for a path
// that the browser does not ask for, and the remedies of the manual help.
func TestDocsKeptCookieBehindRewrite(t *testing.T) {
	const remedy = "header_down Set-Cookie \"(?i)(; *path=)/\" \"$1/shop/\""
	if !strings.Contains(repoFile(t, "docs/cookies.md"), remedy) {
		t.Fatal("the manual has another remedy")
	}
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Query().Get("path"); path != "" {
			w.Header().Set("Set-Cookie", "a=b"+path)
		}
		fmt.Fprint(w, r.Header.Get("Cookie"))
	})
	for _, test := range []struct{ proxy, path, want string }{
		{"", "; Path=/admin", ""},
		{" {\n" + remedy + "\n}", "; Path=/admin", "a=b"},
		{" {\n" + remedy + "\n}", "; HttpOnly; path=/admin", "a=b"},
		{"", "; HttpOnly", "a=b"},
	} {
		s := serve(t, storeOption("memory"), "handle_path /shop/* {\nsession {\ncookies {\nkeep a\n}\n}\nreverse_proxy "+a.host()+test.proxy+"\n}")
		cookie := s.get("/shop/admin/in?path="+url.QueryEscape(test.path), "").cookie()
		if r := s.get("/shop/admin/x", cookie); cookie == "" || r.body != test.want {
			t.Errorf("%s%s: %q, want %q", test.path, test.proxy, r.body, test.want)
		}
	}
}

// What the manual says of cookies of our name and of header >Set-Cookie.
func TestDocsOwnName(t *testing.T) {
	a := app(t, scripted)
	const set = "/?set=user%3Dalice&h.Set-Cookie=csid%3Dmine%3B+Path%3D/"
	s := serve(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	if r := s.get(set, ""); strings.Contains(r.raw, "csid=mine") || len(s.logged(`"level":"warn"`, `"names":["csid"]`)) != 1 {
		t.Errorf("%q", r.raw)
	}
	s.load(storeOption("memory"), "session {\ncookie {\nname shop\n}\n}\nreverse_proxy "+a.host())
	if r := s.get(set, ""); !strings.Contains(r.raw, "csid=mine") || !strings.Contains(r.raw, "\r\nSet-Cookie: shop=") {
		t.Errorf("under another name: %q", r.raw)
	}
	s.load(storeOption("memory"), "header -Set-Cookie\nsession\nreverse_proxy "+a.host())
	if r := s.get("/?set=user%3Dalice", ""); r.cookie() != "" {
		t.Errorf("header -Set-Cookie: %q", r.raw)
	}
	s.load(storeOption("memory"), "session\nreverse_proxy "+a.host()+" {\nheader_down -Set-Cookie\n}")
	if r := s.get("/?set=user%3Dalice&h.Set-Cookie=a%3Db", ""); r.cookie() == "" || strings.Contains(r.raw, "a=b") {
		t.Errorf("header_down -Set-Cookie: %q", r.raw)
	}
}

// Where a dot leads into an object and where it is a part of the key.
func TestDocsDots(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), `session {
	forward prefs.lang X-Dotted
}
@m session prefs.lang fr
handle /m {
	respond @m "{session.data.prefs.lang}"
}
session_set /set prefs.lang set
session_unset /unset prefs.lang
reverse_proxy `+a.host())
	inner := s.get("/?set="+url.QueryEscape(`{"prefs":{"lang":"fr"}}`), "").cookie()
	if r := s.get("/m", inner); r.body != "fr" {
		t.Errorf("matcher and placeholder: %q", r.raw)
	}
	s.get("/", inner)
	if got := a.last().Header.Get("X-Dotted"); got != "" {
		t.Errorf("forward: %q", got)
	}
	for _, target := range []string{"/set", "/?set=prefs.lang%3Dset"} {
		cookie := s.get(target, "").cookie()
		s.get("/", cookie)
		if got := a.last().Header.Get("X-Dotted"); got != "set" {
			t.Errorf("%s: %q", target, got)
		}
		for _, target := range []string{"/unset", "/?unset=prefs.lang"} {
			s.get(target, cookie)
			s.get("/", cookie)
			if got := a.last().Header.Get("X-Dotted"); got != "" {
				t.Errorf("%s: %q", target, got)
			}
			s.get("/?set=prefs.lang%3Dset", cookie)
		}
	}
}

func TestDocsCGI(t *testing.T) {
	var script string
	for _, block := range snippets(t, "sh") {
		if strings.HasPrefix(block, "#!") {
			script = filepath.Join(t.TempDir(), "hello")
			writeFile(t, script, block, 0o700)
		}
	}
	var stderr bytes.Buffer
	upstream := httptest.NewServer(&cgi.Handler{Path: script, Stderr: &stderr})
	t.Cleanup(upstream.Close)
	s := serve(t, storeOption("memory"), "session {\n\tsubject lang\n}\nreverse_proxy "+upstream.URL)

	if r := s.get("/", ""); r.body != "Hello stranger\n" || r.cookie() != "" {
		t.Errorf("anonymous: %q", r.raw)
	}
	for _, query := range []string{"lang=de", "lang=fr&user=root", "logout"} {
		if r := s.post("/?"+query, "", nil); r.StatusCode != http.StatusOK || r.cookie() != "" {
			t.Errorf("POST ?%s: %q", query, r.raw)
		}
	}
	cookie := s.post("/?lang=fr", "", nil).cookie()
	if r := s.get("/", cookie); r.body != "Hello fr\n" {
		t.Errorf("with a session: %q", r.raw)
	}
	s.post("/?logout", cookie, nil)
	if r := s.get("/", cookie); r.body != "Hello stranger\n" {
		t.Errorf("after signing out: %q", r.raw)
	}
	if stderr.Len() > 0 {
		t.Errorf("the script complains: %s", stderr.String())
	}
}

// serveFile loads a complete Caddyfile, in which the addresses are replaced by
// free ones. The first is where the server is reached.
func serveFile(t *testing.T, text string, addrs ...string) *server {
	t.Helper()
	s := &server{t: t, log: newLogFile(t)}
	for _, addr := range addrs {
		host, port, _ := strings.Cut(addr, ":")
		_, free, _ := net.SplitHostPort(freeAddr(t))
		if !strings.Contains(text, ":"+port) {
			t.Fatalf("no %s in\n%s", addr, text)
		}
		text = strings.ReplaceAll(text, ":"+port, ":"+free)
		if s.addr == "" {
			s.addr = host + ":" + free
		}
	}
	options, output := "admin off\npersist_config off\n", fmt.Sprintf("log {\n\toutput file %s\n", s.log.path)
	if log := "\tlog {\n"; strings.Contains(text, log) {
		text = strings.Replace(text, log, output, 1)
	} else {
		options += output + "}\n"
	}
	if admin := regexp.MustCompile(`(?m)^\tadmin .*$`); admin.MatchString(text) {
		text = admin.ReplaceAllLiteralString(text, options)
	} else {
		text = "{\n" + options + "}\n" + text
	}
	config, err := adapt(text)
	if err != nil {
		t.Fatalf("adapting: %v", err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatalf("loading: %v", err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

// post sends a form with a Cookie header (none if empty).
func (s *server) post(target, cookie string, form url.Values) *response {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", target, s.addr)
	if cookie != "" {
		fmt.Fprintf(&b, "Cookie: %s\r\n", cookie)
	}
	body := form.Encode()
	fmt.Fprintf(&b, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return s.parse(s.raw(b.String()))
}

func writeFile(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
