package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What the adapter for Ruby does with the API.
func TestAPIRuby(t *testing.T) {
	addr, log := startRuby(t)
	s := serve(t, apiSocket(t), withAPISite(fmt.Sprintf(`session {
			request_headers id version data expires new_id
			subject user
		}
		reverse_proxy %s {
			flush_interval -1
		}`, addr)))
	says := func(target, cookie, want string) *response {
		t.Helper()
		r := s.get(target, cookie)
		if r.StatusCode != http.StatusOK || r.body != want {
			t.Errorf("%s: %d %q, want %q", target, r.StatusCode, r.body, want)
		}
		return r
	}
	// What is over exposed can't be told in a header, whichever way it is saved.
	cookie := says("/api/large?size="+mebibyte, "", "set").cookie()
	says("/api/length", cookie, mebibyte)
	cookie = says("/api/save-large?size="+mebibyte, "", "saved").cookie()
	says("/api/length", cookie, mebibyte)

	// The first has no response yet when the second sees what it has saved, and sees
	// itself what the second has.
	var pending sync.WaitGroup
	pending.Go(func() { says("/api/pending", cookie, `{"n"=>1, "other"=>2}`) })
	eventually(t, "another request sees what is saved", func() bool { return s.data("/sinatra/", cookie)["n"] == 1.0 })
	says("/api/release", cookie, "1")
	pending.Wait()

	says("/api/late", cookie, "first last")
	data := s.data("/sinatra/", cookie)
	if late, _ := data["late"].(map[string]any); data["early"] != 1.0 || data["large"] != nil || len(late) != 1 {
		t.Errorf("saved after the first byte: %v", data)
	}
	for _, app := range []string{"sinatra", "rails"} {
		says("/"+app+"/late", cookie, "first last")
		if data := s.data("/"+app+"/", cookie); data["too-late"] != 1.0 {
			t.Errorf("%s: saved after the first byte: %v", app, data)
		}
	}
	says("/rails/twice", cookie, "first last")
	if data := s.data("/rails/", cookie); data["twice"] != 2.0 {
		t.Errorf("what comes last does not stay: %v", data)
	}

	const n = 20
	var all sync.WaitGroup
	for range n {
		all.Go(func() { s.get("/api/count", cookie) })
	}
	all.Wait()
	says("/api/count", cookie, fmt.Sprint(n+1))

	in := s.get("/api/in", cookie)
	if in.cookie() == "" || in.body != sessionID(in.cookie()) || in.body == sessionID(cookie) {
		t.Errorf("signed in: %q", in.raw)
	}
	if data := s.data("/rails/", in.cookie()); data["user"] != "alice" || data["n"] != nil {
		t.Errorf("signed in: %v", data)
	}
	if strings.Contains(log.String(), "Rack::Session::Caddy") {
		t.Errorf("Puma's log: %s", log)
	}

	// The browser can't be told of a session any more.
	c := s.dial()
	fmt.Fprintf(c, "GET /api/late-begin HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.addr)
	began := make([]byte, 1)
	if _, err := c.Read(began); err != nil {
		t.Fatal(err)
	}
	s.get("/api/release", in.cookie())
	eventually(t, "the log says what is lost", func() bool {
		return strings.Contains(log.String(), `session["begun"] was changed after the response had begun: the change is lost: the session API answers PATCH / with 409: `)
	})
	c.Close()
}
