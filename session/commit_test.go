package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

func TestNothingIsStoredUntilSomethingIsSet(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for _, p := range []func(*env) *session.Patch{
			control("renew"), control("clear"), control("max-age=60"), control("destroy"), control("no-touch"),
			control("revoke-others"), control("if-version=0"),
			func(e *env) *session.Patch { return e.patch("", "user", "") },
		} {
			calls := e.calls(func() { e.nothing(e.commit(nil, p)) })
			if len(calls) != 0 {
				e.Errorf("store calls %v for %+v without a session", calls, p(e))
			}
		}
		s := e.create("{}")
		e.data(s, "{}")
		if s.Version() != 1 || s.Subject() != "" || s.Private() != nil {
			e.Errorf("a new session has version %d, subject %q, private %s", s.Version(), s.Subject(), s.Private())
		}
	})
}

func TestPrivateAloneMakesASession(t *testing.T) {
	bubble(t, nil, func(e *env) {
		r := e.commit(nil, edit(func([]byte) map[string]any { return map[string]any{"jar": "a=b"} }))
		got := e.live(r.Session)
		if string(got.Data()) != "{}" || string(got.Private()) != `{"jar":"a=b"}` {
			e.Errorf("got data %s, private %s", got.Data(), got.Private())
		}
		e.commit(got, set(`{"jar":1}`))
		if got := e.live(r.Session); string(got.Private()) != `{"jar":"a=b"}` {
			e.Errorf("a Set line reached the private object: %s", got.Private())
		}
		r = e.commit(e.live(r.Session), control("clear"))
		if got := e.live(r.Session); got.Private() != nil {
			e.Errorf("after clear private is %s", got.Private())
		}
	})
}

func TestStoreCalls(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		alice := e.create(`{"user":"alice"}`)
		steps := []struct {
			name string
			do   func()
			want map[string]int
		}{
			{"no cookie", func() { e.tryLoad() }, nil},
			{"read", func() { e.Touch(e.live(s), time.Now()) }, map[string]int{"Get": 1}},
			{"nothing asked", func() { e.commit(s, control("no-touch")) }, nil},
			{"create", func() { e.create("{}") }, map[string]int{"Put": 1}},
			{"create signed in", func() { e.create(`{"user":"bob"}`) }, map[string]int{"Put": 1}},
			{"commit", func() { s = e.commit(s, set(`{"b":1}`)).Session }, map[string]int{"Put": 1}},
			{"renew", func() { s = e.commit(s, control("renew")).Session }, map[string]int{"Put": 1}},
			{"sign in", func() { s = e.commit(s, set(`{"user":"carol"}`)).Session }, map[string]int{"Put": 1}},
			{"sign out", func() { s = e.commit(s, set(`{"user":null}`)).Session }, map[string]int{"Put": 2, "Unindex": 1}},
			{"clear", func() { s = e.commit(s, control("clear")).Session }, map[string]int{"Put": 2}},
			{"destroy", func() { e.commit(s, control("destroy")) }, map[string]int{"Delete": 1}},
			{"destroy signed in", func() { e.commit(alice, control("destroy")) }, map[string]int{"Delete": 1, "Unindex": 1}},
		}
		for _, step := range steps {
			if got := e.calls(step.do); !maps.Equal(got, step.want) {
				e.Errorf("%s: store calls %v, want %v", step.name, got, step.want)
			}
		}
	})
}

