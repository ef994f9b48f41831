package caddysession

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/session"
)

// asked is what the session API has answered.
type asked struct {
	status int
	header http.Header
	body   struct {
		ID       string
		Version  uint64
		User     string
		Expires  int64
		Data     json.RawMessage
		Error    string
		Sessions []struct {
			ID   string
			This bool
		}
	}
}

// ask asks the session API by the capability of a request, without a network.
func (s *site) ask(r *http.Request, method, path, body string, lines ...string) (a asked) {
	s.t.Helper()
	return s.askAt(r.Header.Get("X-Session-Api"), method, path, body, lines...)
}

func (s *site) askAt(url, method, path, body string, lines ...string) (a asked) {
	s.t.Helper()
	if !strings.HasPrefix(url, "http://127.0.0.1:2021/") {
		s.t.Fatalf("the capability is %q", url)
	}
	r := httptest.NewRequest(method, url+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.app.SessionAPI().ServeHTTP(w, r)
	if a.status, a.header = w.Code, w.Header(); w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
			s.t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return a
}

// step is one question to the API.
type step struct {
	ask    string // METHOD [/PATH[?QUERY]], then perhaps the body
	status int
	data   string // of the answer, if it is not ""
}

// What the application asks for while it has the request, what its response says
// then, and what has become of the session and of the browser's cookie.
func TestAPI(t *testing.T) {
	for _, tt := range []struct {
		what    string
		data    string // of the session, "" for none
		before  []step // the response
		says    string
		after   []step // the header is out
		cookie  string // what the Set-Cookie line has, - for no line
		session string // the data of the browser's session afterwards, "" for none
	}{
		{what: "read", data: `{"a":1,"b":{"c":"d"}}`, before: []step{{"GET", 200, `{"a":1,"b":{"c":"d"}}`}, {"GET ?keys=b", 200, `{"b":{"c":"d"}}`},
			{"GET ?keys=b,a", 200, `{"b":{"c":"d"},"a":1}`}, {"GET ?keys=b%2Ca", 200, `{}`}, {"GET ?keys=%", 400, ""}}, cookie: "-", session: `{"a":1,"b":{"c":"d"}}`},
		{what: "read, nobody", before: []step{{"GET", 404, ""}}, cookie: "-"},
		{what: "patch", data: `{"a":1,"b":2}`, before: []step{{`PATCH {"a":null,"c":3}`, 200, ""}, {"GET", 200, `{"b":2,"c":3}`}}, cookie: "-", session: `{"b":2,"c":3}`},
		{what: "patch and headers", data: `{"a":1}`, before: []step{{`PATCH {"a":2,"b":2}`, 200, ""}}, says: `X-Session-Set: {"a":3}`, cookie: "-", session: `{"a":3,"b":2}`},
		{what: "headers and patch", data: `{"a":1}`, says: `X-Session-Set: {"a":3,"c":4}`, after: []step{{`PATCH {"a":5}`, 200, ""}, {"GET", 200, `{"a":5,"c":4}`}}, cookie: "-", session: `{"a":5,"c":4}`},
		{what: "put", data: `{"a":{"b":1},"c":2}`, before: []step{{`PUT {"a":{"d":null}}`, 200, ""}}, cookie: "-", session: `{"a":{"d":null},"c":2}`},
		{what: "put all", data: `{"a":{"b":1},"c":2}`, before: []step{{`PUT ?all {"a":1}`, 200, ""}}, cookie: "-", session: `{"a":1}`},
		{what: "put all, or not", data: `{"a":1,"c":2}`, before: []step{{`PUT ?all=false {"a":3}`, 400, ""}, {`PUT ?all=true {"a":3}`, 400, ""},
			{`PUT ?all&all=false {"a":3}`, 400, ""}, {`PUT ?all= {"a":1,"c":2}`, 200, ""}}, after: []step{{"GET ?begun=0", 400, ""}}, cookie: "-", session: `{"a":1,"c":2}`},
		{what: "begin", before: []step{{`PATCH {"a":1}`, 200, ""}, {"GET", 200, `{"a":1}`}}, cookie: "HttpOnly", session: `{"a":1}`},
		{what: "begin, and headers", before: []step{{`PATCH {"a":1}`, 200, ""}}, says: `X-Session-Set: {"b":1}`, cookie: "HttpOnly", session: `{"a":1,"b":1}`},
		{what: "begin, and destroy", before: []step{{`PATCH {"a":1}`, 200, ""}}, says: "X-Session-Control: destroy", cookie: "Max-Age=0"},
		{what: "begin too late", after: []step{{`PATCH {"a":1}`, 409, ""}}, cookie: "-"},
		{what: "begin empty", before: []step{{`PUT {}`, 200, ""}}, cookie: "HttpOnly", session: `{}`},
		{what: "renew", data: `{"a":1}`, before: []step{{"POST /renew", 200, ""}, {"GET", 200, `{"a":1}`}, {`PATCH {"b":2}`, 200, ""}}, cookie: "HttpOnly", session: `{"a":1,"b":2}`},
		{what: "renew, and headers", data: `{"a":1}`, before: []step{{"POST /renew", 200, ""}}, says: `X-Session-Set: {"b":1}`, cookie: "HttpOnly", session: `{"a":1,"b":1}`},
		{what: "renew too late", data: `{"a":1}`, after: []step{{"POST /renew", 409, ""}, {"GET", 200, `{"a":1}`}}, cookie: "-", session: `{"a":1}`},
		{what: "sign in too late", data: `{"a":1}`, after: []step{{`PATCH {"user":"alice"}`, 409, ""}, {"GET", 200, `{"a":1}`}}, cookie: "-", session: `{"a":1}`},
		{what: "sign in", data: `{"a":1}`, before: []step{{`PATCH {"user":"alice"}`, 200, ""}}, cookie: "HttpOnly", session: `{"a":1,"user":"alice"}`},
		{what: "clear", data: `{"a":1}`, before: []step{{"POST /clear", 200, ""}, {`PATCH {"b":2}`, 200, ""}}, cookie: "HttpOnly", session: `{"b":2}`},
		{what: "clear, nobody", before: []step{{"POST /clear", 404, ""}, {"POST /renew", 404, ""}, {"POST /touch", 404, ""}, {"DELETE", 404, ""}}, cookie: "-"},
		{what: "max-age", data: `{"a":1}`, before: []step{{"POST /max-age?seconds=7200", 200, ""}}, cookie: "Max-Age=7", session: `{"a":1}`},
		{what: "max-age of nothing", data: `{"a":1}`, before: []step{{"POST /max-age", 400, ""}}, cookie: "-", session: `{"a":1}`},
		{what: "max-age too late", data: `{"a":1}`, after: []step{{"POST /max-age?seconds=7200", 409, ""}}, cookie: "-", session: `{"a":1}`},
		{what: "touch", data: `{"a":1}`, before: []step{{"POST /touch", 200, ""}}, after: []step{{"POST /touch", 200, ""}}, cookie: "-", session: `{"a":1}`},
		{what: "end", data: `{"a":1}`, before: []step{{"DELETE", 204, ""}, {"GET", 404, ""}}, cookie: "Max-Age=0"},
		{what: "end late", data: `{"a":1}`, after: []step{{"DELETE", 204, ""}, {"GET", 404, ""}}, cookie: "-"},
		{what: "end, and begin", data: `{"a":1}`, before: []step{{"DELETE", 204, ""}, {`PATCH {"b":1}`, 200, ""}}, cookie: "HttpOnly", session: `{"b":1}`},
		{what: "end, and headers", data: `{"a":1}`, before: []step{{"DELETE", 204, ""}}, says: `X-Session-Set: {"b":1}`, cookie: "HttpOnly", session: `{"b":1}`},
		{what: "malformed", data: `{"a":1}`, before: []step{{`PATCH {"a":1,"a":2}`, 400, ""}, {`PATCH []`, 400, ""}, {`PATCH {}, {}`, 400, ""},
			{`PATCH {"b":"` + strings.Repeat("x", 5000) + `"}`, 413, ""}, {`PATCH {"b":"` + strings.Repeat("\u00e9", 200) + `"}`, 422, ""}}, cookie: "-", session: `{"a":1}`},
		{what: "wrong method", data: `{"a":1}`, before: []step{{"POST", 405, ""}, {"GET /renew", 405, ""}, {"GET /nothing", 404, ""}, {"GET /sessions/x", 404, ""}}, cookie: "-", session: `{"a":1}`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			h, s := handler(t, "api\nmax_data 1000\nrequest_headers id data new_id")
			own := ""
			if tt.data != "" {
				own = begin(t, h, tt.data)
			}
			var capability string
			w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
				capability = r.Header.Get("X-Session-Api")
				s.steps(r, tt.before)
				err := says(tt.says)(w, r)
				s.steps(r, tt.after)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := s.askAt(capability, "GET", "", ""); a.status != 401 {
				t.Errorf("after the request: %+v", a)
			}
			line := strings.Join(w.Header()["Set-Cookie"], "|")
			if tt.cookie == "-" && line != "" || tt.cookie != "-" && !strings.Contains(line, tt.cookie) {
				t.Errorf("Set-Cookie %q", line)
			}
			if cookies := w.Result().Cookies(); len(cookies) > 0 {
				own = cookies[0].Name + "=" + cookies[0].Value
			}
			if got := seen(t, h, own); got != tt.session {
				t.Errorf("the session has %s", got)
			}
		})
	}
}

