package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
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
		r := e.commit(nil, func(*env) *session.Patch {
			return &session.Patch{Private: []map[string]any{{"jar": "a=b"}}}
		})
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
			{"no cookie", func() { e.tryOpen() }, nil},
			{"read", func() { e.Touch(e.live(s), time.Now()) }, map[string]int{"Get": 1}},
			{"nothing asked", func() { e.commit(s, control("no-touch")) }, nil},
			{"create", func() { e.create("{}") }, map[string]int{"Put": 1}},
			{"create signed in", func() { e.create(`{"user":"bob"}`) }, map[string]int{"Put": 1}},
			{"commit", func() { s = e.commit(s, set(`{"b":1}`)).Session }, map[string]int{"Put": 1}},
			{"renew", func() { s = e.commit(s, control("renew")).Session }, map[string]int{"Put": 1}},
			{"sign in", func() { s = e.commit(s, set(`{"user":"carol"}`)).Session }, map[string]int{"Put": 1}},
			{"sign out", func() { s = e.commit(s, set(`{"user":null}`)).Session }, map[string]int{"Delete": 1, "Put": 1, "Unindex": 1}},
			{"clear", func() { s = e.commit(s, control("clear")).Session }, map[string]int{"Delete": 1, "Put": 1}},
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

func TestParallelCommitsLoseNothing(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create("{}")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { e.commit(s, set(fmt.Sprintf(`{"k%d":%d}`, i, i))) })
		}
		wg.Wait()
		got := e.live(s)
		for i := range 20 {
			if !strings.Contains(string(got.Data()), fmt.Sprintf(`"k%d":%d`, i, i)) {
				e.Errorf("key k%d is lost: %s", i, got.Data())
			}
		}
		if got.Version() != 21 {
			e.Errorf("version %d after 20 commits", got.Version())
		}
	})
}

// Two managers on one store are two nodes: no lock is shared.
func TestConflictsBetweenNodesAreRetried(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create("{}")
		var nodes []*env
		for range 4 {
			nodes = append(nodes, newEnv(e.T, e.Policy, e.store.Store))
		}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() { nodes[i%4].commit(s, set(fmt.Sprintf(`{"k%d":1}`, i))) })
		}
		wg.Wait()
		if got := e.live(s); strings.Count(string(got.Data()), ":1") != 40 || got.Version() != 41 {
			e.Errorf("version %d, data %s", got.Version(), got.Data())
		}
	})
}

func TestSlowCommitRevivesNothing(t *testing.T) {
	ends := []struct {
		name string
		end  func(*env, *session.Session)
	}{
		{"destroyed", func(e *env, s *session.Session) { e.commit(s, control("destroy")) }},
		{"cleared", func(e *env, s *session.Session) { e.commit(s, control("clear")) }},
		{"signed in", func(e *env, s *session.Session) { e.commit(s, set(`{"user":"alice"}`)) }},
		{"renewed", func(e *env, s *session.Session) { e.commit(s, control("renew")) }},
		{"idle", func(e *env, s *session.Session) { time.Sleep(e.Policy.Idle) }},
		{"removed by hand", func(e *env, s *session.Session) { e.store.Store.Delete(context.Background(), s.ID(), 0) }},
	}
	patches := map[string]func(*env) *session.Patch{
		"set":           set(`{"slow":1}`),
		"sign in":       set(`{"user":"mallory"}`),
		"renew":         control("renew"),
		"clear":         control("clear"),
		"clear and set": setControl(`{"user":"mallory"}`, "clear"),
		"max-age":       control("max-age=60"),
		"no-touch":      setControl(`{"slow":1}`, "no-touch"),
		"revoke-others": setControl(`{"slow":1}`, "revoke-others"),
	}
	for _, end := range ends {
		for name, patch := range patches {
			t.Run(end.name+"/"+name, func(t *testing.T) {
				bubble(t, nil, func(e *env) {
					slow := e.create(`{"a":1}`)
					end.end(e, slow)
					before := e.dump()
					e.nothing(e.commit(slow, patch))
					e.counted(session.EventDropped, 1)
					e.dead(slow)
					if after := e.dump(); !maps.Equal(before, after) {
						e.Errorf("the store has changed from %q to %q", before, after)
					}
				})
			})
		}
	}
}

// dump returns all that is stored.
func (e *env) dump() map[string]string {
	all := map[string]string{}
	ids, _, err := e.store.Store.List(context.Background(), "", 1000)
	if err != nil {
		e.Fatal(err)
	}
	for _, id := range ids {
		if entry, err := e.store.Store.Get(context.Background(), id); err == nil {
			all[id] = string(entry.Value)
		}
	}
	return all
}

func TestOneWinnerWhenTheIDIsReplaced(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		nodes := []*env{e, newEnv(e.T, e.Policy, e.store.Store)}
		results := make([]session.Result, 20)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i] = nodes[i%2].commit(s, setControl(`{"user":"bob"}`, "clear")) })
		}
		wg.Wait()
		won := 0
		for _, r := range results {
			if r.Session != nil {
				won++
				e.live(r.Session)
			}
		}
		if won != 1 || len(e.dump()) != 1 {
			e.Errorf("%d commits won, %d sessions are stored", won, len(e.dump()))
		}
	})
}

