package caddysession

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
		"what is set already":   {chain{h, set(t, `{"role":"{session.data.role}"}`)}, says(), "body", 2},
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