// steps asks one question after the other.
func (s *site) steps(r *http.Request, steps []step) {
	s.t.Helper()
	for _, one := range steps {
		method, rest, _ := strings.Cut(one.ask, " ")
		path, body := "", rest
		if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "?") {
			path, body, _ = strings.Cut(rest, " ")
		}
		a := s.ask(r, method, path, body)
		if a.status != one.status || one.data != "" && string(a.body.Data) != one.data {
			s.t.Errorf("%s: %+v, data %s", one.ask, a, a.body.Data)
		}
		if (a.body.Error != "") != (a.status >= 400) {
			s.t.Errorf("%s: %d with the error %q", one.ask, a.status, a.body.Error)
		}
	}
}

// The id that the application was told is that of the session that the API begins,
// and no id is used twice.
func TestAPINewID(t *testing.T) {
	h, s := handler(t, "api\nrequest_headers id data new_id")
	w, err := answer(h, request("/", ""), func(w http.ResponseWriter, r *http.Request) error {
		told := r.Header.Get("X-Session-New-Id")
		first := s.ask(r, "PATCH", "", `{"a":1}`).body.ID
		second := s.ask(r, "POST", "/clear", "").body.ID
		if first != told || second == told || second == "" {
			t.Errorf("told %s, got %s and %s", told, first, second)
		}
		return says("X-Session-Control: clear")(w, r)
	})
	if err != nil || len(w.Header()["Set-Cookie"]) != 1 {
		t.Errorf("%v, %v", err, w.Header())
	}
}

