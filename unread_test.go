package caddysession

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// beginLarge starts a session whose data is larger than what is forwarded.
func beginLarge(t *testing.T) (h *Handler, s *site, cookie string) {
	t.Helper()
	h, s = handler(t, "api\nmax_data 1MiB")
	cookie = begin(t, h, `{"user":"alice","role":"admin","text":"`+strings.Repeat("x", 100_000)+`"}`)
	s.store.gets.Store(0)
	return h, s, cookie
}

// matching answers with what a matcher says of the request.
func matching(m MatchSession) application {
	return func(w http.ResponseWriter, r *http.Request) error {
		matches, err := m.MatchWithError(r)
		if err == nil {
			err = json.NewEncoder(w).Encode(matches)
		}
		return err
	}
}

// showing answers with what a placeholder becomes.
func showing(placeholder string) application {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, err := w.Write([]byte(replacer(r).ReplaceAll(placeholder, "")))
		return err
	}
}

// The site's own directives find all of a large session, and no page but those that
// ask for it reads it.
func TestLargeSessionsAreReadWhenAsked(t *testing.T) {
	h, s, cookie := beginLarge(t)
	for name, tt := range map[string]struct {
		of   caddyhttp.MiddlewareHandler
		app  application
		want string
		gets int64
	}{
		"nobody asks":           {h, says(), "body", 0},
		"the user":              {h, showing("{session.user}"), "alice", 0},
		"a matcher of the user": {h, matching(MatchSession{"user": {"alice"}}), "true\n", 0},
		"a matcher":             {h, matching(MatchSession{"role": {"admin"}, "text": nil}), "true\n", 1},
		"a matcher in vain":     {h, matching(MatchSession{"role": {"editor"}}), "false\n", 1},
		"placeholders":          {h, showing("{session.data.role} {session.data.role}"), "admin admin", 1},
		"what is set already":   {chain{h, set(t, `{"role":"{session.data.role}"}`)}, says(), "body", 1},
	} {
		s.store.gets.Store(0)
		w, err := answer(tt.of, request("/", cookie), tt.app)
		if err != nil || w.Body.String() != tt.want || s.store.gets.Load() != tt.gets {
			t.Errorf("%s: %q, %v, %d reads; want %q and %d", name, w.Body, err, s.store.gets.Load(), tt.want, tt.gets)
		}
	}
	locked := s.handler("api\nmax_data 1MiB\nlock 5s")
	s.store.gets.Store(0)
	if w, err := answer(locked, request("/", cookie), says()); err != nil || s.store.gets.Load() != 0 {
		t.Errorf("under the lock: %q, %v, %d reads", w.Body, err, s.store.gets.Load())
	}
	if w, err := answer(chain{h, set(t, `{"role":"editor"}`)}, request("/", cookie), says()); err != nil {
		t.Error(w, err)
	}
	for _, m := range []MatchSession{{"role": {"editor"}}, {"text": {strings.Repeat("x", 100_000)}}} {
		if w, err := answer(h, request("/", cookie), matching(m)); err != nil || w.Body.String() != "true\n" {
			t.Errorf("after session_set: %q, %v", w.Body, err)
		}
	}
}

// A client that hangs up when the application has answered undoes nothing.
func TestLargeSessionOfAClientThatHasGone(t *testing.T) {
	h, _, cookie := beginLarge(t)
	r := request("/", cookie)
	ctx, cancel := context.WithCancel(r.Context())
	_, err := answer(chain{h, set(t, `{"role":"editor","was":"{session.data.role}"}`)}, r.WithContext(ctx), func(w http.ResponseWriter, r *http.Request) error {
		cancel()
		return says(`X-Session-Set: {"more":1}`)(w, r)
	})
	if err != nil {
		t.Error(err)
	}
	if w, err := answer(h, request("/", cookie), matching(MatchSession{"role": {"editor"}, "was": {"admin"}, "more": {"1"}})); err != nil || w.Body.String() != "true\n" {
		t.Errorf("%q, %v", w.Body, err)
	}
}

// Data that can't be read is no data that is not there.
func TestLargeSessionsThatCannotBeRead(t *testing.T) {
	h, s, cookie := beginLarge(t)
	ended := func(app application) application {
		return func(w http.ResponseWriter, r *http.Request) error {
			if _, err := answer(h, request("/", cookie), says("X-Session-Control: renew")); err != nil {
				t.Error(err)
			}
			return app(w, r)
		}
	}
	down := func(app application) application {
		return func(w http.ResponseWriter, r *http.Request) error {
			s.store.failGet.Store(true)
			return app(w, r)
		}
	}
	for name, tt := range map[string]struct {
		of      caddyhttp.MiddlewareHandler
		app     application
		dropped bool // what it asks of a session that was renewed
	}{
		"a matcher":       {h, matching(MatchSession{"role": nil}), false},
		"placeholders":    {h, showing("{session.data.role}"), false},
		"session_set":     {chain{h, set(t, `{"role":"editor"}`)}, says(), true},
		"the application": {h, says(`X-Session-Set: {"role":"editor"}`), true},
	} {
		for fault, with := range map[string]func(application) application{"down": down, "renewed": ended} {
			s.store.failGet.Store(false)
			cookie = begin(t, h, `{"role":"admin","text":"`+strings.Repeat("x", 100_000)+`"}`)
			w, err := answer(tt.of, request("/", cookie), with(tt.app))
			if fault == "renewed" && tt.dropped {
				if err != nil || w.Body.String() != "body" {
					t.Errorf("%s, %s: %v, %q", name, fault, err, w.Body)
				}
			} else if status(err) != http.StatusServiceUnavailable || w.Body.Len() > 0 {
				t.Errorf("%s, %s: %v, %q", name, fault, err, w.Body)
			}
		}
	}
	s.store.failGet.Store(true)
	r := request("/", begin(t, h, `{"role":"admin","text":"`+strings.Repeat("x", 100_000)+`"}`))
	if _, err := answer(h, r, says()); err != nil {
		t.Fatal(err)
	}
	if got := replacer(r).ReplaceAll("{session.data.role}", ""); got != "" { // for the access log
		t.Errorf("%q", got)
	}
}

