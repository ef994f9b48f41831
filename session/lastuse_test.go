package session_test

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// used is when the operator says that a session was last used.
func (e *env) used(s *session.Session) time.Time {
	e.Helper()
	info, err := e.operator.Show(e.Context(), s.ID())
	if err != nil {
		e.Fatal(err)
	}
	if info.Expires.After(info.Deadline) || !info.Deadline.Equal(s.Deadline()) {
		e.Errorf("it expires %v, at last %v; want %v", info.Expires, info.Deadline, s.Deadline())
	}
	return info.Used
}

// The operator sees when a remembered session was last used, to within touch, for
// one write per touch; and its deadline is what it was.
func TestLastUseOfRemembered(t *testing.T) {
	const day = 24 * time.Hour
	for _, remember := range []time.Duration{time.Hour, day, 400 * day} {
		bubble(t, func(p *session.Policy) { p.Remember = 400 * day }, func(e *env) {
			s := e.create(`{"user":"alice"}`)
			if got := e.used(s); !got.IsZero() {
				e.Errorf("not remembered: %v", got)
			}
			s = e.commit(s, func(*env) *session.Patch { return &session.Patch{MaxAge: &remember} }).Session
			start := time.Now()
			if got := e.used(s); !got.Equal(start.Truncate(time.Millisecond)) {
				e.Errorf("used at %v, said %v", start, got)
			}
			request := func() map[string]int {
				return e.calls(func() { e.Touch(e.live(s), time.Now()) })
			}
			for _, wait := range []time.Duration{2 * time.Minute, remember / 3, remember / 3} {
				time.Sleep(wait)
				if calls := request(); !maps.Equal(calls, map[string]int{"Get": 1, "Touch": 1}) {
					e.Errorf("after %v: calls %v", wait, calls)
				}
				for range 5 {
					time.Sleep(10 * time.Second)
					if calls := request(); !maps.Equal(calls, map[string]int{"Get": 1}) {
						e.Errorf("not due yet, and there are calls %v", calls)
					}
				}
				if off := time.Since(e.used(s)); off < 0 || off > time.Minute {
					e.Errorf("used just now, and %v ago it says", off)
				}
			}
			// What is not a use changes nothing.
			before := e.used(s)
			time.Sleep(time.Until(s.Deadline()) / 2)
			s = e.commit(e.live(s), control("no-touch, renew")).Session
			if got := e.used(s); got.Sub(before).Abs() > time.Second {
				e.Errorf("no-touch: used at %v, said %v", before, got)
			}
			// A commit is a use.
			s = e.commit(s, set(`{"a":1}`)).Session
			if off := time.Since(e.used(s)); off.Abs() > time.Second {
				e.Errorf("after a commit: %v off", off)
			}

			time.Sleep(time.Until(s.Deadline()) - time.Millisecond)
			e.live(s)
			time.Sleep(time.Millisecond)
			e.dead(s)
			e.nothing(e.commit(s, set(`{"late":1}`)))
		})
	}
}

// The record of a remembered session that has reached its deadline is no session
// to anybody.
func TestRememberedIsGoneAtItsDeadline(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.MaxSessions = 2 }, func(e *env) {
		s := e.commit(nil, setControl(`{"user":"alice"}`, "max-age=864000")).Session
		other := e.commit(nil, setControl(`{"user":"alice"}`, "max-age=1728000")).Session
		time.Sleep(240*time.Hour - time.Second)
		e.Touch(e.live(s), time.Now())
		synctest.Wait()
		time.Sleep(time.Second)
		e.dead(s)
		if _, err := e.store.Store.Get(e.Context(), s.ID()); err != nil {
			e.Fatalf("the record is not there, so this test shows nothing: %v", err)
		}
		if _, err := e.operator.Show(e.Context(), s.ID()); !errors.Is(err, session.ErrNotFound) {
			e.Errorf("shown: %v", err)
		}
		for _, list := range []func() ([]session.Info, string, error){
			func() ([]session.Info, string, error) { return e.operator.List(e.Context(), "", 10) },
			func() ([]session.Info, string, error) {
				return e.operator.ListSubject(e.Context(), site.Realm, "alice", "", 10)
			},
		} {
			if listed, _, err := list(); err != nil || len(listed) != 1 || listed[0].ID != other.ID() {
				e.Errorf("listed: %v, %v", listed, err)
			}
		}
		e.create(`{"user":"alice"}`) // the second one of two
		e.live(other)
		e.counted(session.EventEvicted, 0)
		if n, err := e.operator.EndSubject(e.Context(), site.Realm, "alice", ""); n != 2 || err != nil {
			e.Errorf("ended %d, %v", n, err)
		}
	})
}

// What can't be told is not guessed.
func TestLastUseThatIsNotKnown(t *testing.T) {
	bubble(t, nil, func(e *env) {
		unclaimed, err := e.Commit(e.Context(), e.site, nil, e.patch(`{"a":1}`, "", "max-age=864000"), time.Now())
		if err != nil {
			e.Fatal(err)
		}
		if got := e.used(unclaimed.Session); !got.IsZero() {
			e.Errorf("nobody has come back: %v", got)
		}
		s := e.commit(nil, setControl(`{}`, "max-age=864000")).Session
		lowered := e.policy
		lowered.Remember = time.Hour
		other := newEnv(e.T, lowered, e.store.Store)
		time.Sleep(10 * time.Minute)
		other.Touch(other.live(s), time.Now())
		synctest.Wait()
		if got := e.used(s); !got.IsZero() {
			e.Errorf("a lowered remember: %v", got)
		}
	})
}