// Versions, tags and conditions.
func TestAPIConditions(t *testing.T) {
	h, s := handler(t, "api")
	own := begin(t, h, `{"a":1}`)
	_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
		tag := s.ask(r, "GET", "", "").header.Get("ETag")
		if a := s.ask(r, "GET", "", "", "If-None-Match: "+tag); a.status != 304 || a.header.Get("ETag") != tag || a.body.ID != "" {
			t.Errorf("not modified: %+v", a)
		}
		if a := s.ask(r, "PATCH", "", `{"a":2}`, "If-None-Match: *"); a.status != 412 {
			t.Errorf("only without a session: %+v", a)
		}
		other := `"` + session.NewToken().ID + strings.TrimPrefix(tag, `"`+s.ask(r, "GET", "", "").body.ID)
		if a := s.ask(r, "PATCH", "", `{"a":2}`, "If-Match: "+other); a.status != 412 {
			t.Errorf("another id: %+v", a)
		}
		changed := s.ask(r, "PATCH", "", `{"a":2}`, "If-Match: "+tag)
		if changed.status != 200 || changed.body.Version != 2 || changed.header.Get("ETag") == tag {
			t.Errorf("changed: %+v", changed)
		}
		if a := s.ask(r, "PATCH", "", `{"a":3}`, "If-Match: "+tag); a.status != 412 {
			t.Errorf("with the old tag: %+v", a)
		}
		for _, wrong := range []string{"If-Match: W/" + changed.header.Get("ETag"), "If-Match: x", `If-Match: ""`, "If-None-Match: " + tag} {
			if a := s.ask(r, "PATCH", "", `{"a":3}`, wrong); a.status != 400 {
				t.Errorf("%s: %+v", wrong, a)
			}
		}
		if a := s.ask(r, "DELETE", "", "", "If-Match: *"); a.status != 400 {
			t.Errorf("ending: %+v", a)
		}
		if a := s.ask(r, "PATCH", "", `{"a":3}`, "If-Match: *"); a.status != 200 {
			t.Errorf("on any: %+v", a)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = answer(h, request("/", ""), func(w http.ResponseWriter, r *http.Request) error {
		for _, line := range []string{"If-Match: *", `If-Match: "` + session.NewToken().ID + `.1"`} {
			if a := s.ask(r, "PATCH", "", `{"a":3}`, line); a.status != 412 {
				t.Errorf("nobody, %s: %+v", line, a)
			}
		}
		if a := s.ask(r, "PATCH", "", `{"a":3}`, "If-None-Match: *"); a.status != 200 {
			t.Errorf("nobody: %+v", a)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A session that somebody else has renewed, replaced or ended meanwhile is none to
// the capability: nothing is read, and nothing changed.
func TestAPIAfterOthers(t *testing.T) {
	for _, does := range []string{"renew", "clear", "destroy"} {
		h, s := handler(t, "api")
		own := begin(t, h, `{"user":"alice","a":1}`)
		w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			if _, err := answer(h, request("/", own), says("X-Session-Control: "+does)); err != nil {
				t.Fatal(err)
			}
			for _, ask := range []string{"GET", "GET ?keys=a", `PATCH {"a":2}`, `PUT {"a":2}`, "POST /renew", "POST /clear", "POST /touch",
				"POST /max-age?seconds=60", "GET /sessions", "DELETE /sessions", "DELETE /sessions/" + session.NewToken().ID} {
				s.steps(r, []step{{ask, http.StatusGone, ""}})
			}
			return nil
		})
		if err != nil || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %v, %v", does, err, w.Header())
		}
	}
}

// What the API has done stands, whatever becomes of the response; so the browser
// hears of it.
func TestAPIAndErrors(t *testing.T) {
	for what, fails := range map[string]application{
		"handler": func(http.ResponseWriter, *http.Request) error { return errors.New("no") },
		"refused": says("X-Session-Set: {"),
		"version": says("X-Session-Control: if-version=7"),
	} {
		h, s := handler(t, "api")
		own := begin(t, h, `{"a":1}`)
		r := request("/", own)
		w, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
			s.steps(r, []step{{"POST /renew", 200, ""}})
			return fails(w, r)
		})
		cookies := w.Result().Cookies()
		if err == nil || len(cookies) != 1 || w.Header().Get("Cache-Control") != "no-store" || r.Header.Get("X-Session-Api") != "" {
			t.Fatalf("%s: %v, %v", what, err, w.Header())
		}
		if got := seen(t, h, cookies[0].Name+"="+cookies[0].Value); got != `{"a":1}` {
			t.Errorf("%s: the session has %q", what, got)
		}
	}
}

