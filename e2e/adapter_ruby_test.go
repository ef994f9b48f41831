package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// TestAdapterRuby has an application of Sinatra and one of Rails use the session
// that Caddy keeps for both.
func TestAdapterRuby(t *testing.T) {
	addr, log := startRuby(t)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`
		session {
			cookie {
				name visitor
			}
			request_headers id version data expires new_id
		}
		handle /who {
			respond "{session.user}"
		}
		handle {
			reverse_proxy %s
		}`, addr))
	t.Run("parallel", func(t *testing.T) { rubyParallel(t, s) })
	t.Run("sign-in", func(t *testing.T) { rubySignIn(t, s) })
	t.Run("options", func(t *testing.T) { rubyOptions(t, s) })
	t.Run("forgery", func(t *testing.T) { rubyForgery(t, s) })
	t.Run("errors", func(t *testing.T) { rubyErrors(t, s, log) })
}

// startRuby has Puma serve testdata/ruby/config.ru. It returns where, and what
// goes to rack.errors.
func startRuby(t *testing.T) (string, *logFile) {
	t.Helper()
	ruby, puma := need.Program(t, "ruby"), need.Program(t, "puma")
	if exec.Command(ruby, "-e", "require 'sinatra/base'; require 'rack-flash'; require 'action_controller/railtie'").Run() != nil {
		need.Missing(t, "ruby-sinatra, ruby-rack-flash3, ruby-railties")
	}
	log := newLogFile(t)
	file, err := os.Create(log.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	addr := freeAddr(t)
	cmd := exec.Command(ruby, "-I../adapters/ruby/lib", puma, "--quiet", "--threads", "32:32", "--bind", "tcp://"+addr,
		"--config", "-", "--environment", "production", "testdata/ruby/config.ru")
	cmd.Stdout, cmd.Stderr = file, file
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		stdin.Close()
		<-ended
		if t.Failed() {
			t.Logf("puma: %s", log)
		}
	})
	eventually(t, "Puma listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Puma does not start: %v", err)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return addr, log
}

// Twenty requests of each application read the session before the first one of
// them writes, and each sets a key of its own, and one within the same object.
func rubyParallel(t *testing.T, s *server) {
	cookie := "visitor=" + sessionCookie(t, s.get("/sinatra/set?key=first", "")).Value
	want := []string{"sinatra-first"}
	for _, app := range []string{"sinatra", "rails"} {
		var all sync.WaitGroup
		for i := range 20 {
			want = append(want, fmt.Sprintf("%s-%d", app, i))
			all.Go(func() {
				if r := s.get(fmt.Sprintf("/%s/set?wait=1&key=%d", app, i), cookie); r.StatusCode != http.StatusOK {
					t.Errorf("%s: %q", app, r.raw)
				}
			})
		}
		all.Wait()
	}
	for _, app := range []string{"sinatra", "rails"} {
		data := s.data("/"+app+"/", cookie)
		cart, _ := data["cart"].(map[string]any)
		for _, key := range want {
			if data[key] != 1.0 || cart[key] != 1.0 {
				t.Errorf("%s: %q is lost: %v", app, key, data)
			}
		}
	}
}

// Signing in at either application signs in at both, and so does signing out.
func rubySignIn(t *testing.T, s *server) {
	// Sinatra's protection begins one for each visitor.
	for _, target := range []string{"/rails/", "/rails/hello", "/rails/sign_out"} {
		if r := s.get(target, ""); strings.Contains(r.raw, "Set-Cookie") {
			t.Errorf("%s: a session without need: %q", target, r.raw)
		}
	}
	for _, test := range []struct{ app, in, out, other string }{
		{"sinatra", "/sinatra/in", "/sinatra/out", "rails"},
		{"rails", "/rails/sign_in", "/rails/sign_out", "sinatra"},
	} {
		before := "visitor=" + sessionCookie(t, s.get("/"+test.other+"/set?key=a", "")).Value
		r := s.get(test.in+"?name=Zo%C3%AB", before)
		noSessionHeaders(t, r.raw)
		c := sessionCookie(t, r)
		cookie := "visitor=" + c.Value
		if c.Value == before || !c.HttpOnly || len(r.Header.Values("Set-Cookie")) != 1 {
			t.Errorf("%s: %q", test.in, r.raw)
		}
		if got := s.get("/who", cookie).body; got != "Zo%C3%AB" {
			t.Errorf("%s: Caddy takes the user for %q", test.app, got)
		}
		if got := s.get("/"+test.app+"/hello", cookie).body; got != "Zoë: Grüß Gott, Zoë" {
			t.Errorf("%s: the flash message: %q", test.app, got)
		}
		for _, app := range []string{test.app, test.other} {
			if got := s.get("/"+app+"/hello", cookie).body; got != "Zoë: " {
				t.Errorf("%s: after the flash message: %q", app, got)
			}
		}
		r = s.get(test.out, cookie)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %q", test.out, r.raw)
		}
		if who, data := s.get("/who", cookie).body, s.data("/"+test.other+"/", cookie); who != "" || data["user"] != nil || data["cart"] != nil {
			t.Errorf("%s: the old cookie is still worth something: %q, %v", test.out, who, data)
		}
		after := sessionCookie(t, r)
		if after.Value != "" && sessionID("visitor="+after.Value) == sessionID(cookie) {
			t.Errorf("%s: %q", test.out, r.raw)
		}
	}
}

