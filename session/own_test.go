package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

func TestOwn(t *testing.T) {
	bubble(t, nil, func(e *env) {
		alice, other, bob, visitor := e.create(`{"user":"alice"}`), e.create(`{"user":"alice"}`), e.create(`{"user":"bob"}`), e.create(`{}`)
		elsewhere := e.elsewhere(`{"user":"alice"}`)
		list := func(s *session.Session) map[string]bool {
			own, err := e.Own(e.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			for _, one := range own {
				ids[one.ID] = true
				if one.Created.IsZero() || one.SignedIn.IsZero() || one.Deadline != one.SignedIn.Add(e.policy.Lifetime) {
					t.Errorf("%+v", one)
				}
			}
			return ids
		}
		if ids := list(alice); len(ids) != 2 || !ids[alice.ID()] || !ids[other.ID()] {
			t.Errorf("alice has %v", ids)
		}
		if ids := list(visitor); len(ids) != 0 {
			t.Errorf("nobody has %v", ids)
		}
		for _, refused := range []struct {
			by *session.Session
			id string
		}{{alice, bob.ID()}, {alice, visitor.ID()}, {alice, elsewhere.ID()}, {alice, session.NewToken().ID}, {visitor, visitor.ID()}, {visitor, alice.ID()}} {
			if there, err := e.EndOwn(e.Context(), refused.by, refused.id); there || err != nil {
				t.Errorf("%s ends %s: %v", refused.by, refused.id, err)
			}
		}
		e.live(bob)
		e.live(visitor)
		if there, err := e.EndOwn(e.Context(), alice, other.ID()); !there || err != nil {
			t.Error(there, err)
		}
		e.dead(other)
		e.live(alice)
		e.counted(session.EventRevoked, 1)
		e.store.before = func(string, string) error { return errBroken }
		if _, err := e.Own(e.Context(), alice); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		if _, err := e.EndOwn(e.Context(), alice, other.ID()); !errors.Is(err, errBroken) {
			t.Error(err)
		}
	})
}

// What needs a cookie is not done where none can be sent.
func TestNoCookie(t *testing.T) {
	age := time.Hour
	bubble(t, nil, func(e *env) {
		for what, tt := range map[string]struct {
			data string // "" is anonymous
			p    session.Patch
			ok   bool
		}{
			"set":      {`{"a":1}`, session.Patch{Set: []map[string]any{{"b": 1}}}, true},
			"destroy":  {`{"a":1}`, session.Patch{Destroy: true}, true},
			"nothing":  {``, session.Patch{Renew: true}, true},
			"begin":    {``, session.Patch{Set: []map[string]any{{"b": 1}}}, false},
			"renew":    {`{"a":1}`, session.Patch{Renew: true}, false},
			"clear":    {`{"a":1}`, session.Patch{Clear: true}, false},
			"max-age":  {`{"a":1}`, session.Patch{MaxAge: &age}, false},
			"sign in":  {`{"a":1}`, session.Patch{Set: []map[string]any{{"user": "alice"}}}, false},
			"sign out": {`{"user":"alice"}`, session.Patch{Replace: true}, false},
		} {
			var s *session.Session
			if tt.data != "" {
				s = e.create(tt.data)
			}
			before := len(e.dump())
			tt.p.NoCookie = true
			_, err := e.Commit(e.Context(), e.site, s, &tt.p, time.Now())
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, session.ErrCookie) {
				t.Errorf("%s: %v", what, err)
			}
			if !tt.ok {
				if now := len(e.dump()); now != before {
					t.Errorf("%s: %d sessions, then %d", what, before, now)
				}
				if s != nil {
					e.live(s)
				}
			}
		}
	})
}

// All data is replaced, and nothing else of the session.
func TestReplace(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice","a":{"b":1}}`)
		edit := func([]byte) (map[string]any, any) { return map[string]any{"jar": "x"}, nil }
		r, err := e.Commit(e.Context(), e.site, s, &session.Patch{Edit: edit}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err = e.Commit(e.Context(), e.site, r.Session, &session.Patch{Replace: true, Put: []map[string]any{{"user": "alice", "c": nil}}}, time.Now())
		if err != nil || r.Cookie != session.CookieKeep || r.Session.ID() != s.ID() {
			t.Fatal(r, err)
		}
		if data, jar := string(r.Session.Data()), r.Session.PrivateValue("jar"); data != `{"c":null,"user":"alice"}` || jar != `"x"` {
			t.Errorf("%s, jar %s", data, jar)
		}
	})
}

// What two commits of one request leave to tell the browser.
func TestResultAfter(t *testing.T) {
	some := new(session.Session)
	for _, tt := range []struct{ before, after, want session.Result }{
		{session.Result{}, session.Result{}, session.Result{}},
		{session.Result{Session: some, Cookie: session.CookieSet, Committed: true}, session.Result{Session: some}, session.Result{Session: some, Cookie: session.CookieSet, Committed: true}},
		{session.Result{Session: some, Cookie: session.CookieSet}, session.Result{Session: some, Cookie: session.CookieAgain}, session.Result{Session: some, Cookie: session.CookieSet}},
		{session.Result{Session: some, Cookie: session.CookieSet}, session.Result{Cookie: session.CookieExpire}, session.Result{Cookie: session.CookieExpire}},
		{session.Result{Session: some, Cookie: session.CookieSet}, session.Result{}, session.Result{}}, // ended by somebody else
		{session.Result{Cookie: session.CookieExpire}, session.Result{}, session.Result{Cookie: session.CookieExpire}},
		{session.Result{Cookie: session.CookieExpire}, session.Result{Session: some, Cookie: session.CookieSet}, session.Result{Session: some, Cookie: session.CookieSet}},
	} {
		if got := tt.after.After(tt.before); got != tt.want {
			t.Errorf("%+v after %+v: %+v, want %+v", tt.after, tt.before, got, tt.want)
		}
	}
}

// Use touches at once, and tells what has become of the session.
func TestUse(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		time.Sleep(10 * time.Minute)
		used, err := e.Use(e.Context(), s, time.Now())
		if err != nil || !used.Expires().Equal(time.Now().Add(e.policy.Idle)) {
			t.Error(used, err)
		}
		time.Sleep(25 * time.Minute) // in all, more than idle
		if used, err = e.Use(e.Context(), s, time.Now()); err != nil || used == nil {
			t.Error(used, err)
		}
		e.store.before = func(op, _ string) error {
			if op == "Touch" {
				return errBroken
			}
			return nil
		}
		time.Sleep(10 * time.Minute)
		if _, err = e.Use(e.Context(), s, time.Now()); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		e.store.before = nil
		e.commit(s, control("renew"))
		if used, err = e.Use(e.Context(), s, time.Now()); used != nil || err != nil {
			t.Error(used, err)
		}
	})
}