// Each step starts from a session with subject alice, 5 minutes old.
func TestSecretAndIDChangeWithTheSubject(t *testing.T) {
	const sameSecret, newSecret, newID = "same secret", "new secret", "new id"
	tests := []struct {
		name    string
		start   string
		patch   func(*env) *session.Patch
		want    string
		subject string
	}{
		{"other data", `{"user":"alice"}`, set(`{"a":1}`), sameSecret, "alice"},
		{"same subject again", `{"user":"alice"}`, set(`{"user":"alice"}`), sameSecret, "alice"},
		{"same subject as a number", `{"user":"7"}`, set(`{"user":7}`), sameSecret, "7"},
		{"renew", `{"user":"alice"}`, control("renew"), newSecret, "alice"},
		{"subject appears", `{"a":1}`, set(`{"user":"alice"}`), newSecret, "alice"},
		{"subject changes", `{"user":"alice"}`, set(`{"user":"bob"}`), newID, "bob"},
		{"subject changes in case only", `{"user":"alice"}`, set(`{"user":"Alice"}`), newID, "Alice"},
		{"subject is unset", `{"user":"alice"}`, func(e *env) *session.Patch { return e.patch("", "user", "") }, newID, ""},
		{"subject becomes null", `{"user":"alice"}`, set(`{"user":null}`), newID, ""},
		{"subject becomes empty", `{"user":"alice"}`, set(`user=`), newID, ""},
		{"clear", `{"user":"alice"}`, control("clear"), newID, ""},
		{"clear of an anonymous one", `{"a":1}`, control("clear"), newID, ""},
		{"clear and the same subject", `{"user":"alice"}`, setControl(`{"user":"alice"}`, "clear"), newID, "alice"},
		{"set and unset of the subject", `{"a":1}`, func(e *env) *session.Patch { return e.patch(`{"user":"x"}`, "user", "") }, sameSecret, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				old := e.create(test.start)
				time.Sleep(5 * time.Minute)
				r := e.commit(old, test.patch)
				got := e.live(r.Session)
				if got.Subject() != test.subject {
					e.Errorf("subject %q, want %q", got.Subject(), test.subject)
				}
				if got.Version() != old.Version()+1 {
					e.Errorf("version %d after %d", got.Version(), old.Version())
				}
				sameID, sameToken := got.ID() == old.ID(), got.Token() == old.Token()
				if sameID != (test.want != newID) || sameToken != (test.want == sameSecret) {
					e.Errorf("same id %t, same secret %t; want %s", sameID, sameToken, test.want)
				}
				if want := test.want != sameSecret; (r.Cookie == session.CookieSet) != want || got.Epoch() != old.Epoch() != want {
					e.Errorf("cookie %v, epoch %d after %d; want %s", r.Cookie, got.Epoch(), old.Epoch(), test.want)
				}
				if !sameToken {
					e.dead(old)
				}
			})
		})
	}
}

func TestDeadlines(t *testing.T) {
	const (
		idle, lifetime, remember = 30 * time.Minute, 24 * time.Hour, 30 * 24 * time.Hour
		age                      = 10 * time.Hour // of the session when the patch comes
	)
	tests := []struct {
		name       string
		start      func(*env) *session.Patch
		patch      func(*env) *session.Patch
		left       time.Duration
		remembered bool
		cookie     bool
	}{
		{"data", set(`{"user":"alice"}`), set(`{"a":1}`), lifetime - age, false, false},
		{"renew", set(`{"user":"alice"}`), control("renew"), lifetime - age, false, true},
		{"signing in starts anew", set(`{}`), set(`{"user":"alice"}`), lifetime, false, true},
		{"another user starts anew", set(`{"user":"alice"}`), set(`{"user":"bob"}`), lifetime, false, true},
		{"clear and sign in starts anew", set(`{"user":"alice"}`), setControl(`{"user":"alice"}`, "clear"), lifetime, false, true},
		{"clear keeps", set(`{}`), control("clear"), lifetime - age, false, true},
		{"signing out keeps", set(`{"user":"alice"}`), control("clear"), lifetime - age, false, true},
		{"signing out shortens", setControl(`{"user":"alice"}`, "max-age=864000"), set(`{"user":null}`), lifetime, false, true},
		{"clear of a remembered visitor keeps", setControl(`{}`, "max-age=864000"), control("clear"), 10*lifetime - age, true, true},
		{"max-age", set(`{}`), control("max-age=172800"), 2 * lifetime, true, true},
		{"max-age may shorten", set(`{}`), control("max-age=60"), time.Minute, true, true},
		{"max-age is capped", set(`{}`), control("max-age=99999999999999999999"), remember, true, true},
		{"max-age with signing in", set(`{}`), setControl(`{"user":"alice"}`, "max-age=172800"), 2 * lifetime, true, true},
		{"signing in forgets max-age", setControl(`{}`, "max-age=864000"), set(`{"user":"alice"}`), lifetime, false, true},
		{"max-age=0 goes back", setControl(`{}`, "max-age=864000"), control("max-age=0"), lifetime, false, true},
		{"max-age=0 counts from now", set(`{}`), control("max-age=0"), lifetime, false, true},
		{"remembered stays so", setControl(`{}`, "max-age=864000"), set(`{"a":1}`), 10*lifetime - age, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.commit(nil, test.start).Session
				for range int(age / (25 * time.Minute)) { // in use all the time
					time.Sleep(25 * time.Minute)
					e.Touch(e.live(s), time.Now())
				}
				synctest.Wait()
				s = e.live(s)
				r := e.commit(s, test.patch)
				left := time.Until(r.Session.Deadline()).Round(time.Second)
				if left != test.left || r.Session.Remembered() != test.remembered {
					e.Errorf("ends in %v, remembered %t; want %v, %t", left, r.Session.Remembered(), test.left, test.remembered)
				}
				if (r.Cookie == session.CookieSet) != test.cookie {
					e.Errorf("cookie %v, want one: %t", r.Cookie, test.cookie)
				}
				// What was promised is kept, to the second.
				end := left
				if !test.remembered {
					end = min(end, idle)
				}
				time.Sleep(end - time.Second)
				e.live(r.Session)
				time.Sleep(time.Second)
				e.dead(r.Session)
			})
		})
	}
}

