package session_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// untilIn reads until when a session is to be remembered from the member until of
// the private object, in seconds since 1970.
func untilIn(private []byte, now time.Time) time.Time {
	n, _ := strconv.ParseInt(session.PrivateValue(private, "until"), 10, 64)
	if until := time.Unix(n, 0); n != 0 && until.After(now) {
		return until
	}
	return time.Time{}
}

// asking is an edit after which the private object asks to remember the session
// for some time, 0 for no more. Directives and data may come with it.
func asking(remember time.Duration, more ...string) func(*env) *session.Patch {
	more = append(more, "", "")
	return func(e *env) *session.Patch {
		var until any
		if remember != 0 {
			until = time.Now().Add(remember).Unix()
		}
		p := e.patch(more[1], "", more[0])
		p.Edit = func([]byte) (map[string]any, any) { return map[string]any{"until": until, "other": 1}, nil }
		return p
	}
}

func TestPrivateObjectRemembers(t *testing.T) {
	const (
		idle     = 30 * time.Minute
		lifetime = 24 * time.Hour
		remember = 30 * lifetime
		age      = 2 * time.Hour // of the session that is patched
		keep     = session.CookieKeep
		renewed  = session.CookieSet
		again    = session.CookieAgain
	)
	for _, test := range []struct {
		name         string
		start, patch func(*env) *session.Patch
		deadline     time.Duration // from the patch on
		unused       time.Duration // how long it lasts when it is not used
		cookie       session.CookieChange
		persistent   bool
	}{
		{"nothing", asking(0), asking(0), lifetime - age, idle, keep, false},
		{"a week", asking(0), asking(7 * lifetime), 7 * lifetime, 7 * lifetime, again, true},
		{"from the start", asking(7 * lifetime), set(`{"a":1}`), 7*lifetime - age, 7*lifetime - age, keep, true},
		{"a year", asking(0), asking(365 * lifetime), remember, remember, again, true},
		{"moved on", asking(7 * lifetime), asking(7 * lifetime), 7 * lifetime, 7 * lifetime, again, true},
		{"shortened", asking(7 * lifetime), asking(3 * lifetime), 3 * lifetime, 3 * lifetime, again, true},
		{"no more", asking(7 * lifetime), asking(0), lifetime, idle, again, false},
		{"less than the lifetime", asking(0), asking(time.Hour), lifetime - age, time.Hour, again, true},
		{"moved on within the lifetime", asking(3 * time.Hour), asking(3 * time.Hour), lifetime - age, 3 * time.Hour, keep, true},
		{"no more within the lifetime", asking(3 * time.Hour), asking(0), lifetime - age, idle, again, false},
		{"less than idle", asking(0), asking(time.Minute), lifetime - age, idle, again, true},
		{"from more than the lifetime to less", asking(7 * lifetime), asking(time.Hour), lifetime, time.Hour, again, true},
		{"signing in keeps it", asking(7 * lifetime), set(`{"user":"alice"}`), 7*lifetime - age, 7*lifetime - age, renewed, true},
		{"signing in", asking(time.Hour), set(`{"user":"alice"}`), lifetime, idle, renewed, false},
		{"signing out", asking(7*lifetime, "", `{"user":"alice"}`), set(`{"user":null}`), lifetime, idle, renewed, false},
		{"clear", asking(7 * lifetime), control("clear"), lifetime, idle, renewed, false},
		{"max-age of the same response", asking(0), asking(7*lifetime, "max-age=60"), time.Minute, time.Minute, renewed, true},
		{"max-age is longer", asking(0, "max-age=864000"), asking(7 * lifetime), 10*lifetime - age, 10*lifetime - age, keep, true},
		{"max-age stays", asking(time.Hour+age, "max-age=864000"), asking(0), 10*lifetime - age, 10*lifetime - age, keep, true},
		{"no-touch", asking(0), asking(7*lifetime, "no-touch"), 7 * lifetime, 7 * lifetime, again, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(p *session.Policy) { p.RememberedUntil = untilIn }, func(e *env) {
				s := e.commit(nil, test.start).Session
				for range int(age / (20 * time.Minute)) { // in use all the time
					time.Sleep(20 * time.Minute)
					e.Touch(e.live(s), time.Now())
					synctest.Wait()
				}
				s = e.live(s)
				r := e.commit(s, test.patch)
				if left := time.Until(r.Session.Deadline()).Round(time.Second); left != test.deadline {
					e.Errorf("ends in %v, want %v", left, test.deadline)
				}
				if r.Cookie != test.cookie {
					e.Errorf("cookie %v, want %v", r.Cookie, test.cookie)
				}
				if got := e.Persistent(r.Session, time.Now()); got != test.persistent {
					e.Errorf("persistent %t, want %t", got, test.persistent)
				}
				e.Touch(e.live(r.Session), time.Now())
				synctest.Wait()
				time.Sleep(test.unused - 2*time.Second)
				e.live(r.Session)
				time.Sleep(4 * time.Second)
				e.dead(r.Session)
			})
		})
	}
}

