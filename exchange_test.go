package caddysession

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// A visitor is anonymous, live or unknown.
func TestVisitor(t *testing.T) {
	others := ""
	for range cookiejar.MaxCandidates {
		others += "csid=" + session.NewToken().Bearer() + "; "
	}
	for _, tt := range []struct {
		what, block, cookie string // $ in the cookie is that of the session
		down                bool
		state               string // what {session.state} is, "" if the application is not asked
		sets                int    // the status if the application sets something
	}{
		{"no cookie", "", "", false, "none", 0},
		{"no cookie, store down", "", "theme=dark", true, "none", 503},
		{"live", "", "$", false, "live", 0},
		{"live among others", "", "theme=dark; $", false, "live", 0},
		{"no token", "", "csid=x", true, "none", 503},
		{"nobody's", "", "csid=" + session.NewToken().Bearer(), false, "none", 0},
		{"wrong secret", "", "$ forged", false, "none", 0},
		{"too many", "", "$; " + others, false, "none", 0},
		{"store down", "", "$", true, "", 503},
		{"store down, pass", "on_store_error pass", "$", true, "none", 503},
		{"pass", "on_store_error pass", "$", false, "live", 0},
		{"over the limit", "", strings.Repeat("a=b; ", 4000), false, "", 431},
	} {
		t.Run(tt.what, func(t *testing.T) {
			h, s := handler(t, tt.block)
			own := begin(t, h, `{"user":"alice"}`)
			if tt.cookie == "$ forged" {
				id, _, _ := strings.Cut(own, ".")
				_, secret, _ := strings.Cut(session.NewToken().Bearer(), ".")
				tt.cookie = id + "." + secret
			}
			s.store.down.Store(tt.down)
			state := ""
			_, err := answer(h, request("/", strings.Replace(tt.cookie, "$", own, 1)), func(w http.ResponseWriter, r *http.Request) error {
				value, _ := caddyhttp.GetVar(r.Context(), visitVar).(*visit).placeholder("session.state")
				state = value.(string)
				if shows := r.Header.Get("X-Session-User") == "alice"; shows != (state == "live") {
					t.Errorf("%s, with header %v", state, r.Header)
				}
				w.Header().Set("X-Session-Set", "a=1")
				return nil
			})
			if state != tt.state || status(err) != tt.sets {
				t.Errorf("state %q, error %v", state, err)
			}
		})
	}
}

// Where the store could not tell, nothing is committed either, even if it could by
// then, and caches are told that there may be a session.
func TestUnknownVisitor(t *testing.T) {
	h, s := handler(t, "on_store_error pass\nrequest_headers id data new_id")
	own := begin(t, h, `{"a":1}`)
	for _, tt := range []struct {
		says    string
		status  int
		caching string
	}{{"X-Session-Set: b=2", 503, ""}, {"X-A: b", 0, "private"}} {
		s.store.down.Store(true)
		w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			s.store.down.Store(false)
			if id := r.Header.Get("X-Session-New-Id"); id != "" {
				t.Errorf("the application is told %q, which it can't have", id)
			}
			return says(tt.says)(w, r)
		})
		if status(err) != tt.status || w.Header().Get("Cache-Control") != tt.caching || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %v, %v", tt.says, err, w.Header())
		}
	}
	if n := s.store.sessions(t); n != 1 || seen(t, h, own) != `{"a":1}` {
		t.Errorf("%d sessions", n)
	}
}

// Somebody who signs out from where the store can't be asked must know that it
// did not work, and a retry must not repeat what the application has done.
func TestRetryAfter(t *testing.T) {
	h, s := handler(t, "")
	cookie := begin(t, h, `{"a":1}`)
	s.store.down.Store(true)

	r, w := request("/", cookie), httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, says()); status(err) != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("before the application: %v, %v", err, w.Header())
	}
	s.store.down.Store(false)
	r, w = request("/", cookie), httptest.NewRecorder()
	failing := application(func(http.ResponseWriter, *http.Request) error { return errors.New("no") })
	if err := h.ServeHTTP(w, r, failing); err == nil {
		t.Fatal("no error")
	}
	s.store.down.Store(true)
	if err := h.ServeHTTP(w, r, says()); status(err) != 503 || w.Header().Get("Retry-After") != "" {
		t.Errorf("in an error route, after the application: %v, %v", err, w.Header())
	}
}

