package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// Pages of a session of 1 MiB that ask for none of it have Redis send none of it. All
// of it is there for who asks, and stays there when something else is changed.
func TestAPILargeSession(t *testing.T) {
	redis := redistest.Start(t)
	a := askingApp(t)
	globals := fmt.Sprintf("session {\n\tstore redis %s {\n\t\ttimeout 5s\n\t}\n\tapi %s\n}", redis.Addr, freeAddr(t))
	s := serve(t, globals, `session {
		api
		max_data 2MiB
	}
	@admin session role admin
	route /admin {
		header @admin Role {session.data.role}
	}
	route /set {
		session_set role editor
		respond ok
	}
	reverse_proxy `+a.host())
	text := strings.Repeat("x", 1<<20)
	cookie := a.begin(s, `{"role":"admin","text":"`+text+`"}`)
	sent := func() int {
		n, err := strconv.Atoi(redis.Info("stats", "total_net_output_bytes"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	wantAll := func(role, more string) {
		t.Helper()
		a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
			status, body := ask(t, capability, "GET", "", "")
			var got struct{ Data map[string]string }
			if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil || got.Data["text"] != text || got.Data["role"] != role || got.Data["more"] != more {
				t.Errorf("%d, %v: %d bytes", status, err, len(body))
			}
		})
	}
	a.during = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Session-Id") == "" || r.Header["X-Session-Data"] != nil {
			t.Errorf("the application sees the session %q and %d bytes of data", r.Header.Get("X-Session-Id"), len(r.Header.Get("X-Session-Data")))
		}
	}
	before := sent()
	const pages = 40
	for i := range pages {
		if i%2 == 0 {
			s.get("/", cookie)
		} else {
			s.parse(s.raw("POST / HTTP/1.1\r\nHost: " + s.addr + "\r\nCookie: " + cookie + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		}
	}
	if each := (sent() - before) / pages; each > 16<<10 {
		t.Errorf("a page that does not ask has Redis send %d bytes", each)
	}
	wantAll("admin", "")
	if r := s.get("/admin", cookie); r.Header.Get("Role") != "admin" {
		t.Errorf("the matcher and the placeholder find %q", r.Header.Get("Role"))
	}
	a.have(s, cookie, func(_ http.ResponseWriter, capability string) {
		if status, body := ask(t, capability, "PATCH", "", `{"more":"1"}`); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	})
	wantAll("admin", "1")
	s.get("/set", cookie)
	wantAll("editor", "1")
	a.during = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Session-Set", `{"more":"2"}`) }
	s.get("/", cookie)
	wantAll("editor", "2")
}

// A proxy relays early hints on a goroutine where nobody recovers. A header that shows
// data which can't be read any more by then must not end the process, and nothing of the
// response goes out.
func TestAPILargeSessionEndsBeforeEarlyHints(t *testing.T) {
	a := askingApp(t)
	s := serve(t, withAPI(freeAddr(t)), "session {\n\tapi\n\tmax_data 2MiB\n}\nheader >Role {session.data.role}\nreverse_proxy "+a.host())
	for _, meanwhile := range []string{"DELETE", "POST"} {
		cookie := a.begin(s, `{"role":"admin","text":"`+strings.Repeat("x", 1<<20)+`"}`)
		a.during = func(w http.ResponseWriter, r *http.Request) {
			path := map[string]string{"DELETE": "", "POST": "/renew"}[meanwhile]
			a.have(s, cookie, func(_ http.ResponseWriter, capability string) { // another request
				if status, body := ask(t, capability, meanwhile, path, ""); status >= 300 {
					t.Errorf("%s: %d %s", meanwhile, status, body)
				}
			})
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Write([]byte("the page"))
		}
		if r := s.get("/", cookie); strings.Contains(r.raw, "the page") || strings.Contains(r.raw, "admin") {
			t.Errorf("%s: %q", meanwhile, r.raw)
		}
	}
}