// After the time that the private object asks for, within the lifetime, the idle
// limit holds again.
func TestPrivateObjectRemembersNoLonger(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.RememberedUntil = untilIn }, func(e *env) {
		s := e.commit(nil, asking(2*time.Hour)).Session
		e.Touch(e.live(s), time.Now()) // claims it
		synctest.Wait()
		time.Sleep(2*time.Hour - time.Minute)
		e.Touch(e.live(s), time.Now())
		synctest.Wait()
		time.Sleep(29 * time.Minute)
		s = e.live(s)
		if e.Persistent(s, time.Now()) {
			e.Error("it is persistent still")
		}
		e.Touch(s, time.Now())
		synctest.Wait()
		time.Sleep(31 * time.Minute)
		e.dead(s)
	})
}

// A session whose cookie has not come back ends soon, whatever its private object
// asks for, unless somebody is signed in.
func TestPrivateObjectRemembersWhenClaimed(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name           string
		start          func(*env) *session.Patch
		unused, lasts  time.Duration
		asksForItLater bool
	}{
		{"beyond the lifetime", asking(7 * day), 10 * time.Minute, 7 * day, false},
		{"within the lifetime", asking(2 * time.Hour), 10 * time.Minute, 2 * time.Hour, false},
		{"less than idle", asking(12 * time.Minute), 10 * time.Minute, 30*time.Minute + 9*time.Minute, false},
		{"a user", asking(7*day, "", `{"user":"alice"}`), 7 * day, 7 * day, false},
		{"at the second request", asking(0), 10 * time.Minute, 7*day + 9*time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(p *session.Policy) { p.RememberedUntil = untilIn }, func(e *env) {
				ends := func(s *session.Session, at time.Time) {
					e.Helper()
					time.Sleep(time.Until(at) - 2*time.Second)
					e.live(s)
					time.Sleep(4 * time.Second)
					e.dead(s)
				}
				start := func() *session.Session {
					r, err := e.Commit(e.Context(), e.site, nil, test.start(e), time.Now())
					if err != nil {
						e.Fatal(err)
					}
					return r.Session
				}
				ends(start(), time.Now().Add(test.unused))
				s, began := start(), time.Now()
				time.Sleep(9 * time.Minute)
				s = e.live(s)
				if test.asksForItLater {
					s = e.commit(s, asking(7*day)).Session
				}
				e.Touch(s, time.Now())
				synctest.Wait()
				ends(s, began.Add(test.lasts))
			})
		})
	}
}

// A lowered setting is for sessions that kept cookies remember, too.
func TestPrivateObjectRemembersUnderLoweredTimes(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for _, test := range []struct {
		name               string
		start              func(*env) *session.Patch // an hour before
		lifetime, remember time.Duration             // lowered
		unused             time.Duration             // how long it lasts then when it is not used
		next               func(*env) *session.Patch
		deadline           time.Duration // after next
	}{
		{"remember", asking(20 * day), day, 5 * day, 5*day - hour, set(`{"a":1}`), 5*day - hour},
		{"remember, asked for less", asking(3 * day), day, 5 * day, 3*day - hour, set(`{"a":1}`), 3*day - hour},
		{"remember, asked for once more", asking(20 * day), day, 5 * day, 5*day - hour, asking(10 * day), 5 * day},
		{"remember, asked for no more", asking(20 * day), day, 5 * day, 5*day - hour, asking(0), day},
		{"lifetime", asking(10 * hour), 3 * hour, 30 * day, 2 * hour, set(`{"a":1}`), 2 * hour},
		{"lifetime, asked for once more", asking(10 * hour), 3 * hour, 30 * day, 2 * hour, asking(10 * hour), 10 * hour},
		{"remember to less than the lifetime", asking(10 * hour), day, 3 * hour, 2 * hour, set(`{"a":1}`), 23 * hour},
		{"remember is over within the lifetime", asking(10 * hour), day, hour, 30 * time.Minute, set(`{"a":1}`), 23 * hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(p *session.Policy) { p.RememberedUntil = untilIn }, func(e *env) {
				lowered := e.policy
				lowered.Lifetime, lowered.Remember = test.lifetime, test.remember
				other := newEnv(e.T, lowered, e.store.Store)
				start := func() *session.Session {
					s := e.commit(nil, test.start).Session
					for range 3 {
						time.Sleep(20 * time.Minute)
						e.Touch(e.live(s), time.Now())
						synctest.Wait()
					}
					return s
				}
				s := start()
				other.Touch(other.live(s), time.Now())
				synctest.Wait()
				time.Sleep(test.unused - 2*time.Second)
				other.live(s)
				time.Sleep(4 * time.Second)
				other.dead(s)

				s = other.live(start())
				s = other.commit(s, test.next).Session
				if left := time.Until(other.live(s).Deadline()).Round(time.Second); left != test.deadline {
					e.Errorf("ends in %v, want %v", left, test.deadline)
				}
			})
		})
	}
}