func TestCappedMaxAgeIsLogged(t *testing.T) {
	bubble(t, nil, func(e *env) {
		e.commit(nil, setControl("{}", "max-age=99999999"))
		if e.logs.FilterMessageSnippet("max-age is more than remember").Len() != 1 {
			e.Error("nothing in the log")
		}
	})
}

func TestDestroy(t *testing.T) {
	t.Run("current secret", func(t *testing.T) {
		bubble(t, nil, func(e *env) {
			s := e.create(`{"user":"alice"}`)
			if r := e.commit(s, setControl(`{"a":1}`, "destroy, renew, if-version=99")); r.Cookie != session.CookieExpire || r.Session != nil || !r.Committed {
				e.Errorf("got %+v", r)
			}
			e.dead(s)
			if e.logs.FilterMessageSnippet("destroy wins").Len() != 1 {
				e.Error("nothing in the log")
			}
			e.counted(session.EventDestroyed, 1)
			e.nothing(e.commit(s, control("destroy")))
		})
	})
	for _, also := range []string{"if-version=0", "revoke-others"} {
		t.Run("with "+also, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{"user":"alice"}`)
				other := e.create(`{"user":"alice"}`)
				e.commit(s, control("destroy, "+also))
				e.dead(s)
				e.live(other)
				if e.logs.FilterMessageSnippet("destroy wins").Len() != 1 {
					e.Error("nothing in the log")
				}
			})
		})
	}
	t.Run("after other commits", func(t *testing.T) {
		bubble(t, nil, func(e *env) {
			s := e.create(`{"a":1}`)
			e.commit(s, set(`{"a":2}`))
			if r := e.commit(s, control("destroy")); r.Cookie != session.CookieExpire {
				e.Errorf("got %+v, the secret is still the current one", r)
			}
			e.dead(s)
		})
	})
	for name, renew := range map[string]func(*env) *session.Patch{"renew": control("renew"), "sign-in": set(`{"user":"alice"}`)} {
		t.Run("after "+name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{"a":1}`)
				renewed := e.commit(s, renew).Session
				r := e.commit(s, control("destroy"))
				if r.Cookie != session.CookieKeep || !r.Committed {
					e.Errorf("got %+v, a newer cookie is on its way", r)
				}
				e.dead(renewed)
			})
		})
	}
	t.Run("of an unreadable record", func(t *testing.T) {
		bubble(t, nil, func(e *env) {
			s := e.create(`{"a":1}`)
			e.rewrite(s.ID(), func(value string) string { return value[:len(value)-1] })
			e.commit(s, control("destroy"))
			if n := len(e.dump()); n != 0 {
				e.Errorf("%d sessions are left", n)
			}
		})
	})
}

// rewrite plays somebody who edits the store, at the next version.
func (e *env) rewrite(id string, edit func(string) string) {
	e.Helper()
	ctx := context.Background()
	entry, err := e.store.Store.Get(ctx, id)
	if err != nil {
		e.Fatal(err)
	}
	expect := entry.Version
	entry.Version++
	value := append(session.AppendHead(nil, entry.Version), entry.Value[session.HeadSize:]...)
	entry.Value = []byte(edit(string(value)))
	if err := e.store.Store.Put(ctx, id, expect, entry); err != nil {
		e.Fatal(err)
	}
}

