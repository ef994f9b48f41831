package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// expressApp starts testdata/express, and returns what serves its four
// applications, and the file that has what they log.
func expressApp(t *testing.T) (site string, log *logFile) {
	t.Helper()
	node := need.Program(t, "node")
	if _, err := os.Stat("testdata/express/node_modules"); err != nil {
		need.Missing(t, "node_modules: npm ci --prefix e2e/testdata/express")
	}
	log = newLogFile(t)
	file, err := os.Create(log.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(node, "testdata/express/app.js")
	cmd.Stderr = file
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the application: %s", log)
		}
	})
	var ports []int
	if err := json.NewDecoder(output).Decode(&ports); err != nil || len(ports) != 4 {
		t.Fatalf("the application does not start: %v, %s", err, log)
	}
	site = `session {
		subject passport.user
		request_headers id user version data expires new_id
	}
`
	for i, name := range []string{"5", "4", "koa", "fastify"} {
		site += fmt.Sprintf("\thandle_path /%s/* {\n\t\treverse_proxy 127.0.0.1:%d\n\t}\n", name, ports[i])
	}
	return site, log
}

// customer is a browser as far as cookies and redirects go.
type customer struct {
	t      *testing.T
	origin string
	client *http.Client
}

func enter(t *testing.T, s *server) *customer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &customer{t, "http://" + s.addr, &http.Client{Jar: jar, Timeout: timeout}}
}

// get returns the last response, without a body, and the body.
func (v *customer) get(path string) (*http.Response, string) {
	v.t.Helper()
	return v.read(v.client.Get(v.origin + path))
}

func (v *customer) post(path string, form ...string) (*http.Response, string) {
	v.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	return v.read(v.client.PostForm(v.origin+path, values))
}

func (v *customer) read(r *http.Response, err error) (*http.Response, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Session-") {
			v.t.Errorf("%s: the client sees %s", r.Request.URL, name)
		}
	}
	return r, string(body)
}

// says fails unless a path is answered with this body.
func (v *customer) says(path, want string) {
	v.t.Helper()
	if r, got := v.get(path); got != want {
		v.t.Errorf("%s: %s %q, want %q", path, r.Status, got, want)
	}
}

type whoami struct {
	User string
	ID   string
	Kept map[string]any
}

func (v *customer) who(path string) (who whoami) {
	v.t.Helper()
	_, body := v.get(path)
	if err := json.Unmarshal([]byte(body), &who); err != nil {
		v.t.Fatalf("%s: %v: %q", path, err, body)
	}
	return who
}

// cookies returns the Cookie line of the next request.
func (v *customer) cookies() string {
	r := http.Request{Header: http.Header{}}
	u, _ := url.Parse(v.origin)
	for _, c := range v.client.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}

