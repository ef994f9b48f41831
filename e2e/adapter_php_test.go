package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// sessionPHP is the PHP adapter.
func sessionPHP(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../adapters/php/session.php")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// adapted is an application as it is written for PHP's own sessions.
const adapted = `<?php
final class Cart { public $items = []; }
session_start();
switch ($_GET['do'] ?? '') {
case 'count':
	$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
	break;
case 'set':
	$_SESSION[$_GET['key']] = $_GET['value'];
	$_SESSION['nested'][$_GET['key']] = 1;
	$_SESSION['object ' . $_GET['key']] = new Cart;
	break;
case 'cart':
	$_SESSION['cart'] = $_SESSION['cart'] ?? new Cart;
	$_SESSION['cart']->items[] = $_GET['item'];
	break;
case 'in':
	session_regenerate_id(true);
	$_SESSION['user'] = $_GET['user'];
	header('Location: /', true, 303);
	exit;
case 'remember':
	setcookie(session_name(), session_id(), time() + 86400, '/');
	break;
case 'out':
	$_SESSION = [];
	$p = session_get_cookie_params();
	setcookie(session_name(), '', time() - 42000, $p['path'], $p['domain'], $p['secure'], $p['httponly']);
	session_destroy();
	break;
case 'bye':
	session_destroy();
	session_start();
	$_SESSION['message'] = 'bye';
	break;
case 'late':
	$_SESSION['early'] = 1;
	echo str_repeat(' ', 10000);
	flush();
	$_SESSION['late'] = 1;
	break;
case 'fail':
	$_SESSION['failed'] = 1;
	throw new Exception('for the test');
}
echo json_encode(['sid' => session_id(), 'id' => $_SERVER['HTTP_X_SESSION_ID'] ?? '', 'session' => $_SESSION], JSON_PARTIAL_OUTPUT_ON_ERROR);
`

// TestAdapterPHP has an application with PHP's own sessions, and one in another
// language, share the session that Caddy keeps.
func TestAdapterPHP(t *testing.T) {
	path := need.Program(t, "php-cgi", "php-cgi8.4", "php-cgi8.2")
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "index.php"), adapted, 0o644)
	log := filepath.Join(root, "php.log")
	addr := startPHP(t, path, "-n", "-d", "auto_prepend_file="+sessionPHP(t), "-d", "error_log="+log, "-d", "log_errors=1", "-d", "display_errors=0")
	other := app(t, scripted)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`
		session {
			request_headers id user data new_id
		}
		handle /other {
			reverse_proxy %s
		}
		handle {
			root %s
			php_fastcgi %s
		}`, other.host(), root, addr))

	type answer struct {
		*response
		SID     string
		ID      string
		Session map[string]any
	}
	do := func(t *testing.T, query, cookie string) answer {
		t.Helper()
		a := answer{response: s.get("/?do="+query, cookie)}
		noSessionHeaders(t, a.raw)
		if strings.Contains(a.raw, "PHPSESSID") {
			t.Errorf("PHP has sent its cookie: %q", a.raw)
		}
		if a.StatusCode != http.StatusOK {
			return a
		}
		// PHP says {} and [] in the same way.
		body := strings.Replace(strings.TrimSpace(a.body), `"session":[]`, `"session":{}`, 1)
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%v: %q", err, a.raw)
		}
		return a
	}

	t.Run("session_start", func(t *testing.T) {
		first := do(t, "", "")
		cookie := first.cookie()
		if cookie == "" || len(first.Header["Set-Cookie"]) != 1 || len(first.SID) != 32 {
			t.Fatalf("session_start() began no session: %q", first.raw)
		}
		for want := 1; want <= 3; want++ {
			a := do(t, "count", cookie)
			if a.Session["n"] != float64(want) || a.SID != first.SID || a.ID != sessionID(cookie) || a.Header["Set-Cookie"] != nil {
				t.Errorf("count %d: %+v %q", want, a.Session, a.raw)
			}
		}
	})

	t.Run("shared with another language", func(t *testing.T) {
		cookie := s.get("/other?set="+url.QueryEscape(`{"user":"alice","basket":{"a":1},"empty":{}}`), "").cookie()
		a := do(t, "set&key=b&value=Zo%C3%AB%0D%0AX-Evil:1", cookie)
		if a.Session["user"] != "alice" || a.Header.Get("X-Evil") != "" {
			t.Errorf("%+v", a.Session)
		}
		r := s.get("/other", cookie)
		for _, want := range []string{"user=alice", `"basket":{"a":1}`, `"empty":{}`, `"b":"Zo\u00eb\r\nX-Evil:1"`} {
			if !strings.Contains(r.body, want) {
				t.Errorf("want %s in %s", want, r.body)
			}
		}
	})

	t.Run("objects", func(t *testing.T) {
		cookie := do(t, "cart&item=a", "").cookie()
		a := do(t, "cart&item=b", cookie)
		if got := fmt.Sprint(a.Session["cart"]); got != "map[items:[a b]]" {
			t.Errorf("the object is %s", got)
		}
	})

	t.Run("sign in and out", func(t *testing.T) {
		before := do(t, "count", "")
		r := do(t, "in&user=alice", before.cookie())
		cookie := r.cookie()
		if r.StatusCode != http.StatusSeeOther || cookie == "" || cookie == before.cookie() || sessionID(cookie) != sessionID(before.cookie()) {
			t.Fatalf("session_regenerate_id(true) did not renew the session: %q", r.raw)
		}
		a := do(t, "", cookie)
		if a.Session["user"] != "alice" || a.Session["n"] != 1.0 || a.SID == before.SID {
			t.Errorf("after signing in: %+v", a)
		}
		if r := s.get("/other", cookie); !strings.Contains(r.body, "user=alice ") {
			t.Errorf("the other application sees %s", r.body)
		}
		r = do(t, "out", cookie)
		if len(r.Header["Set-Cookie"]) != 1 || r.Cookies()[0].MaxAge >= 0 || strings.Contains(s.get("/other", cookie).body, "alice") {
			t.Errorf("session_destroy() did not end the session: %q", r.raw)
		}
		if a := do(t, "", cookie); a.Session["user"] != nil || a.SID == before.SID {
			t.Errorf("after signing out: %+v", a)
		}
	})

	t.Run("another session after session_destroy", func(t *testing.T) {
		cookie := do(t, "in&user=alice", "").cookie()
		r := do(t, "bye", cookie)
		if next := r.cookie(); next == "" || sessionID(next) == sessionID(cookie) {
			t.Errorf("session_destroy(); session_start() is not another session: %q", r.raw)
		} else if a := do(t, "", next); fmt.Sprint(a.Session) != "map[message:bye]" {
			t.Errorf("%+v", a.Session)
		}
	})

	t.Run("cookie lifetime", func(t *testing.T) {
		cookie := do(t, "count", "").cookie()
		if r := do(t, "remember", cookie); len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge > 86400 || r.Cookies()[0].MaxAge < 86000 {
			t.Errorf("%q", r.raw)
		}
	})

	t.Run("parallel requests", func(t *testing.T) {
		cookie := do(t, "", "").cookie()
		const n = 20
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { s.get(fmt.Sprintf("/?do=set&key=k%d&value=v%d", i, i), cookie) })
		}
		wg.Wait()
		a := do(t, "", cookie)
		nested, _ := a.Session["nested"].(map[string]any)
		for i := range n {
			key := fmt.Sprintf("k%d", i)
			if a.Session[key] != fmt.Sprintf("v%d", i) || nested[key] != 1.0 || a.Session["object "+key] == nil {
				t.Errorf("%s was lost: %v", key, a.Session)
			}
		}
	})

	t.Run("changes after the head", func(t *testing.T) {
		cookie := do(t, "late", "").cookie()
		if a := do(t, "", cookie); a.Session["early"] != 1.0 || a.Session["late"] != nil {
			t.Errorf("%+v", a.Session)
		}
		text, _ := os.ReadFile(log)
		if !strings.Contains(string(text), "caddy-session: changed after the head of the response, and so not saved: late (") {
			t.Errorf("PHP's log does not name the key: %s", text)
		}
	})

	t.Run("an exception", func(t *testing.T) {
		cookie := do(t, "count", "").cookie()
		if r := do(t, "fail", cookie); r.StatusCode != http.StatusInternalServerError {
			t.Errorf("%q", r.raw)
		}
		if a := do(t, "", cookie); a.Session["failed"] != 1.0 {
			t.Errorf("%+v", a.Session)
		}
	})
}