// Data over exposed is left out of the headers, and the API has it; what a line
// promises is not.
func TestAPILargeSession(t *testing.T) {
	h, s := handler(t, "api\nexposed 300\nforward role\nrequest_headers id user data")
	own := begin(t, h, `{"user":"alice"}`)
	large := `{"big":"` + strings.Repeat("x", 20000) + `","user":"alice"}`
	ask := func(f func(r *http.Request)) {
		t.Helper()
		_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			f(r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask(func(r *http.Request) {
		s.steps(r, []step{{"PATCH " + large, 200, ""}, {`PATCH {"role":"` + strings.Repeat("x", 300) + `"}`, 422, ""}})
	})
	ask(func(r *http.Request) {
		_, has := r.Header["X-Session-Data"]
		if has || r.Header.Get("X-Session-Id") == "" || r.Header.Get("X-Session-User") != "alice" {
			t.Errorf("the application gets %v", r.Header)
		}
		s.steps(r, []step{{"GET", 200, large}})
	})
}

// "Where am I signed in": the sessions of the user, and of nobody else.
func TestAPISessions(t *testing.T) {
	h, s := handler(t, "api\nrecord client")
	alice, here, bob := begin(t, h, `{"user":"alice"}`), begin(t, h, `{"user":"alice"}`), begin(t, h, `{"user":"bob"}`)
	idOf := func(cookie string) string {
		_, value, _ := strings.Cut(cookie, "=")
		id, _, _ := strings.Cut(value, ".")
		return id
	}
	_, err := answer(h, request("/", here), func(w http.ResponseWriter, r *http.Request) error {
		a := s.ask(r, "GET", "/sessions", "")
		if a.status != 200 || len(a.body.Sessions) != 2 {
			t.Fatalf("%+v", a)
		}
		for _, one := range a.body.Sessions {
			if one.This != (one.ID == idOf(here)) || one.ID == idOf(bob) {
				t.Errorf("%+v", one)
			}
		}
		s.steps(r, []step{
			{"DELETE /sessions/" + idOf(bob), 404, ""}, {"DELETE /sessions/" + session.NewToken().ID, 404, ""},
			{"DELETE /sessions/" + idOf(alice), 204, ""}, {"DELETE /sessions/" + idOf(alice), 404, ""},
		})
		begin(t, h, `{"user":"alice"}`)
		s.steps(r, []step{{"DELETE /sessions", 204, ""}})
		if a := s.ask(r, "GET", "/sessions", ""); len(a.body.Sessions) != 1 || !a.body.Sessions[0].This {
			t.Errorf("%+v", a)
		}
		return nil
	})
	if err != nil || seen(t, h, bob) != `{"user":"bob"}` || seen(t, h, alice) != "" {
		t.Error(err)
	}
	w, err := answer(h, request("/", here), func(w http.ResponseWriter, r *http.Request) error {
		s.steps(r, []step{{"DELETE /sessions/" + idOf(here), 204, ""}})
		return nil
	})
	if err != nil || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("ending this one: %v, %v", err, w.Header())
	}
	_, err = answer(h, request("/", begin(t, h, `{"a":1}`)), func(w http.ResponseWriter, r *http.Request) error {
		s.steps(r, []step{{"GET /sessions", 404, ""}, {"DELETE /sessions", 404, ""}, {"DELETE /sessions/" + idOf(bob), 404, ""}})
		return nil
	})
	if err != nil || seen(t, h, bob) == "" {
		t.Error(err)
	}
}

// A request that could not save a session has no capability, and clients have none.
func TestAPIIsForSessions(t *testing.T) {
	h, s := handler(t, "api\non_store_error pass")
	own := begin(t, h, `{"a":1}`)
	s.store.down.Store(true)
	for what, r := range map[string]*http.Request{"unknown": request("/", own), "no host": request("/", "")} {
		if what == "no host" {
			r.Host = "a b"
		}
		r.Header.Set("X_Session_Api", "http://evil.example/")
		r.Header.Set("X-Session-Api", "http://evil.example/")
		_, err := answer(h, r, func(_ http.ResponseWriter, r *http.Request) error {
			for name, values := range r.Header {
				if strings.Contains(strings.ToLower(name), "api") {
					t.Errorf("%s: %s: %q", what, name, values)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.store.down.Store(false)
	_, err := answer(h, request("/", own), func(_ http.ResponseWriter, r *http.Request) error {
		s.store.down.Store(true)
		s.steps(r, []step{{"GET", 503, ""}, {`PATCH {"a":2}`, 503, ""}, {"POST /touch", 503, ""}})
		s.store.down.Store(false)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := newSiteOf(t, `{"store":{"module":"test"}}`).load("api"); err == nil || !strings.Contains(err.Error(), "write api and its address") {
		t.Errorf("without the API: %v", err)
	}
}

// The header is out, or is not, while many ask: nothing is lost, and no cookie is
// promised that does not go out.
func TestAPIAtOnce(t *testing.T) {
	h, s := handler(t, "api")
	var asking sync.WaitGroup
	defer asking.Wait()
	for range 20 {
		own := begin(t, h, `{"user":"alice"}`)
		renewed := make(chan bool)
		w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			capability := r.Header.Get("X-Session-Api") // r is not theirs once this has returned
			go func() {
				renewed <- s.askAt(capability, "POST", "/renew", "").status == 200
			}()
			asking.Go(func() { s.askAt(capability, "GET", "", "") })
			w.WriteHeader(http.StatusOK)
			if <-renewed != (w.Header().Get("Set-Cookie") != "") {
				t.Error("a renewal without a cookie, or the other way round")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err, w.Header())
		}
	}
}

// To touch is a use of the session, at once.
func TestAPITouch(t *testing.T) {
	h, s := handler(t, "api\nidle 1m\ntouch 1ms")
	own := begin(t, h, `{"user":"alice"}`)
	_, value, _ := strings.Cut(own, "=")
	id, _, _ := strings.Cut(value, ".")
	left := func() time.Duration {
		e, err := s.store.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return e.TTL
	}
	_, err := answer(h, request("/", own), func(_ http.ResponseWriter, r *http.Request) error {
		for left() > time.Minute-10*time.Millisecond {
			time.Sleep(time.Millisecond)
		}
		// What is left shrinks by itself: only a touch makes it more.
		for before := left(); left() <= before; {
			s.steps(r, []step{{"POST /touch", 200, ""}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An upload during which the application renews its session goes on: it belongs to
// the new secret, and is not taken for what the old one has opened. It takes longer
// than such an upload is given.
func TestAPIRenewsDuringAnUpload(t *testing.T) {
	h, s := handler(t, "api")
	own := begin(t, h, `{"user":"alice"}`)
	body, client := io.Pipe()
	r := prepare(httptest.NewRequest("POST", "/", body))
	r.Header.Set("Cookie", own)
	go func() {
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			client.Write([]byte("x"))
		}
		client.Close()
	}()
	_, err := answer(h, r, func(w http.ResponseWriter, r *http.Request) error {
		s.steps(r, []step{{"POST /renew", 200, ""}})
		text, err := io.ReadAll(r.Body)
		if err != nil || len(text) != 20 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		return says()(w, r)
	})
	if err != nil {
		t.Error(err)
	}
}

// Requests of one session that read, add and write under its lock lose nothing.
func TestAPILock(t *testing.T) {
	h, s := handler(t, "api")
	own := begin(t, h, `{"n":0}`)
	const requests = 30
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
				a := s.ask(r, "POST", "/lock?wait=20s", "")
				if a.status != 200 {
					t.Errorf("%+v", a)
				}
				var data struct{ N int }
				json.Unmarshal(s.ask(r, "GET", "", "").body.Data, &data)
				return says(fmt.Sprintf(`X-Session-Set: {"n":%d}`, data.N+1))(w, r)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := seen(t, h, own); got != fmt.Sprintf(`{"n":%d}`, requests) {
		t.Errorf("the session has %s", got)
	}

	_, err := answer(h, request("/", own), func(_ http.ResponseWriter, first *http.Request) error {
		s.steps(first, []step{{"DELETE /lock", 404, ""}, {"POST /lock?wait=-1s", 400, ""}, {"POST /lock?wait=1h", 400, ""}, {"POST /lock", 200, ""}, {"POST /lock", 200, ""}})
		_, err := answer(h, request("/", own), func(_ http.ResponseWriter, second *http.Request) error {
			s.steps(second, []step{{"POST /lock?wait=10ms", 423, ""}, {`PATCH {"other":1}`, 200, ""}})
			s.steps(first, []step{{"DELETE /lock", 204, ""}, {"DELETE /lock", 404, ""}})
			s.steps(second, []step{{"POST /lock?wait=0s", 423, ""}, {"POST /lock", 200, ""}})
			s.steps(first, []step{{"POST /lock?wait=10ms", 423, ""}})
			return errors.New("a request that fails gives it back, too")
		})
		s.steps(first, []step{{"POST /lock?wait=10s", 200, ""}})
		return errors.Unwrap(err)
	})
	if err != nil {
		t.Error(err)
	}
	_, err = answer(h, request("/", ""), func(_ http.ResponseWriter, r *http.Request) error {
		s.steps(r, []step{{"POST /lock", 404, ""}})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Who has lost the lock changes nothing that somebody else may have changed since.
func TestAPILockIsLost(t *testing.T) {
	h, s := handler(t, "api")
	own := begin(t, h, `{"n":0}`)
	_, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
		s.steps(r, []step{{"POST /lock", 200, ""}, {`PATCH {"n":1}`, 200, ""}})
		ids, _, err := s.store.List(t.Context(), "", 10)
		if err != nil || len(ids) != 2 {
			t.Fatal(ids, err)
		}
		for _, id := range ids {
			if !strings.Contains(own, "="+id+".") { // the lease
				if err := s.store.Delete(t.Context(), id, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		x := caddyhttp.GetVar(r.Context(), visitVar).(*visit).exchange
		for deadline := time.Now().Add(time.Minute); x.capability.Fence() == nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the loss is not noticed")
			}
		}
		if _, err := answer(h, request("/", own), says(`X-Session-Set: {"n":2}`)); err != nil {
			t.Error(err)
		}
		s.steps(r, []step{{`PATCH {"n":3}`, 412, ""}})
		return says(`X-Session-Set: {"n":3}`)(w, r)
	})
	if status(err) != http.StatusConflict {
		t.Error(err)
	}
	if got := seen(t, h, own); got != `{"n":2}` {
		t.Errorf("the session has %s", got)
	}
}

// What the API has changed keeps a response from shared caches as session headers do.
func TestAPIOnCacheablePages(t *testing.T) {
	h, s := handler(t, "api")
	own := begin(t, h, `{"a":1}`)
	for question, want := range map[string]string{`PATCH {"b":2}`: "max-age=60, private", "GET": "public, max-age=60"} {
		w, err := answer(h, request("/", own), func(w http.ResponseWriter, r *http.Request) error {
			s.steps(r, []step{{question, 200, ""}})
			return says("Cache-Control: public, max-age=60", "Surrogate-Control: max-age=60")(w, r)
		})
		if got := w.Header().Get("Cache-Control"); err != nil || got != want || (w.Header().Get("Surrogate-Control") == "") != (question != "GET") {
			t.Errorf("%s: %v, %v", question, w.Header(), err)
		}
	}
}
