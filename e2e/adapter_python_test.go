package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// TestAdapterPython has applications of Flask, Django and WSGI, one of them
// Django's admin, use the session that Caddy keeps for all of them.
func TestAdapterPython(t *testing.T) {
	apps := startPython(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`
		session {
			cookie {
				name visitor
			}
			subject _auth_user_id
			request_headers id version data expires new_id
		}
		handle_path /flask/* {
			reverse_proxy %s
		}
		handle_path /wsgi/* {
			reverse_proxy %s
		}
		handle /who {
			respond "{session.user}"
		}
		handle {
			reverse_proxy %s
		}`, apps.flask, apps.wsgi, apps.django))
	t.Run("vectors", func(t *testing.T) { pythonVectors(t, s) })
	t.Run("parallel", func(t *testing.T) { pythonParallel(t, s) })
	t.Run("Flask", func(t *testing.T) { pythonFlask(t, s) })
	t.Run("Django", func(t *testing.T) { pythonDjango(t, s) })
	t.Run("late", func(t *testing.T) { pythonLate(t, s, apps) })
	t.Run("admin", func(t *testing.T) { pythonAdmin(t, s) })
}

// pythonApps are the applications of testdata/python, by address.
type pythonApps struct {
	flask, django, wsgi string
	mu                  sync.Mutex
	log                 bytes.Buffer
}

func (a *pythonApps) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(p)
}

func (a *pythonApps) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// startPython starts them, with more in their environment.
func startPython(t *testing.T, more ...string) *pythonApps {
	t.Helper()
	python := need.Program(t, "/usr/bin/python3") // which Debian's packages are for
	if exec.Command(python, "-c", "import django, flask").Run() != nil {
		need.Missing(t, "python3-django, python3-flask")
	}
	adapter, err := filepath.Abs("../adapters/python")
	if err != nil {
		t.Fatal(err)
	}
	// go test runs again what has opened a file that has changed.
	for _, file := range []string{adapter + "/caddy_session.py", "testdata/python/applications.py"} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	a := &pythonApps{flask: freeAddr(t), django: freeAddr(t), wsgi: freeAddr(t)}
	arguments := []string{"-B", "testdata/python/applications.py", t.TempDir()}
	for _, addr := range []string{a.flask, a.django, a.wsgi} {
		_, port, _ := net.SplitHostPort(addr)
		arguments = append(arguments, port)
	}
	cmd := exec.Command(python, arguments...)
	// Other versions of the frameworks may be in the PYTHONPATH that is there.
	cmd.Env = append(os.Environ(), "PYTHONPATH="+adapter+":"+os.Getenv("PYTHONPATH"))
	cmd.Env = append(cmd.Env, more...)
	cmd.Stderr = a
	cmd.WaitDelay = timeout
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
		if t.Failed() {
			t.Logf("python3: %s", a)
		}
	})
	ready := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line == "ready\n"
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("the applications do not start: %s", a)
		}
	case <-time.After(pageTimeout):
		cmd.Process.Kill()
		t.Fatal("the applications are not ready in time")
	}
	return a
}

// data returns the session's data as an application sees it.
func (s *server) data(target, cookie string) map[string]any {
	s.t.Helper()
	r := s.get(target, cookie)
	var data map[string]any
	if err := json.Unmarshal([]byte(r.body), &data); err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %v: %q", target, err, r.raw)
	}
	return data
}

// sessionCookie returns the session cookie that a response sets.
func sessionCookie(t *testing.T, r *response) *http.Cookie {
	t.Helper()
	for _, c := range r.Cookies() {
		if c.Name == "visitor" {
			return c
		}
	}
	t.Fatalf("no cookie: %q", r.raw)
	return nil
}

