package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// put is the query of a scripted application that sends X-Session-Put.
func put(object string) string { return "put=" + url.QueryEscape(object) }

// wantData fails unless a scripted application is shown this user and data.
func (s *server) wantData(cookie, user, data string) {
	s.t.Helper()
	if got, want := s.get("/", cookie).body, fmt.Sprintf("user=%s data=%s ", user, data); !strings.HasPrefix(got, want) {
		s.t.Errorf("the application is shown %q, want %q", got, want)
	}
}

func TestPutGivesKeysExactlyTheirValues(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", `@null session n
	route {
		session
		header @null X-Matched n
		header X-Shown "<{session.data.n}>"
		reverse_proxy `+a.host()+`
	}`)
	cookie := s.get("/?"+put(`{"n":null,"o":{"a":1,"b":null}}`), "").cookie()
	if cookie == "" {
		t.Fatal("X-Session-Put began no session")
	}
	s.wantData(cookie, "", `{"n":null,"o":{"a":1,"b":null}}`)
	r := s.get("/?"+put(`{"o":{"c":2}}`), cookie)
	if r.Header.Get("X-Matched") != "" || r.Header.Get("X-Shown") != "<>" {
		t.Errorf("null is a value to the matcher or a placeholder: %v", r.Header)
	}
	noSessionHeaders(t, r.raw)
	s.wantData(cookie, "", `{"n":null,"o":{"c":2}}`)

	// The order on one response: clear, Put, Set, Unset.
	r = s.get("/?"+put(`{"a":{"x":1},"b":1,"user":"alice"}`)+"&set="+url.QueryEscape(`{"a":{"y":2}}`)+"&unset=b&control=clear", cookie)
	cookie = r.cookie()
	s.wantData(cookie, "alice", `{"a":{"x":1,"y":2},"user":"alice"}`)
	cookie = s.get("/?"+put(`{"user":null}`), cookie).cookie()
	s.wantData(cookie, "", `{"a":{"x":1,"y":2},"user":null}`)

	for _, wrong := range []string{"", "null", "[]", "a=1", `{"a":1`, `{"a":1,"a":2}`, "{} x"} {
		if r := s.get("/?"+put(wrong)+"&set=bad%3D1", cookie); r.StatusCode != 502 {
			t.Errorf("X-Session-Put: %s: status %d", wrong, r.StatusCode)
		}
	}
	s.wantData(cookie, "", `{"a":{"x":1,"y":2},"user":null}`)
}

// What the site sets gives way to what the application puts.
func TestPutWinsOverSessionSet(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session\nsession_set /n n site\nreverse_proxy "+a.host())
	cookie := s.get("/n?"+put(`{"n":null,"m":1}`), "").cookie()
	s.wantData(cookie, "", `{"m":1,"n":null}`)
}

func TestParallelPutsLoseNothing(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, "session {\n\tstore memory\n}", "session\nreverse_proxy "+a.host())
	cookie := s.get("/?"+put(`{}`), "").cookie()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { s.get("/?"+put(fmt.Sprintf(`{"k%02d":null}`, i)), cookie) })
	}
	all.Wait()
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf(`"k%02d":null`, i))
	}
	s.wantData(cookie, "", "{"+strings.Join(want, ",")+"}")
}