// What the response's header asks for, and what the client gets.
func TestResponses(t *testing.T) {
	const set = `X-Session-Set: {"b":2}`
	for _, tt := range []struct {
		what, block string
		says        []string
		down        bool
		status      int
		cookie      string // what the Set-Cookie line has, - for no line
		caching     string
		data        string // of the session afterwards
	}{
		{"nothing", "", nil, false, 0, "-", "private", `{"a":1}`},
		{"set", "", []string{set}, false, 0, "-", "private", `{"a":1,"b":2}`},
		{"what is there", "", []string{`X-Session-Set: {"a":1}`}, false, 0, "-", "private", `{"a":1}`},
		{"renew", "", []string{"X-Session-Control: renew"}, false, 0, "; Path=/; HttpOnly", "no-store", ""},
		{"sign in", "", []string{"X-Session-Set: user=alice"}, false, 0, "SameSite=Lax", "no-store", ""},
		{"remember", "", []string{"X-Session-Control: max-age=3600"}, false, 0, "Max-Age=3", "no-store", `{"a":1}`},
		{"persistent", "cookie {\npersistent\n}", []string{"X-Session-Control: renew"}, false, 0, "Max-Age=8", "no-store", ""},
		{"destroy", "", []string{"X-Session-Control: destroy"}, false, 0, "Max-Age=0", "no-store", ""},
		{"if-version", "", []string{set, "X-Session-Control: if-version=7"}, false, 409, "-", "", `{"a":1}`},
		{"malformed", "", []string{"X-Session-Set: {"}, false, 502, "-", "", `{"a":1}`},
		{"too large", "max_data 300", []string{"X-Session-Set: c=" + strings.Repeat("x", 400)}, false, 502, "-", "", `{"a":1}`},
		{"cacheable", "", []string{set, "Cache-Control: public"}, false, 0, "-", "private", `{"a":1,"b":2}`},
		{"from a cache", "", []string{set, "Age: 5"}, false, 0, "-", "private", `{"a":1}`},
		{"public page", "", []string{"Cache-Control: public"}, false, 0, "-", "public", `{"a":1}`},
		{"not saved", "", []string{set}, true, 503, "-", "", `{"a":1}`},
		{"cookie of our name", "", []string{"Set-Cookie: csid=x", "Set-Cookie: b=c"}, false, 0, "b=c", "private", `{"a":1}`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			h, s := handler(t, tt.block)
			own := begin(t, h, `{"a":1}`)
			var wrote error
			w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
				s.store.down.Store(tt.down)
				w.Header().Set("X-Mine", "yes")
				wrote = says(tt.says...)(w, r)
				s.store.down.Store(false)
				return nil // as handlers do whose client seems to be gone
			})
			if status(err) != tt.status {
				t.Fatal(err)
			}
			withheld := tt.status != 0
			if sent := w.Body.Len() > 0; sent == withheld || (wrote != nil) != withheld || (w.Header().Get("X-Mine") != "") == withheld {
				t.Errorf("body %q, write error %v, header %v", w.Body, wrote, w.Header())
			}
			line := strings.Join(w.Header()["Set-Cookie"], "|")
			if line == "" && tt.cookie != "-" || line != "" && !strings.Contains(line, tt.cookie) {
				t.Errorf("Set-Cookie %q", line)
			}
			if got := w.Header().Get("Cache-Control"); got != tt.caching {
				t.Errorf("Cache-Control %q", got)
			}
			for name := range w.Header() {
				if strings.HasPrefix(name, "X-Session") {
					t.Errorf("the client sees %s", name)
				}
			}
			if got := seen(t, h, own); got != tt.data {
				t.Errorf("the session has %q", got)
			}
		})
	}
}

