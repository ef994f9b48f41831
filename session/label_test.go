package session_test

import (
	"testing"

	"github.com/caddy-session/caddy-session/session"
)

// labelled is a patch with a label, and perhaps more.
func labelled(label string, p func(*env) *session.Patch) func(*env) *session.Patch {
	return func(e *env) *session.Patch {
		patch := new(session.Patch)
		if p != nil {
			patch = p(e)
		}
		patch.Label = &label
		return patch
	}
}

func TestLabel(t *testing.T) {
	bubble(t, nil, func(e *env) {
		has := func(s *session.Session, label string, version uint64) *session.Session {
			e.Helper()
			s = e.live(s)
			info, err := e.operator.Show(t.Context(), s.ID())
			if err != nil || info.Label != label || s.Label() != label || info.Version != version || s.Version() != version {
				e.Errorf("label %q at version %d, operators see %+v, error %v; want %q at %d", s.Label(), s.Version(), info, err, label, version)
			}
			return s
		}
		if calls := e.calls(func() { e.nothing(e.commit(nil, labelled("a label", nil))) }); len(calls) != 0 {
			e.Errorf("a label alone calls the store: %v", calls)
		}
		s := e.commit(nil, labelled("first", set(`{"user":"alice"}`))).Session
		s = has(s, "first", 1)

		// It changes nothing but itself.
		before := *s
		r := e.commit(s, labelled("second", nil))
		if r.Cookie != session.CookieKeep || !r.Committed || r.Session.Token() != s.Token() || r.Session.Epoch() != s.Epoch() {
			e.Errorf("a label alone: %+v", r)
		}
		s = has(r.Session, "second", 1)
		if s.Subject() != "alice" || string(s.Data()) != string(before.Data()) || !s.Deadline().Equal(before.Deadline()) {
			e.Errorf("the session is another one: %+v", s)
		}
		// The version that the application knows is good still, also of what was
		// loaded before the label.
		s = has(e.commit(&before, setControl(`{"a":1}`, "if-version=1")).Session, "second", 2)
		s = has(e.commit(s, labelled("third", control("if-version=2"))).Session, "third", 2)
		if _, err := e.try(s, control("if-version=3")); err == nil {
			e.Error("a version that was never shown is good")
		}
		// It may be taken away.
		s = has(e.commit(s, labelled("", nil)).Session, "", 2)
		s = has(e.commit(s, labelled("fourth", control("renew"))).Session, "fourth", 3)

		// It does not pass to the next user.
		s = has(e.commit(s, labelled("about alice", set(`{"user":"bob"}`))).Session, "", 4)
		s = has(e.commit(s, labelled("about bob", nil)).Session, "about bob", 4)
		has(e.commit(s, control("clear")).Session, "", 5)
	})
}
