package caddysession

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Several session handlers in a row: the first whose matcher matches has the
// session, and the others leave alone what is its own.
func TestHandlersInARow(t *testing.T) {
	for _, tt := range []struct {
		what, inner string
		own         bool // whether the inner one has headers of its own
	}{
		{"alike", "", false},
		{"other headers", "header_prefix X-Other-", true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			outer, s := handler(t, "")
			inner := s.handler(tt.inner)
			cookie := begin(t, outer, `{"user":"alice"}`)
			r := request("/", cookie)
			r.Header.Set("X-Session-User", "forged")
			r.Header.Set("X-Other-User", "forged")
			w, err := answer(chain{outer, inner}, r, func(w http.ResponseWriter, r *http.Request) error {
				if got := r.Header["X-Session-User"]; len(got) != 1 || got[0] != "alice" {
					t.Errorf("user %q", got)
				}
				if got := r.Header.Get("X-Other-User"); (got == "") != tt.own {
					t.Errorf("other user %q", got)
				}
				if v := visitOf(r); v.depth != 2 || v.owner() != outer {
					t.Errorf("depth %d, owner %p", v.depth, v.owner())
				}
				return says("X-Session-Set: lang=fr", "X-Other-Set: lang=en")(w, r)
			})
			if err != nil || seen(t, outer, cookie) != `{"lang":"fr","user":"alice"}` {
				t.Errorf("%v, session %s", err, seen(t, outer, cookie))
			}
			if got := w.Header().Get("X-Other-Set"); (got == "") != tt.own {
				t.Errorf("the client sees X-Other-Set: %q", got)
			}
			v := visitOf(r)
			if v.depth != 0 || v.owner() != nil || v.session.Subject() != "alice" {
				t.Errorf("afterwards: depth %d, owner %p, session %v", v.depth, v.owner(), v.session)
			}
		})
	}
}

// An error route gets a request without a session, and may have one with a
// handler of its own.
func TestErrorRoutes(t *testing.T) {
	h, s := handler(t, "cookies {\nkeep PHPSESSID\n}")
	cookie := begin(t, h, `{"user":"alice"}`)
	if _, err := answer(h, request("/", cookie), says("Set-Cookie: PHPSESSID=kept")); err != nil {
		t.Fatal(err)
	}
	failing := application(func(http.ResponseWriter, *http.Request) error { return errors.New("no") })
	user := func(r *http.Request) string { return r.Header.Get("X-Session-User") + " " + r.Header.Get("Cookie") }

	r := request("/", cookie+"; theme=dark")
	_, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
		if got := user(r); got != "alice PHPSESSID=kept; theme=dark" && got != "alice theme=dark; PHPSESSID=kept" {
			t.Errorf("the application sees %q", got)
		}
		return failing(w, r)
	})
	if err == nil || user(r) != " theme=dark" {
		t.Errorf("after the error %v: %q", err, user(r))
	}
	if _, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
		if got := user(r); !strings.HasPrefix(got, "alice ") || !strings.Contains(got, "PHPSESSID=kept") {
			t.Errorf("the error route with a handler sees %q", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}

	// An error that a handler outside of the failing one turns into a page: the
	// session is the outer one's still.
	recovering := middleware(func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		if err := next.ServeHTTP(w, r); err == nil {
			t.Error("no error")
		}
		if got := user(r); !strings.HasPrefix(got, "alice ") {
			t.Errorf("within the outer handler, after the error: %q", got)
		}
		return nil
	})
	if _, err := answer(chain{h, recovering, s.handler("")}, request("/", cookie), failing); err != nil {
		t.Error(err)
	}
}

// middleware is a handler between others.
type middleware func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error

func (f middleware) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return f(w, r, next)
}

// A handler that answers an error page with a new session replaces the line from
// before the error, and no other.
func TestSetCookie(t *testing.T) {
	v := new(visit)
	header := http.Header{"Set-Cookie": {"theme=dark"}}
	if v.hasCookie(header) {
		t.Error("it has a cookie")
	}
	for _, line := range []string{"csid=1", "csid=2"} {
		v.setCookie(header, line)
		if got := strings.Join(header["Set-Cookie"], ","); got != "theme=dark,"+line || !v.hasCookie(header) {
			t.Errorf("%s: %s", line, got)
		}
	}
	header.Del("Set-Cookie") // as a site may do
	if v.hasCookie(header) {
		t.Error("it has a cookie that is gone")
	}
	v.setCookie(header, "csid=3")
	if got := header["Set-Cookie"]; len(got) != 1 || got[0] != "csid=3" {
		t.Errorf("%q", got)
	}
}

// There is one visit for a request, whatever handlers make of that.
func TestVisitOf(t *testing.T) {
	r := request("/", "a=b")
	v := visitOf(r)
	if visitOf(r.WithContext(t.Context())) == v {
		t.Error("another request has the same visit")
	}
	if visitOf(r.Clone(r.Context())) != v || v.String() != "" || len(v.cookies.Lines) != 1 {
		t.Errorf("%+v", v)
	}
	if visitOf(httptest.NewRequest("GET", "/", nil)) == nil {
		t.Error("a request that did not come by a server has no visit")
	}
}