func TestIfVersion(t *testing.T) {
	tests := []struct {
		name  string
		start func(*env) *session.Session
		patch func(*env) *session.Patch
		ok    bool
		write bool
	}{
		{"match", two, setControl(`{"b":1}`, "if-version=2"), true, true},
		{"mismatch", two, setControl(`{"b":1}`, "if-version=1"), false, false},
		{"ahead", two, setControl(`{"b":1}`, "if-version=3"), false, false},
		{"alone, match", two, control("if-version=2"), true, false},
		{"alone, mismatch", two, control("if-version=1"), false, false},
		{"0 with a session", two, setControl(`{"b":1}`, "if-version=0"), false, false},
		{"0 without", none, setControl(`{"b":1}`, "if-version=0"), true, true},
		{"0 alone without", none, control("if-version=0"), true, false},
		{"1 without", none, setControl(`{"b":1}`, "if-version=1"), false, false},
		{"huge", two, control("if-version=18446744073709551618"), false, false},
		{"committed meanwhile", overtaken(set(`{"c":1}`)), setControl(`{"b":1}`, "if-version=2"), false, false},
		{"committed meanwhile, alone", overtaken(set(`{"c":1}`)), control("if-version=2"), false, false},
		{"ended meanwhile", overtaken(control("destroy")), setControl(`{"b":1}`, "if-version=2"), false, false},
		{"ended meanwhile, alone", overtaken(control("destroy")), control("if-version=2"), false, false},
		{"replaced meanwhile", overtaken(control("clear")), setControl(`{"b":1}`, "if-version=2"), false, false},
		{"renewed meanwhile", overtaken(control("renew")), setControl(`{"b":1}`, "if-version=2"), false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := test.start(e)
				before := e.dump()
				r, err := e.try(s, test.patch)
				if test.ok != (err == nil) || err != nil && !errors.Is(err, session.ErrVersion) {
					e.Fatalf("error %v", err)
				}
				if changed := !maps.Equal(before, e.dump()); changed != test.write || r.Committed != test.write {
					e.Errorf("store changed: %t, committed: %t; want %t", changed, r.Committed, test.write)
				}
			})
		})
	}
}

func none(*env) *session.Session { return nil }

// two returns a session at version 2.
func two(e *env) *session.Session {
	return e.commit(e.create("{}"), set(`{"a":1}`)).Session
}

// overtaken returns a session at version 2 that another request has changed.
func overtaken(p func(*env) *session.Patch) func(*env) *session.Session {
	return func(e *env) *session.Session {
		s := two(e)
		e.commit(s, p)
		return s
	}
}

func TestNoTouchKeepsTheTTL(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(20 * time.Minute)
		s = e.commit(e.live(s), setControl(`{"poll":1}`, "no-touch")).Session
		time.Sleep(10*time.Minute - time.Second)
		e.live(s)
		time.Sleep(time.Second)
		e.dead(s)
	})
}

func TestNoTouchDoesNotCutWhatAnotherRequestExtended(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(29 * time.Minute)
		poll, click := e.live(s), e.live(s)
		e.Touch(click, time.Now())
		synctest.Wait()
		e.commit(poll, setControl(`{"poll":1}`, "no-touch"))
		time.Sleep(28 * time.Minute)
		e.live(s)
	})
}

func TestNoTouchSignInGetsAFullTTL(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		time.Sleep(29 * time.Minute)
		s = e.commit(e.live(s), setControl(`{"user":"alice"}`, "no-touch")).Session
		time.Sleep(29 * time.Minute)
		e.live(s)
	})
}

func TestMalformedPatchChangesNothing(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.MaxData, p.Exposed = 200, 100 }, func(e *env) {
		s := e.create(`{"a":1}`)
		before := e.dump()
		for name, patch := range map[string]func(*env) *session.Patch{
			"too much data":       set(`{"b":"` + strings.Repeat("é", 60) + `"}`),
			"too much to forward": set(`{"b":"` + strings.Repeat("x", 120) + `"}`),
		} {
			for _, start := range []*session.Session{nil, s} {
				_, err := e.try(start, patch)
				if malformed := new(session.MalformedError); !errors.As(err, &malformed) {
					e.Errorf("%s: error %v", name, err)
				}
			}
		}
		if after := e.dump(); !maps.Equal(before, after) {
			e.Errorf("the store has changed from %q to %q", before, after)
		}
		e.counted(session.EventRefused, 4)
	})
}

func TestSuccessfulCommitsLogNoSecrets(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"password":"hunter2"}`)
		e.commit(s, setControl(`{"password":"hunter3"}`, "renew, max-age=99999999"))
		e.commit(s, set(`{"password":"hunter4"}`))
		for _, entry := range e.logs.All() {
			line := fmt.Sprint(entry.Message, entry.ContextMap())
			if strings.Contains(line, "hunter") || strings.Contains(line, s.Token().Bearer()[session.IDSize+1:]) {
				e.Errorf("log line %s", line)
			}
		}
		if e.logs.Len() == 0 {
			e.Error("nothing was logged")
		}
	})
}