// TestExpressAdapter runs code for express-session, and middleware of others,
// with the adapter in its place.
func TestExpressAdapter(t *testing.T) {
	site, log := expressApp(t)
	s := serve(t, storeOption("memory"), site)
	for _, express := range []string{"/5", "/4"} {
		t.Run("express"+express[1:], func(t *testing.T) {
			t.Run("passport", func(t *testing.T) {
				v := enter(t, s)
				if who := v.who(express + "/who"); who.User != "" || v.cookies() != "" {
					t.Errorf("before: %+v, cookies %q", who, v.cookies())
				}
				if _, body := v.post(express+"/login", "username", "alice", "password", "wrong"); body != `{"error":["wrong password"]}` {
					t.Errorf("a wrong password: %q", body)
				}
				v.get(express + "/add?key=before")
				before := v.who(express + "/who")
				planted := v.cookies()
				v.post(express+"/login", "username", "alice", "password", "secret")
				who := v.who(express + "/who")
				if who.User != "alice" || who.ID == before.ID || who.Kept["before"] != nil {
					t.Errorf("signed in: %+v, before %+v", who, before)
				}
				if r := s.get(express+"/who", planted); strings.Contains(r.body, "alice") {
					t.Errorf("the cookie from before is good: %s", r.body)
				}
				if other := v.who("/" + map[string]string{"/5": "4", "/4": "5"}[express] + "/who"); other.User != "alice" || other.ID != who.ID {
					t.Errorf("the other application sees %+v", other)
				}
				v.post(express + "/logout")
				if after := v.who(express + "/who"); after.User != "" || after.ID == who.ID {
					t.Errorf("signed out: %+v", after)
				}
			})
			t.Run("connect-flash", func(t *testing.T) {
				v := enter(t, s)
				if _, body := v.post(express + "/flash"); body != `{"info":["Zoë saved it"]}` {
					t.Errorf("after the redirect: %q", body)
				}
				v.says(express+"/messages", "{}")
			})
			t.Run("csurf", func(t *testing.T) { csrf(t, s, express+"/csurf", "_csrf") })
			t.Run("csrf-csrf", func(t *testing.T) { csrf(t, s, express+"/csrf-csrf", "_csrf") })
			t.Run("parallel", func(t *testing.T) {
				v := enter(t, s)
				v.get(express + "/add?key=first")
				const n = 20
				var all sync.WaitGroup
				for i := range n {
					all.Go(func() {
						if r, err := v.client.Get(fmt.Sprintf("%s%s/add?key=k%d&of=%d", v.origin, express, i, n)); err != nil || r.StatusCode != http.StatusOK {
							t.Errorf("request %d: %v %v", i, r, err)
						} else {
							r.Body.Close()
						}
					})
				}
				all.Wait()
				kept := v.who(express + "/who").Kept
				if cart, _ := kept["cart"].(map[string]any); len(cart) != n+1 || len(kept) != n+2 {
					t.Errorf("after %d parallel requests: %v", n, kept)
				}
			})
			t.Run("socket.io", func(t *testing.T) {
				v := enter(t, s)
				v.post(express+"/login", "username", "alice", "password", "secret")
				who := v.who(express + "/who")
				for _, transport := range []string{"websocket", "polling"} {
					cmd := exec.Command(need.Program(t, "node"), "testdata/express/socket.js", v.origin, express+"/socket.io", v.cookies(), transport)
					output, err := cmd.StdoutPipe()
					if err != nil {
						t.Fatal(err)
					}
					if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					line, _ := bufio.NewReader(output).ReadString('\n')
					cmd.Process.Kill()
					cmd.Wait()
					// The head of the response is out, and so save() says.
					if !strings.HasPrefix(line, fmt.Sprintf(`["alice",%q,"`, who.ID)) || !strings.Contains(line, "after the response had begun") {
						t.Errorf("%s: %s", transport, line)
					}
				}
			})
			t.Run("lasting", func(t *testing.T) {
				v := enter(t, s)
				cookie := func(path string) (remaining time.Duration, sent *http.Cookie) {
					t.Helper()
					r, body := v.get(express + path)
					var c struct{ Expires *time.Time }
					if err := json.Unmarshal([]byte(body), &c); err != nil {
						t.Fatalf("%s: %v: %q", path, err, body)
					}
					if c.Expires != nil {
						remaining = time.Until(*c.Expires)
					}
					for _, sent = range r.Cookies() {
					}
					return remaining, sent
				}
				v.get(express + "/add?key=a")
				if remaining, sent := cookie("/cookie"); remaining != 0 || sent != nil {
					t.Errorf("by default: %v, %v", remaining, sent)
				}
				if _, sent := cookie("/remember?ms=100000"); sent == nil || sent.MaxAge != 100 {
					t.Errorf("remembered: %v", sent)
				}
				if remaining, sent := cookie("/cookie"); remaining <= 0 || remaining > 100*time.Second || sent != nil {
					t.Errorf("afterwards: %v, %v", remaining, sent)
				}
				if _, sent := cookie("/touch"); sent == nil || sent.MaxAge != 100 {
					t.Errorf("touched: %v", sent)
				}
				if r, _ := v.get(express + "/add?key=b"); len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge != 100 {
					t.Errorf("a change does not begin the time anew: %v", r.Cookies())
				}
				if _, sent := cookie("/remember?ms=0"); sent == nil || sent.MaxAge >= 0 || v.cookies() != "" {
					t.Errorf("over at once: %v, cookies %q", sent, v.cookies())
				}
			})
			t.Run("files", func(t *testing.T) {
				v := enter(t, s)
				for i, path := range []string{"/files/package.json", "/file", "/files/app.js"} {
					r, body := v.get(express + path)
					if cc := r.Header.Get("Cache-Control"); r.StatusCode != http.StatusOK || body == "" || strings.Contains(cc, "public") || cc == "" {
						t.Errorf("%s: %s, Cache-Control %q", path, r.Status, cc)
					}
					if files := v.who(express + "/who").Kept["files"]; files != float64(i+1) {
						t.Errorf("%s: the session has %v", path, files)
					}
				}
			})
			t.Run("values", func(t *testing.T) {
				v := enter(t, s)
				v.get(express + "/null")
				kept := v.who(express + "/who").Kept
				if got, _ := json.Marshal(kept); string(got) != `{"deep":{"a":{"b":null}},"nothing":null}` {
					t.Errorf("kept: %s", got)
				}
			})
			t.Run("methods", func(t *testing.T) {
				v := enter(t, s)
				v.get(express + "/add?key=a")
				v.says(express+"/saved", "undefined")
				v.says(express+"/reload", "undefined")
				v.says(express+"/late", "x")
				if kept := v.who(express + "/who").Kept; kept["lost"] != nil || kept["late"] != nil || kept["a"] != true {
					t.Errorf("kept: %v", kept)
				}
				eventually(t, "the application's log names what came too late", func() bool {
					return strings.Contains(log.String(), "not saved: req.session.late")
				})
				v.says(express+"/destroy", "undefined")
				if who := v.who(express + "/who"); len(who.Kept) != 0 || v.cookies() != "" {
					t.Errorf("destroyed: %+v, cookies %q", who, v.cookies())
				}
			})
		})
	}
	t.Run("koa and fastify", func(t *testing.T) {
		v := enter(t, s)
		v.post("/5/login", "username", "alice", "password", "secret")
		v.says("/koa/count", `{"count":1,"user":"alice"}`)
		v.says("/fastify/count", `{"count":2,"user":"alice"}`)
		v.says("/koa/count", `{"count":3,"user":"alice"}`)
		v.says("/koa/destroy", "{}")
		v.says("/fastify/count", `{"count":1,"user":null}`)
	})
}

// csrf fetches a token in a session and posts it, and again in another session,
// where it is worth nothing.
func csrf(t *testing.T, s *server, path, field string) {
	v := enter(t, s)
	_, token := v.get(path)
	if r, body := v.post(path, field, token); body != "done" {
		t.Errorf("with the token: %s %q", r.Status, body)
	}
	other := enter(t, s)
	other.get(path)
	if r, _ := other.post(path, field, token); r.StatusCode != http.StatusForbidden {
		t.Errorf("with the token of another session: %s", r.Status)
	}
}
