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
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Documentation that is not run rots.

func TestExampleIsFormatted(t *testing.T) {
	text := repoFile(t, "Caddyfile.example")
	if got := string(caddyfile.Format([]byte(text))); got != text {
		t.Error("run caddy fmt --overwrite Caddyfile.example")
	}
}

func TestExample(t *testing.T) {
	s := serveFile(t, repoFile(t, "Caddyfile.example"), "localhost:8080", "127.0.0.1:8081")
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
		if r := s.post(target, "", nil); r.StatusCode != http.StatusOK || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("POST %s: %q", target, r.raw)
		}
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
	php := program(t, "php-cgi")
	dir := t.TempDir()
	writeFile(t, dir+"/index.php", snippets(t, "php")[0], 0o600)
	writeFile(t, dir+"/prelude.inc", `<?php function password_is_right($name, $password) { return $password === 'secret'; }`, 0o600)

	responder := freeAddr(t)
	cmd := exec.Command(php, "-b", responder, "-d", "auto_prepend_file="+dir+"/prelude.inc")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
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

	s := serve(t, storeOption("memory"), fmt.Sprintf("session\nroot %s\nphp_fastcgi %s", dir, responder))
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
	options := fmt.Sprintf("admin off\npersist_config off\nlog {\n\toutput file %s\n}\n", s.log.path)
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