func TestFailureBetweenDeleteAndCreateSignsOut(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		e.faults(failing("Put"), nil, nil)
		if _, err := e.try(s, control("clear")); err == nil {
			e.Error("no error")
		}
		e.faults(nil, nil, nil)
		e.dead(s)
		if n := len(e.dump()); n != 0 {
			e.Errorf("%d sessions are left", n)
		}
		e.counted(session.EventFailed, 1)
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
			"subject is a boolean": set(`{"user":true,"b":1}`),
			"subject is an object": set(`{"user":{"n":1},"b":1}`),
			"subject is an array":  set(`{"user":["x"],"b":1}`),
			"too much to forward":  set(`{"b":"` + strings.Repeat("x", 120) + `"}`),
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
		e.counted(session.EventRefused, 8)
	})
}

func TestAmbiguousWriteIsDecidedByOneRead(t *testing.T) {
	ops := []struct {
		name, op string
		start    string
		patch    func(*env) *session.Patch
	}{
		{"create", "Put", "", set(`{"new":1}`)},
		{"update", "Put", `{"a":1}`, set(`{"new":1}`)},
		{"renew", "Put", `{"a":1}`, setControl(`{"new":1}`, "renew")},
		{"replace, delete", "Delete", `{"a":1}`, setControl(`{"new":1}`, "clear")},
		{"replace, create", "Put", `{"a":1}`, setControl(`{"new":1}`, "clear")},
		{"destroy", "Delete", `{"a":1}`, control("destroy")},
	}
	for _, op := range ops {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/plain=%t", op.name, plain), func(t *testing.T) {
				bubble(t, func(p *session.Policy) { p.Plain = plain }, func(e *env) {
					start := func() *session.Session {
						if op.start == "" {
							return nil
						}
						return e.create(op.start)
					}
					// It was done, and the answer got lost.
					s := start()
					e.faults(nil, once(failing(op.op)), nil)
					calls := e.calls(func() {
						r := e.commit(s, op.patch)
						if r.Session != nil && !strings.Contains(string(e.live(r.Session).Data()), `"new":1`) {
							e.Error("the patch is lost")
						}
						if !r.Committed {
							e.Errorf("got %+v", r)
						}
					})
					if calls[op.op] != 1 {
						e.Errorf("%s was called %d times", op.op, calls[op.op])
					}
					// It was not done.
					e.faults(nil, nil, nil)
					s = start()
					before := e.dump()
					e.faults(once(failing(op.op)), nil, nil)
					if _, err := e.try(s, op.patch); err == nil {
						e.Error("no error though nothing was written")
					}
					e.faults(nil, nil, nil)
					if op.name == "replace, create" {
						delete(before, s.ID()) // signed out is the safe side
					}
					if !maps.Equal(before, e.dump()) {
						e.Error("the store has changed")
					}
				})
			})
		}
	}
}

func TestAmbiguousAndUnreadableIsAnError(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		e.faults(nil, func(op, _ string) error { return errBroken }, nil)
		for _, p := range []func(*env) *session.Patch{set(`{"b":1}`), control("clear"), control("destroy")} {
			if _, err := e.try(s, p); !errors.Is(err, errBroken) {
				e.Errorf("error %v", err)
			}
		}
	})
}

// The write lasted until the end of the commit's time, and was done.
func TestWriteCutShortByTheCommitTimeoutIsDecidedToo(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		e.faults(nil, func(op, _ string) error {
			if op == "Put" {
				time.Sleep(3 * time.Second)
				return context.DeadlineExceeded
			}
			return nil
		}, nil)
		r := e.commit(s, set(`{"b":1}`))
		e.faults(nil, nil, nil)
		e.data(r.Session, `{"a":1,"b":1}`)
	})
}

func TestCommitTimeout(t *testing.T) {
	for _, op := range []string{"Put", "Delete", "Get"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{"user":"alice"}`)
				patch := setControl(`{"user":"bob"}`, "no-touch")
				e.faults(nil, nil, func(got, _ string) bool { return got == op })
				start := time.Now()
				_, err := e.try(s, patch)
				if took := time.Since(start); err == nil || took > 2500*time.Millisecond {
					e.Errorf("error %v after %v", err, took)
				}
				e.counted(session.EventFailed, 1)
				e.faults(nil, nil, nil)
			})
		})
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		e.faults(nil, nil, func(op, _ string) bool { return op == "Put" })
		start := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := e.try(s, set(`{"b":1}`)); err == nil {
					e.Error("no error")
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 2500*time.Millisecond {
			e.Errorf("all gave up after %v", took)
		}
		e.faults(nil, nil, nil)
		e.commit(s, set(`{"b":1}`)) // and the lock is free again
	})
}

// A store where every write conflicts, as if the others were always faster.
func TestEndlessConflictsEndWithTheCommitTimeout(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		e.faults(func(op, _ string) error {
			if op == "Put" {
				return session.ErrConflict
			}
			return nil
		}, nil, nil)
		start := time.Now()
		_, err := e.try(s, set(`{"b":1}`))
		if took := time.Since(start); err == nil || errors.Is(err, session.ErrConflict) || took > 2500*time.Millisecond {
			e.Errorf("error %v after %v", err, took)
		}
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