// A session belongs to a host.
func TestNoSessionsOutsideOfTheDomain(t *testing.T) {
	h, s := handler(t, "cookie {\ndomain example.com\n}")
	for target, want := range map[string]int{
		"http://example.com/": 0, "http://a.example.com/": 0, "http://example.net/": 502,
	} {
		if _, err := answer(h, request(target, ""), says("X-Session-Set: a=1")); status(err) != want {
			t.Errorf("%s: %v", target, err)
		}
	}
	if n := s.store.sessions(t); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// Only if its response failed to be committed is a panic of reverse_proxy no
// panic, and no other is ever.
func TestPanics(t *testing.T) {
	h, s := handler(t, "")
	for _, tt := range []struct {
		down  bool
		value any
		want  any
	}{
		{true, http.ErrAbortHandler, nil},
		{true, "other", "other"},
		{false, http.ErrAbortHandler, http.ErrAbortHandler},
		{false, "other", "other"},
	} {
		got := func() (p any) {
			defer func() { p = recover() }()
			answer(h, request("/", ""), func(w http.ResponseWriter, r *http.Request) error {
				s.store.down.Store(tt.down)
				defer s.store.down.Store(false)
				says("X-Session-Set: a=1")(w, r)
				panic(tt.value)
			})
			return nil
		}()
		if got != tt.want {
			t.Errorf("store down %v: panic of %v comes out as %v", tt.down, tt.value, got)
		}
	}
}

// A response that never goes out commits nothing and says nothing.
func TestAbandoned(t *testing.T) {
	h, s := handler(t, "cookies {\nkeep PHPSESSID\n}")
	own := begin(t, h, `{"a":1}`)
	for _, tt := range []struct{ what, cookie, caching string }{
		{"anonymous", "", ""}, {"live", own, "private"},
	} {
		w, err := answer(h, request("/", tt.cookie), func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Session-Set", "b=2")
			w.Header().Set("X-Mine", "yes")
			w.Header()["Set-Cookie"] = []string{"csid=x", "PHPSESSID=y", "theme=dark"}
			w.Header().Set("Trailer", "Set-Cookie, X-Session-Control")
			return errors.New("no")
		})
		if err == nil || w.Body.Len() > 0 {
			t.Fatalf("%s: %v, %q", tt.what, err, w.Body)
		}
		header := w.Header()
		if header.Get("X-Session-Set") != "" || header.Get("Trailer") != "" || strings.Join(header["Set-Cookie"], ",") != "theme=dark" ||
			header.Get("X-Mine") != "yes" || header.Get("Vary") != "Cookie" || header.Get("Cache-Control") != tt.caching {
			t.Errorf("%s: header %v", tt.what, header)
		}
	}
	if n := s.store.sessions(t); n != 1 || seen(t, h, own) != `{"a":1}` {
		t.Errorf("%d sessions", n)
	}
}

// A handler's error after the header went out changes nothing of that.
func TestErrorAfterTheCommit(t *testing.T) {
	h, s := handler(t, "")
	w, err := answer(h, request("/", ""), func(w http.ResponseWriter, r *http.Request) error {
		says("X-Session-Set: a=1")(w, r)
		return errors.New("the rest is missing")
	})
	if err == nil || len(w.Header()["Set-Cookie"]) != 1 || s.store.sessions(t) != 1 {
		t.Errorf("%v, %v", err, w.Header())
	}
}