// Caddy makes of what the adapter sends what the application has.
func pythonVectors(t *testing.T, s *server) {
	var vectors []struct {
		Name, Control string
		Before, After map[string]any
	}
	text, err := os.ReadFile("../adapters/vectors.json")
	if err == nil {
		err = json.Unmarshal(text, &vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	become := func(cookie string, data map[string]any, control string) *response {
		body, err := json.Marshal(map[string]any{"after": data, "control": control})
		if err != nil {
			t.Fatal(err)
		}
		return s.parse(s.raw(fmt.Sprintf("POST /wsgi/become HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			s.addr, cookie, len(body), body)))
	}
	for _, v := range vectors {
		cookie := "visitor="
		if len(v.Before) > 0 {
			cookie += sessionCookie(t, become("", v.Before, "")).Value
		}
		r := become(cookie, v.After, v.Control)
		if v.Control != "" || len(v.Before) == 0 && len(v.After) > 0 {
			cookie = "visitor=" + sessionCookie(t, r).Value
		}
		if got := s.data("/wsgi/", cookie); r.StatusCode != http.StatusOK || !reflect.DeepEqual(got, v.After) {
			t.Errorf("%s: %s, %v, want %v", v.Name, r.Status, got, v.After)
		}
	}
}

// Twenty requests of each application read the session before the first one of
// them writes, and each sets a key of its own, and one within the same object.
func pythonParallel(t *testing.T, s *server) {
	cookie := "visitor=" + sessionCookie(t, s.get("/flask/set?key=first", "")).Value
	want := []string{"flask-first"}
	for _, app := range []string{"flask", "django", "wsgi"} {
		var all sync.WaitGroup
		for i := range 20 {
			want = append(want, fmt.Sprintf("%s-%d", app, i))
			all.Go(func() {
				if r := s.get(fmt.Sprintf("/%s/set?wait&key=%d", app, i), cookie); r.StatusCode != http.StatusOK {
					t.Errorf("%s: %q", app, r.raw)
				}
			})
		}
		all.Wait()
	}
	// All three see what the others have written.
	for _, app := range []string{"flask", "django", "wsgi"} {
		data := s.data("/"+app+"/", cookie)
		cart, _ := data["cart"].(map[string]any)
		for _, key := range want {
			if data[key] != 1.0 || cart[key] != 1.0 {
				t.Errorf("%s: %q is lost: %v", app, key, data)
			}
		}
		if len(data) != len(want)+1 || len(cart) != len(want) {
			t.Errorf("%s: %v", app, data)
		}
	}
}

func pythonFlask(t *testing.T, s *server) {
	for _, target := range []string{"/flask/", "/django/", "/wsgi/"} {
		if r := s.get(target, ""); strings.Contains(r.raw, "Set-Cookie") {
			t.Errorf("%s: a session without need: %q", target, r.raw)
		}
	}
	r := s.get("/flask/flash", "")
	noSessionHeaders(t, r.raw)
	c := sessionCookie(t, r)
	if c.MaxAge != 0 || !c.HttpOnly {
		t.Errorf("cookie %v", c)
	}
	cookie := "visitor=" + c.Value
	if r := s.get("/flask/messages", cookie); r.body != "café saved True" {
		t.Errorf("messages: %q", r.raw)
	}
	if r := s.get("/flask/messages", cookie); r.body != " True" {
		t.Errorf("messages, again: %q", r.raw)
	}
	// What JSON has not is for Python alone.
	if data := s.data("/wsgi/", cookie); data["pair"] != nil || data["_python"] == nil {
		t.Errorf("the others see %v", data)
	}

	c = sessionCookie(t, s.get("/flask/permanent", cookie))
	if want := 30 * 24 * 3600; c.MaxAge < want-60 || c.MaxAge > want { // 31 days, of which the site allows 30
		t.Errorf("a permanent session's cookie: %v", c)
	}
	id := sessionID(cookie)
	r = s.get("/flask/clear", cookie)
	c = sessionCookie(t, r)
	if after := "visitor=" + c.Value; sessionID(after) == id || len(s.data("/flask/", after)) != 0 || len(s.data("/flask/", cookie)) != 0 {
		t.Errorf("cleared: %q", r.raw)
	}
}

func pythonDjango(t *testing.T, s *server) {
	r := s.get("/django/key", "")
	cookie := "visitor=" + sessionCookie(t, r).Value
	if r.body != sessionID(cookie) {
		t.Errorf("session_key %q, want that of the session that begins, %q", r.body, sessionID(cookie))
	}
	if again := s.get("/django/key", cookie); again.body != r.body || strings.Contains(again.raw, "Set-Cookie") {
		t.Errorf("session_key, again: %q", again.raw)
	}
	if c := sessionCookie(t, s.get("/django/expiry?seconds=600", cookie)); c.MaxAge < 590 || c.MaxAge > 600 {
		t.Errorf("set_expiry(600): %v", c)
	}
	if c := sessionCookie(t, s.get("/django/expiry?seconds=0", cookie)); c.MaxAge != 0 {
		t.Errorf("set_expiry(0): %v", c)
	}
}

func pythonLate(t *testing.T, s *server, apps *pythonApps) {
	for i, app := range []string{"flask", "django"} {
		cookie := "visitor=" + sessionCookie(t, s.get("/"+app+"/set?key=a", "")).Value
		if r := s.get("/"+app+"/late", cookie); r.body != "first last" {
			t.Errorf("%s: %q", app, r.raw)
		}
		eventually(t, "the log of "+app+" names the key", func() bool {
			return strings.Count(apps.String(), "session['too-late'] was changed after the response had begun") == i+1
		})
		if data := s.data("/"+app+"/", cookie); data["too-late"] != nil {
			t.Errorf("%s: %v", app, data)
		}
	}
}

// Django's admin, unchanged, in a browser with two tabs.
func pythonAdmin(t *testing.T, s *server) {
	b := browse(t)
	says := func(what, want string) {
		t.Helper()
		if text := b.script("document.body.innerText"); !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
			t.Fatalf("%s: no %q in %s", what, want, text)
		}
		cookies := b.cookies()
		if len(cookies) != 1 || cookies[0].Name != "visitor" || !cookies[0].HTTPOnly {
			t.Errorf("%s: the browser has %+v", what, cookies)
		}
		b.screenshot(t, strings.ReplaceAll(what, " ", "-"))
	}
	who := func(want string) {
		t.Helper()
		if got := s.get("/who", "visitor="+b.cookies()[0].Value).body; got != want {
			t.Errorf("Caddy takes the user for %q, want %q", got, want)
		}
	}
	admin := "http://" + s.addr + "/admin/"
	signIn := func() {
		t.Helper()
		b.fill("#id_username", "alice")
		b.fill("#id_password", "secret")
		b.click("input[type=submit]")
	}

	b.open(admin)
	says("anonymous", "Username:")
	who("")
	before := b.cookies()[0].Value
	signIn()
	says("signed in", "Welcome, alice")
	who("1")
	if b.cookies()[0].Value == before {
		t.Error("signing in has not changed the cookie")
	}
	b.open(admin + "auth/user/add/")
	b.fill("#id_username", "bob")
	b.fill("#id_password1", "a long enough one")
	b.fill("#id_password2", "a long enough one")
	b.click("input[name=_save]")
	says("user added", "was added successfully")

	first := b.session
	var target struct{ TargetID string }
	b.session = ""
	b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	second := attached.SessionID

	b.session = second
	b.open(admin + "auth/user/")
	says("second tab", "bob")

	b.session = first
	signOut := "#logout-form button, a[href$='/logout/']"
	b.click(signOut)
	says("signed out", "Logged out")
	who("")

	b.session = second
	b.open(admin + "auth/user/")
	says("second tab signed out", "Username:")
	signIn()
	says("second tab signed in again", "bob")
	who("1")
}