// deferred is `header >X-Role {session.data.role}`.
func deferred() caddyhttp.MiddlewareHandler {
	return &headers.Handler{Response: &headers.RespHeaderOps{
		HeaderOps: &headers.HeaderOps{Set: http.Header{"X-Role": {"{session.data.role}"}}}, Deferred: true}}
}

// What an application makes of its own session does not keep the site from showing the
// data of a large one when the response goes out.
func TestPlaceholdersWhenTheResponseGoesOut(t *testing.T) {
	api := func(s *site, method, path string, app application) application {
		return func(w http.ResponseWriter, r *http.Request) error {
			if a := s.ask(r, method, path, ""); a.status >= 300 {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
			return app(w, r)
		}
	}
	for name, tt := range map[string]struct {
		app  func(*site) application
		want string
	}{
		"renew":              {func(*site) application { return says("X-Session-Control: renew") }, "admin"},
		"set":                {func(*site) application { return says(`X-Session-Set: {"n":1}`) }, "admin"},
		"destroy":            {func(*site) application { return says("X-Session-Control: destroy") }, ""},
		"replace":            {func(*site) application { return says(`X-Session-Set: {"user":"bob"}`) }, ""},
		"renew by the API":   {func(s *site) application { return api(s, "POST", "/renew", says()) }, "admin"},
		"destroy by the API": {func(s *site) application { return api(s, "DELETE", "", says()) }, ""},
	} {
		for where, order := range map[string]func(*Handler) chain{
			"outside": func(h *Handler) chain { return chain{deferred(), h} },
			"inside":  func(h *Handler) chain { return chain{h, deferred()} },
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				h, s, cookie := beginLarge(t)
				if got := outcome(order(h), request("/", cookie), tt.app(s)); got.panicked != nil || got.err != nil || got.header.Get("X-Role") != tt.want && where == "outside" {
					t.Errorf("%q, error %v, panic %v; want %q", got.header.Get("X-Role"), got.err, got.panicked, tt.want)
				} else if strings.HasPrefix(name, "renew") && got.header.Get("Set-Cookie") == "" {
					t.Error("the browser does not get its new cookie")
				}
			})
		}
	}
}

type outcomeOf struct {
	header   http.Header
	err      error
	panicked any
}

// outcome is answer with what it panics with.
func outcome(of caddyhttp.MiddlewareHandler, r *http.Request, app application) (o outcomeOf) {
	w := httptest.NewRecorder()
	defer func() { o.header, o.panicked = w.Result().Header, recover() }()
	o.err = of.ServeHTTP(w, r, app)
	return o
}

// Proxies relay 1xx responses on a goroutine on which nobody recovers.
func TestPlaceholdersOfInterimResponses(t *testing.T) {
	for where, order := range map[string]func(*Handler) chain{
		"outside": func(h *Handler) chain { return chain{deferred(), h} },
		"inside":  func(h *Handler) chain { return chain{h, deferred()} },
	} {
		h, s, cookie := beginLarge(t)
		got := outcome(order(h), request("/", cookie), func(w http.ResponseWriter, r *http.Request) error {
			s.store.failGet.Store(true)
			panicked := make(chan any)
			go func() {
				defer func() { panicked <- recover() }()
				w.WriteHeader(http.StatusEarlyHints)
			}()
			if p := <-panicked; p != nil {
				t.Errorf("%s: Caddy ends by the panic %v", where, p)
			}
			_, err := w.Write([]byte("body"))
			return err
		})
		if status(got.err) != http.StatusServiceUnavailable || got.panicked != nil {
			t.Errorf("%s: error %v, panic %v", where, got.err, got.panicked)
		}
	}
}

// A placeholder of a matcher of the lock is like a session that can't be loaded.
func TestPlaceholdersOfTheLock(t *testing.T) {
	_, s, cookie := beginLarge(t)
	h := s.handler("api\nmax_data 1MiB\nlock 5s")
	h.Lock.matchers = caddyhttp.MatcherSets{{caddyhttp.VarsMatcher{"{session.data.role}": {"admin"}}}}
	s.store.failGet.Store(true)
	if got := outcome(h, request("/", cookie), says()); status(got.err) != http.StatusServiceUnavailable || got.panicked != nil {
		t.Errorf("error %v, panic %v", got.err, got.panicked)
	}
}

// What session_set asks of a session that was renewed meanwhile is dropped, whatever
// its values are.
func TestSessionSetOfPlaceholdersOfARenewedSession(t *testing.T) {
	h, _, cookie := beginLarge(t)
	got := outcome(chain{h, set(t, `{"was":"{session.data.role}"}`)}, request("/", cookie), func(w http.ResponseWriter, r *http.Request) error {
		if _, err := answer(h, request("/", cookie), says("X-Session-Control: renew")); err != nil {
			t.Error(err)
		}
		return says()(w, r)
	})
	if got.err != nil || got.panicked != nil {
		t.Errorf("error %v, panic %v", got.err, got.panicked)
	}
}
