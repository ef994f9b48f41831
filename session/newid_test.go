package session_test

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// A request that may begin a session is told its id.
func TestTheIDThatWasShownIsTheIDThatComes(t *testing.T) {
	tests := []struct {
		name, start string
		patch       func(*env) *session.Patch
		comes       bool
	}{
		{"begin", "", set(`{"a":1}`), true},
		{"sign in at once", "", set(`{"user":"alice"}`), true},
		{"clear", `{"a":1}`, control("clear"), true},
		{"clear and sign in", `{"a":1}`, setControl(`{"user":"alice"}`, "clear"), true},
		{"another user", `{"user":"alice"}`, set(`{"user":"bob"}`), true},
		{"sign out", `{"user":"alice"}`, set(`{"user":null}`), true},
		{"sign in", `{"a":1}`, set(`{"user":"alice"}`), false},
		{"renew", `{"user":"alice"}`, control("renew"), false},
		{"change", `{"user":"alice"}`, set(`{"a":1}`), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				newID := session.NewToken().ID
				try := func(s *session.Session) (session.Result, error) {
					at := e.site
					at.NewID = newID
					return e.Commit(context.Background(), at, s, test.patch(e), time.Now())
				}
				start := func() *session.Session {
					if test.start == "" {
						return nil
					}
					return e.create(test.start)
				}
				want := func(r session.Result, s *session.Session) {
					t.Helper()
					want := newID
					if !test.comes {
						want = s.ID()
					}
					if r.Session.ID() != want {
						t.Errorf("the session has the id %s, want %s", r.Session.ID(), want)
					}
					e.live(r.Session)
				}
				s := start()
				r, err := try(s)
				if err != nil {
					t.Fatal(err)
				}
				want(r, s)
				if !test.comes {
					return
				}

				// Not done, and without an answer: it is tried again.
				newID = session.NewToken().ID
				s = start()
				e.faults(once(failing("Put")), nil, nil)
				r, err = try(s)
				e.faults(nil, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				want(r, s)

				// A conflict, and the session as it is by then.
				if s != nil {
					newID = session.NewToken().ID
					s = start()
					e.commit(s, set(`{"other":1}`))
					if r, err = try(s); err != nil {
						t.Fatal(err)
					}
					want(r, s)
				}

				// Done, though nobody can tell: an error, and no other id.
				newID = session.NewToken().ID
				s = start()
				before := e.dump()
				if s != nil {
					delete(before, s.ID())
				}
				failed := false
				e.faults(func(op, id string) error {
					if op == "Get" && failed && id == newID {
						return errBroken
					}
					return nil
				}, once(func(op, id string) error {
					if failed = op == "Put" && id == newID; failed {
						return errBroken
					}
					return nil
				}), nil)
				r, err = try(s)
				e.faults(nil, nil, nil)
				if err == nil {
					t.Errorf("it is said to be saved: %v", r.Session)
				}
				after := e.dump()
				delete(after, newID)
				if !maps.Equal(before, after) {
					t.Error("there is a session under another id")
				}
			})
		})
	}
}

// The time is that of a session which the request is the last to use.
func TestExpiresIsShownAsTheRequestLeavesIt(t *testing.T) {
	bubble(t, nil, func(e *env) {
		protocol, err := session.NewProtocol("", nil, e.policy, "expires")
		if err != nil {
			t.Fatal(err)
		}
		m, err := session.NewManager(e.store, e.policy, protocol, session.Observer{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		user := e.create(`{"user":"alice"}`)
		remembered := e.commit(nil, setControl(`{}`, "max-age=86400")).Session
		unclaimed := e.mustCommit(nil, set(`{}`)).Session
		for _, test := range []struct {
			name  string
			s     *session.Session
			after time.Duration // from the begin until the request
			want  time.Duration // from the begin until the end
		}{
			{"its cookie comes back", unclaimed, 30 * time.Second, 30*time.Minute + 30*time.Second},
			{"no touch due", user, 45 * time.Second, 30 * time.Minute},
			{"touch due", user, 2 * time.Minute, 32 * time.Minute},
			{"remembered", remembered, 3 * time.Minute, 24 * time.Hour},
		} {
			time.Sleep(time.Until(begin.Add(test.after)))
			h := http.Header{}
			if err := m.Inject(h, e.site, e.live(test.s), time.Now()); err != nil {
				t.Fatal(err)
			}
			if want := strconv.FormatInt(begin.Add(test.want).Unix(), 10); h.Get("X-Session-Expires") != want {
				t.Errorf("%s: %v, want %s", test.name, h, want)
			}
		}
	})
}

// mustCommit is commit without the cookie coming back.
func (e *env) mustCommit(s *session.Session, p func(*env) *session.Patch) session.Result {
	e.Helper()
	r, err := e.Commit(context.Background(), e.site, s, p(e), time.Now())
	if err != nil {
		e.Fatal(err)
	}
	return r
}
