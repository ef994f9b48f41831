package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// hearing is a nearStore that hears of what is written to it.
type hearing struct{ nearStore }

func (s hearing) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	defer s.Invalidate(id)
	return s.nearStore.Put(ctx, id, expect, e)
}

func (s hearing) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	defer s.Invalidate(id)
	return s.nearStore.Touch(ctx, id, expect, ttl)
}

// A lowered setting is for sessions that exist, and only for the handler that has
// it. One that was raised is not.
func TestLoweredTimes(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	tests := []struct {
		name               string
		patches            []func(*env) *session.Patch // an hour between them; the last one at the end
		lifetime, remember time.Duration               // of the other handler
		left               time.Duration               // by its rules, after the last patch
	}{
		{"lifetime", []func(*env) *session.Patch{set(`{}`), set(`{"a":1}`)}, 3 * hour, 30 * day, 2 * hour},
		{"lifetime over", []func(*env) *session.Patch{set(`{}`), set(`{"a":1}`)}, hour, 30 * day, 0},
		{"lifetime raised", []func(*env) *session.Patch{set(`{}`), set(`{"a":1}`)}, 48 * hour, 30 * day, 23 * hour},
		{"lifetime since signing in", []func(*env) *session.Patch{set(`{}`), set(`{"user":"alice"}`)}, 3 * hour, 30 * day, 3 * hour},
		{"lifetime after signing out", []func(*env) *session.Patch{set(`{"user":"alice"}`), set(`{"user":null}`)}, 3 * hour, 30 * day, 2 * hour},
		{"lifetime since max-age=0", []func(*env) *session.Patch{set(`{}`), control("max-age=0")}, 3 * hour, 30 * day, 3 * hour},
		{"lifetime, renewed", []func(*env) *session.Patch{set(`{}`), control("renew")}, 3 * hour, 30 * day, 2 * hour},
		{"lifetime, cleared", []func(*env) *session.Patch{set(`{}`), control("clear")}, 3 * hour, 30 * day, 2 * hour},
		{"lifetime, remembered", []func(*env) *session.Patch{set(`{}`), control("max-age=864000")}, 3 * hour, 30 * day, 10 * day},
		{"remember", []func(*env) *session.Patch{setControl(`{}`, "max-age=864000"), set(`{"a":1}`)}, day, 5 * day, 5*day - hour},
		{"remember, asked for less", []func(*env) *session.Patch{setControl(`{}`, "max-age=864000"), set(`{"a":1}`)}, day, 20 * day, 10*day - hour},
		{"remember over", []func(*env) *session.Patch{setControl(`{}`, "max-age=864000"), set(`{"a":1}`)}, day, hour, 0},
		{"remember, then signed out", []func(*env) *session.Patch{setControl(`{"user":"alice"}`, "max-age=864000"), set(`{"user":null}`)}, 3 * hour, hour, 3 * hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nearBubble(t, func(e, _ *env) {
				e.store.Store = hearing{e.store.Store.(nearStore)}
				policy := session.DefaultPolicy()
				policy.Idle, policy.Lifetime, policy.Remember = min(policy.Idle, test.lifetime), test.lifetime, test.remember
				other := newEnv(e.T, policy, e.store.Store)
				var s *session.Session
				for i, patch := range test.patches {
					if i > 0 {
						for range 3 {
							time.Sleep(20 * time.Minute)
							e.Touch(e.live(s), time.Now())
							synctest.Wait()
						}
						s = e.live(s)
					}
					s = e.commit(s, patch).Session
				}
				whole := s.Deadline()
				e.live(s)
				if test.left == 0 {
					other.dead(s)
					other.counted(session.EventExpired, 3)
				} else {
					got := other.live(s)
					if left := time.Until(got.Deadline()).Round(time.Second); left != test.left || got.Expires().After(got.Deadline()) {
						t.Errorf("it ends in %v, want %v; unused, in %v", left, test.left, time.Until(got.Expires()))
					}
					// What it writes is no later.
					other.Touch(got, time.Now())
					next := other.commit(got, set(`{"b":1}`)).Session
					if !next.Deadline().Equal(got.Deadline()) {
						t.Errorf("after a commit it ends in %v", time.Until(next.Deadline()))
					}
				}
				// The handler with the other settings does not mind.
				if got := e.live(s); !got.Deadline().Equal(whole) {
					t.Errorf("it ends in %v elsewhere, want %v", time.Until(got.Deadline()), time.Until(whole))
				}
			})
		})
	}
}

// Also while the request is under way, and in the store.
func TestLoweredRememberIsTouched(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.commit(nil, setControl(`{}`, "max-age=864000")).Session
		policy := e.policy
		policy.Remember = time.Hour
		other := newEnv(e.T, policy, e.store.Store)
		got := other.live(s)
		other.Touch(got, time.Now())
		synctest.Wait()
		other.counted(session.EventTouched, 1)
		if entry, err := e.store.Store.Get(e.Context(), s.ID()); err != nil || entry.TTL > time.Hour {
			e.Errorf("stored for %v, %v", entry.TTL, err)
		}
		time.Sleep(time.Hour)
		other.nothing(other.commit(got, set(`{"a":1}`)))
		other.counted(session.EventDropped, 1)
	})
}

// What lasts keeps its session alive, whatever other requests make of that, until
// its deadline, its end or its renewal.
func TestKeepAlive(t *testing.T) {
	const idle = 30 * time.Minute
	for _, test := range []struct {
		name      string
		start     func(*env) *session.Patch
		meanwhile func(*env) *session.Patch // after ten minutes
		alive     bool                      // after 20 hours
	}{
		{"nothing", set(`{}`), nil, true},
		{"a commit", set(`{}`), set(`{"a":1}`), true},
		{"remembered", set(`{}`), control("max-age=864000"), true},
		{"a short max-age", set(`{}`), control("max-age=3600"), false},
		{"renewed", set(`{}`), control("renew"), false},
		{"replaced", set(`{}`), control("clear"), false},
		{"destroyed", set(`{}`), control("destroy"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.commit(nil, test.start).Session
				now := s
				for at := time.Duration(0); at < 20*time.Hour; at += idle / 3 {
					if at == idle/3 && test.meanwhile != nil {
						now = e.commit(s, test.meanwhile).Session
					}
					time.Sleep(idle / 3)
					e.KeepAlive(s, time.Now())
					synctest.Wait()
				}
				if test.alive {
					e.live(now)
					// What is not used any more ends, and the deadline holds.
					late := e.commit(s, set(`{"late":1}`))
					if late.Session == nil {
						e.Errorf("the response of the request is dropped: %+v", late)
					}
				} else if now != nil {
					e.dead(now)
				}
			})
		})
	}
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		for range 24*6 + 1 {
			time.Sleep(10 * time.Minute)
			e.KeepAlive(s, time.Now())
			synctest.Wait()
		}
		e.dead(s)
		s = e.create(`{}`)
		time.Sleep(10 * time.Minute)
		e.faults(failing("Get"), nil, nil)
		e.KeepAlive(s, time.Now())
		synctest.Wait()
		e.faults(nil, nil, nil)
		e.counted(session.EventTouchError, 1)
		calls := e.calls(func() { e.KeepAlive(s, time.Now()); synctest.Wait(); e.KeepAlive(s, time.Now()) })
		if calls["Touch"] != 1 || calls["Get"] != 2 {
			e.Errorf("calls %v", calls)
		}
	})
}