// A 1xx response is clean and obeyed in nothing; the final one is.
func TestInterim(t *testing.T) {
	h, s := handler(t, "")
	early := &interim{ResponseRecorder: httptest.NewRecorder()}
	err := h.ServeHTTP(early, request("/", ""), application(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("X-Session-Set", "a=1")
		w.Header().Set("Set-Cookie", "csid=x")
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		if n := s.store.sessions(t); n != 0 {
			t.Errorf("%d sessions after a 103", n)
		}
		return says("X-Session-Set: b=2")(w, r)
	}))
	if err != nil || len(early.headers) != 1 || len(early.headers[0]) != 1 || early.headers[0].Get("Link") == "" {
		t.Errorf("the 103: %v, %v", early.headers, err)
	}
	if n := s.store.sessions(t); n != 1 {
		t.Errorf("%d sessions after the final response", n)
	}
}

// interim keeps the headers of 1xx responses, as they were.
type interim struct {
	*httptest.ResponseRecorder
	headers []http.Header
}

func (w *interim) WriteHeader(status int) {
	if status < 200 {
		w.headers = append(w.headers, w.Header().Clone())
		return
	}
	w.ResponseRecorder.WriteHeader(status)
}

// What counts as use of a session, and is written as such.
func TestTouch(t *testing.T) {
	h, _ := handler(t, "")
	own := begin(t, h, `{"a":1}`)
	for _, tt := range []struct {
		what   string
		status int
		header map[string]string
		want   bool
	}{
		{"a page", 200, nil, true},
		{"an error page", 500, nil, true},
		{"the client is gone", clientClosedRequest, nil, false},
		{"the application says no", 200, map[string]string{"X-Session-Control": "no-touch"}, false},
		{"what is written anyway", 200, map[string]string{"X-Session-Set": "b=2"}, false},
	} {
		r := request("/", own)
		if _, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
			for name, value := range tt.header {
				w.Header().Set(name, value)
			}
			w.WriteHeader(tt.status)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := visitOf(r).first.touch; got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

// A near-cache is good enough for what changes nothing and ends soon.
func TestMayBeCached(t *testing.T) {
	for line, want := range map[string]bool{
		"GET ": true, "HEAD ": true, "OPTIONS ": true,
		"POST ": false, "PUT ": false, "DELETE ": false, "PROPFIND ": false, "GET websocket": false,
	} {
		method, upgrade, _ := strings.Cut(line, " ")
		r := httptest.NewRequest(method, "/", nil)
		if upgrade != "" {
			r.Header.Set("Upgrade", upgrade)
		}
		if got := mayBeCached(r); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// More than the headers of a request may have is an error rather than left out.
func TestShowIsAllOrNothing(t *testing.T) {
	h, s := handler(t, "")
	own := begin(t, h, `{"a":"`+strings.Repeat("x", 100)+`"}`)
	narrow := s.handler("exposed 64")
	if _, err := answer(narrow, request("/", own), says()); status(err) != 500 {
		t.Error(err)
	}
}

// What a browser has of a page for other kept cookies is neither still good nor
// to be completed.
func TestAsksAnew(t *testing.T) {
	h, _ := handler(t, "cookies {\nkeep PHPSESSID\n}")
	cookie := func(own, line string) string {
		w, err := answer(h, request("/", own), says("Set-Cookie: PHPSESSID="+line))
		if err != nil || len(w.Result().Cookies()) != 1 {
			t.Fatal(w.Header(), err)
		}
		set := w.Result().Cookies()[0]
		return set.Name + "=" + set.Value
	}
	before := cookie("", "one")
	now := cookie(before, "two")
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range"} {
		for own, good := range map[string]bool{before: false, now: true} {
			r := request("/", own)
			r.Header.Set(name, "Mon, 01 Jan 2024 00:00:00 GMT")
			r.Header.Set("Range", "bytes=5-")
			_, err := answer(h, r, func(_ http.ResponseWriter, r *http.Request) error {
				if has := r.Header.Get(name) != ""; has != good {
					t.Errorf("%s: there %t, want %t", name, has, good)
				}
				if has := r.Header.Get("Range") != ""; has != (good || name != "If-Range") {
					t.Errorf("%s: Range there %t", name, has)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
