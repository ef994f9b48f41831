package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What was committed before an error stays committed, so the browser has to get
// the cookie that belongs to it, also where the error route has a session.
func TestErrorAfterTheCommitKeepsTheCookie(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if set := r.URL.Query().Get("set"); set != "" {
			w.Header().Set("X-Session-Set", set)
		}
		fmt.Fprintf(w, "user=%s", r.Header.Get("X-Session-User"))
		if r.URL.Query().Has("broken") {
			io.WriteString(w, "{{ no template")
		}
	})
	errors := app(t, scripted)
	for _, inner := range []string{"respond page", "session\nrespond page", "session\nreverse_proxy " + errors.host()} {
		t.Run(strings.ReplaceAll(inner, "\n", ", "), func(t *testing.T) {
			// templates reads the page only after session has let it through.
			s := serve(t, storeOption("memory"), fmt.Sprintf(
				"route {\ntemplates\nsession\nreverse_proxy %s\n}\nhandle_errors {\n%s\n}", a.host(), inner))
			before := s.get("/?set=a%3D1", "").cookie()
			r := s.get("/?broken=1&set=user%3Dalice", before)
			if r.StatusCode < 200 || len(r.Header["Set-Cookie"]) != 1 || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the error page: %q", r.raw)
			}
			if body := s.get("/", r.cookie()).body; body != "user=alice" {
				t.Errorf("with the new cookie: %q", body)
			}
			if body := s.get("/", before).body; body != "user=" {
				t.Errorf("with the old cookie: %q", body)
			}
		})
	}
}

// An application that answers an error page may start a session, too: then its
// cookie takes the place of the one from before.
func TestErrorRouteMayReplaceTheCookie(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Session-Set", `{"user":"alice"}`)
		io.WriteString(w, "{{ no template")
	})
	errors := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Session-Set", `{"seen":"error"}`)
	})
	s := serve(t, storeOption("memory"), fmt.Sprintf(
		"route {\ntemplates\nsession\nreverse_proxy %s\n}\nhandle_errors {\nsession\nreverse_proxy %s\n}", a.host(), errors.host()))
	r := s.get("/", "")
	if len(r.Header["Set-Cookie"]) != 1 || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q", r.raw)
	}
}