// formClient is a browser without scripts: it keeps cookies, follows redirects and
// sends forms.
type formClient struct {
	*http.Client
	t    *testing.T
	base *url.URL
}

func newFormClient(t *testing.T, addr string) *formClient {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &formClient{&http.Client{Jar: jar, Timeout: pageTimeout}, t, &url.URL{Scheme: "http", Host: addr, Path: "/"}}
}

// page opens a page, or sends a form if there are fields: names and values.
func (c *formClient) page(target string, fields ...string) string {
	c.t.Helper()
	target = c.base.ResolveReference(&url.URL{Path: "/"}).String() + strings.TrimPrefix(target, "/")
	form := url.Values{}
	for pair := range slices.Chunk(fields, 2) {
		form.Add(pair[0], pair[1])
	}
	var r *http.Response
	var err error
	if len(form) > 0 {
		r, err = c.PostForm(target, form)
	} else {
		r, err = c.Get(target)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

// cookieNames returns the names of the cookies that the client has.
func (c *formClient) cookieNames() (names []string) {
	for _, cookie := range c.Jar.Cookies(c.base) {
		names = append(names, cookie.Name)
	}
	slices.Sort(names)
	return names
}

// field returns the value of a field of a form in a page.
func field(t *testing.T, page, name string) string {
	t.Helper()
	for _, tag := range regexp.MustCompile(`<input[^>]*>`).FindAllString(page, -1) {
		if regexp.MustCompile(`name=["']` + regexp.QuoteMeta(name) + `["']`).MatchString(tag) {
			if value := regexp.MustCompile(`value=["']([^"']*)["']`).FindStringSubmatch(tag); value != nil {
				return value[1]
			}
		}
	}
	t.Fatalf("no field %s in %s", name, page)
	return ""
}

// TestAdapterPHPDokuWiki has DokuWiki, unchanged, keep its session in Caddy's.
func TestAdapterPHPDokuWiki(t *testing.T) {
	addr := dokuwiki(t, fmt.Sprintf("require '%s';", sessionPHP(t)))
	s := serve(t, storeOption("memory"), fmt.Sprintf("session {\n\trequest_headers id data new_id\n\tcookie {\n\t\tname visit\n\t}\n}\nsession_destroy /end\nrespond /end ended\nroot %s\nphp_fastcgi %s\nfile_server", wikiRoot, addr))
	c := newFormClient(t, s.addr)
	says := func(what, page, want string, signedIn bool) {
		t.Helper()
		if !strings.Contains(page, want) || strings.Contains(page, "Logged in as") != signedIn {
			t.Fatalf("%s: %s", what, page)
		}
		if names := c.cookieNames(); slices.Contains(names, "DokuWiki") || !slices.Contains(names, "visit") {
			t.Errorf("%s: the browser has the cookies %q", what, names)
		}
	}
	says("anonymous", c.page("doku.php?id=start"), "Log In", false)
	signIn := func() {
		t.Helper()
		login := c.page("doku.php?id=start&do=login")
		says("signed in", c.page("doku.php?id=start", "do", "login", "u", "alice", "p", "secret", "sectok", field(t, login, "sectok")), "Log Out", true)
	}
	signIn()

	save := func(id, text string) {
		t.Helper()
		edit := c.page("doku.php?id=" + id + "&do=edit")
		page := c.page("doku.php?id="+id, "do[save]", "1", "sectok", field(t, edit, "sectok"), "rev", "0", "prefix", ".", "suffix", "",
			"date", field(t, edit, "date"), "changecheck", field(t, edit, "changecheck"), "wikitext", text)
		says("saved "+id, page, text, true)
	}
	save("playground", "Written by Alice.")
	save("about", "Also by Alice.")
	// The trail is an array that has the order of the visits.
	for _, id := range []string{"about", "playground", "about", "playground"} {
		trail := regexp.MustCompile(`(?s)class="trace".*?</div>`).FindString(c.page("doku.php?id=" + id))
		if about, playground := strings.Index(trail, "id=about"), strings.Index(trail, "id=playground"); min(about, playground) < 0 || (about > playground) != (id == "about") {
			t.Errorf("the trail at %s is not in the order of visits: %s", id, trail)
		}
	}
	// A form with the token of another session is refused.
	if page := c.page("doku.php?id=playground", "do[save]", "1", "sectok", strings.Repeat("0", 32), "rev", "0", "wikitext", "Forged."); strings.Contains(page, "Forged.") && !strings.Contains(page, "Security Token did not match") {
		t.Errorf("a forged form: %s", page)
	}

	// The site ends the session. DokuWiki's own cookie, which is bound to
	// session_id(), is worth nothing without it.
	if page := c.page("end"); page != "ended" {
		t.Errorf("ending the session: %s", page)
	}
	if page := c.page("doku.php?id=start"); strings.Contains(page, "Logged in as") {
		t.Errorf("still signed in: %s", page)
	}
	signIn()

	out := regexp.MustCompile(`href="([^"]*do=logout[^"]*)"`).FindStringSubmatch(c.page("doku.php?id=start"))
	if out == nil {
		t.Fatal("no way to sign out")
	}
	says("signed out", c.page(strings.ReplaceAll(out[1], "&amp;", "&")), "Log In", false)
	says("signed out, another page", c.page("doku.php?id=playground"), "Written by Alice.", false)
}

// TestAdapterPHPAdminer has Adminer, unchanged, keep its session in Caddy's. Its
// password is there, and its tokens against forged requests.
func TestAdapterPHPAdminer(t *testing.T) {
	path := need.Program(t, "php-cgi")
	const adminer = "/usr/share/adminer"
	if _, err := os.Stat(adminer + "/adminer.php"); err != nil {
		need.Missing(t, "adminer")
	}
	root := t.TempDir()
	// As Adminer's manual has it for SQLite, which knows no passwords.
	writeFile(t, filepath.Join(root, "index.php"), fmt.Sprintf(`<?php
function adminer_object() {
	include '%[1]s/plugins/plugin.php';
	include '%[1]s/plugins/login-password-less.php';
	return new AdminerPlugin([new AdminerLoginPasswordLess(password_hash('secret', PASSWORD_DEFAULT))]);
}
include '%[1]s/adminer.php';
`, adminer), 0o644)
	writeFile(t, filepath.Join(root, "test.db"), "", 0o644) // an empty database
	log := filepath.Join(root, "php.log")
	addr := startPHP(t, path, "-d", "auto_prepend_file="+sessionPHP(t), "-d", "error_log="+log, "-d", "display_errors=0")
	s := serve(t, storeOption("memory"), fmt.Sprintf("session {\n\trequest_headers id data new_id\n\texposed 32KiB\n\tcookie {\n\t\tname visit\n\t}\n}\nroot %s\nphp_fastcgi %s", root, addr))
	c := newFormClient(t, s.addr)
	db := "?sqlite=&username=admin&db=" + url.QueryEscape(filepath.Join(root, "test.db"))

	if page := c.page("/"); !strings.Contains(page, "auth[password]") {
		t.Fatalf("no form to sign in: %s", page)
	}
	login := func(password string) string {
		t.Helper()
		return c.page("/", "auth[driver]", "sqlite", "auth[server]", "", "auth[username]", "admin", "auth[password]", password, "auth[db]", filepath.Join(root, "test.db"))
	}
	if page := login("wrong"); strings.Contains(page, "logout") {
		t.Fatalf("signed in with a wrong password: %s", page)
	}
	if page := login("secret"); !strings.Contains(page, "logout") {
		t.Fatalf("not signed in: %s", page)
	}
	sql := c.page("/" + db + "&sql=")
	page := c.page("/"+db+"&sql=", "query", "CREATE TABLE a (n int); INSERT INTO a VALUES (4711); SELECT n + 1 FROM a", "token", field(t, sql, "token"))
	if !strings.Contains(page, "4712") {
		t.Fatalf("the command was not executed: %s", page)
	}
	if page := c.page("/"+db+"&sql=", "query", "SELECT n + 2 FROM a", "token", "1:1"); strings.Contains(page, "4713") {
		t.Errorf("a forged command was executed: %s", page)
	}
	if names := c.cookieNames(); slices.Contains(names, "adminer_sid") || !slices.Contains(names, "visit") {
		t.Errorf("the browser has the cookies %q", names)
	}
	out := c.page("/"+db, "logout", "Logout", "token", field(t, c.page("/"+db), "token"))
	if !strings.Contains(out, "auth[password]") {
		t.Errorf("not signed out: %s", out)
	}
	if page := c.page("/" + db); !strings.Contains(page, "auth[password]") {
		t.Errorf("still signed in: %s", page)
	}
	if text, _ := os.ReadFile(log); strings.Contains(string(text), "caddy-session:") {
		t.Errorf("PHP's log: %s", text)
	}
}