func rubyOptions(t *testing.T, s *server) {
	option := func(name, cookie string) *response {
		t.Helper()
		r := s.get("/sinatra/option?name="+name, cookie)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %q", name, r.raw)
		}
		return r
	}
	changed := func(cookie string) bool { return s.data("/sinatra/", cookie)["changed"] == true }

	for _, name := range []string{"skip", "defer", "drop"} {
		if r := option(name, ""); strings.Contains(r.raw, "Set-Cookie") {
			t.Errorf("%s: a session begins: %q", name, r.raw)
		}
	}
	cookie := "visitor=" + sessionCookie(t, s.get("/sinatra/set?key=a", "")).Value
	if r := option("skip", cookie); strings.Contains(r.raw, "Set-Cookie") || changed(cookie) {
		t.Errorf("skip: %q", r.raw)
	}
	if r := option("defer", cookie); strings.Contains(r.raw, "Set-Cookie") || !changed(cookie) {
		t.Errorf("defer: %q", r.raw)
	}
	if c := sessionCookie(t, s.get("/sinatra/option?name=expire_after&value=600", cookie)); c.MaxAge != 600 {
		t.Errorf("expire_after: %v", c)
	}
	r := option("renew", cookie)
	renewed := "visitor=" + sessionCookie(t, r).Value
	if renewed == cookie || sessionID(renewed) != sessionID(cookie) || r.body != sessionID(cookie) || !changed(renewed) {
		t.Errorf("renew: %q", r.raw)
	}
	if c := sessionCookie(t, option("drop", renewed)); c.MaxAge >= 0 || changed(renewed) {
		t.Errorf("drop: %v", c)
	}
	r = option("other", "")
	if id := sessionID("visitor=" + sessionCookie(t, r).Value); r.body != id {
		t.Errorf("session.id is %q, want that of the session that begins, %q", r.body, id)
	}
}

func rubyForgery(t *testing.T, s *server) {
	r := s.get("/rails/token", "")
	cookie := "visitor=" + sessionCookie(t, r).Value
	post := func(token string) *response {
		return s.parse(s.raw("POST /rails/post HTTP/1.1\r\nHost: " + s.addr + "\r\nCookie: " + cookie +
			"\r\nX-CSRF-Token: " + token + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
	if r := post(r.body); r.body != "accepted" {
		t.Errorf("with the token: %q", r.raw)
	}
	if r := post("x"); r.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("without the token: %q", r.raw)
	}
}

func rubyErrors(t *testing.T, s *server, log *logFile) {
	cookie := "visitor=" + sessionCookie(t, s.get("/sinatra/set?key=a", "")).Value
	if r := s.get("/sinatra/time", cookie); r.StatusCode != http.StatusInternalServerError {
		t.Errorf("a Time is stored: %q", r.raw)
	}
	eventually(t, "the log names what JSON has not", func() bool {
		return strings.Contains(log.String(), `session["at"]["now"] is of the class Time, which JSON does not have`)
	})
	for i, app := range []string{"sinatra", "rails"} {
		if r := s.get("/"+app+"/late", cookie); r.body != "first last" {
			t.Errorf("%s: %q", app, r.raw)
		}
		eventually(t, "the log of "+app+" names the key", func() bool {
			return strings.Count(log.String(), `session["too-late"] was changed after the response had begun`) == i+1
		})
	}
	if data := s.data("/rails/", cookie); data["too-late"] != nil || data["at"] != nil {
		t.Errorf("what can't be saved is: %v", data)
	}
}
