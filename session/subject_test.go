package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

func TestRevokeOthers(t *testing.T) {
	tests := []struct {
		name  string
		start string // "" is anonymous
		patch func(*env) *session.Patch
	}{
		{"alone", `{"user":"alice"}`, control("revoke-others")},
		{"with data", `{"user":"alice"}`, setControl(`{"a":1}`, "revoke-others")},
		{"with renew", `{"user":"alice"}`, control("renew, revoke-others")},
		{"with clear", `{"user":"alice"}`, setControl(`{"user":"alice"}`, "clear, revoke-others")},
		{"with signing in", `{}`, setControl(`{"user":"alice"}`, "revoke-others")},
		{"with signing in from nothing", ``, setControl(`{"user":"alice"}`, "revoke-others")},
		{"with another user before", `{"user":"eve"}`, setControl(`{"user":"alice"}`, "revoke-others")},
		{"with signing out", `{"user":"alice"}`, control("clear, revoke-others")},
		{"with signing out and a message", `{"user":"alice"}`, setControl(`{"flash":"bye"}`, "clear, revoke-others")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				var others []*session.Session
				for range 3 {
					others = append(others, e.create(`{"user":"alice"}`))
				}
				bob, visitor := e.create(`{"user":"bob"}`), e.create(`{}`)
				elsewhere := e.elsewhere(`{"user":"alice"}`)
				var own *session.Session
				if test.start != "" {
					own = e.create(test.start)
				}
				r := e.commit(own, test.patch)
				e.live(r.Session)
				for _, s := range others {
					e.dead(s)
				}
				e.live(bob)
				e.live(visitor)
				if !slices.Contains(slices.Collect(maps.Keys(e.dump())), elsewhere.ID()) {
					e.Error("the session in the other realm was ended")
				}
				e.counted(session.EventRevoked, 3)
				var want []string
				if r.Session.Subject() != "" {
					want = []string{r.Session.ID()}
				}
				if got := e.filed("alice"); !slices.Equal(got, want) {
					e.Errorf("filed under alice: %q, want %q", got, want)
				}
			})
		})
	}
}

// elsewhere makes a session at another site that shares the store.
func (e *env) elsewhere(object string) *session.Session {
	e.Helper()
	site := session.Site{Scope: session.Scope{Name: "csid", Host: "example.org", Path: "/"}, Realm: "example.org"}
	r, err := e.Commit(context.Background(), site, nil, e.patch(object, "", ""), time.Now())
	if err != nil {
		e.Fatal(err)
	}
	return r.Session
}

// filed returns the ids in the index, when the background is done.
func (e *env) filed(subject string) []string {
	e.Helper()
	synctest.Wait()
	page, _, err := e.store.Store.Indexed(context.Background(), session.IndexKey(e.site.Realm, subject), "", 1000)
	if err != nil {
		e.Fatal(err)
	}
	var ids []string
	for _, filed := range page {
		ids = append(ids, filed.ID)
	}
	return ids
}

// What is no string or number at the subject's place is nobody, and one warning.
func TestOddSubjectIsNobody(t *testing.T) {
	for _, odd := range []string{`{"id":1,"name":"alice"}`, `["alice"]`, `true`, `false`} {
		bubble(t, nil, func(e *env) {
			warnings := func() int { return e.logs.FilterMessageSnippet("nobody is signed in").Len() }
			s := e.create(`{"user":` + odd + `}`)
			if s.Subject() != "" || warnings() != 1 {
				e.Errorf("%s: signed in is %q, %d warnings", odd, s.Subject(), warnings())
			}
			time.Sleep(time.Second) // at most one line a second
			s = e.commit(s, set(`{"n":1}`)).Session
			if warnings() != 1 {
				e.Errorf("%s: another change warns", odd)
			}
			alice := e.commit(s, set(`{"user":null}`)).Session
			alice = e.commit(alice, set(`{"user":"alice"}`)).Session
			r := e.commit(alice, set(`{"user":`+odd+`}`))
			if r.Session.Subject() != "" || r.Session.ID() == alice.ID() || warnings() != 2 {
				e.Errorf("%s: signed in is %q, %d warnings", odd, r.Session.Subject(), warnings())
			}
			e.dead(alice)
			if got := e.filed("alice"); got != nil {
				e.Errorf("filed under alice: %q", got)
			}
		})
	}
}

// All that is made of a subject is made of the one at a path.
func TestSubjectAtAPathIsFiled(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.SubjectKey, p.MaxSessions = "user.id", 2 }, func(e *env) {
		visitor := e.create(`{"cart":1}`)
		signedIn := e.commit(visitor, set(`{"user":{"id":7,"name":"alice"}}`))
		e.counted(session.EventRenewed, 1)
		first := signedIn.Session
		time.Sleep(time.Second) // it signed in longest ago
		second := e.create(`{"user":{"id":"7"}}`)
		if got := e.filed("7"); len(got) != 2 || first.Subject() != "7" {
			e.Errorf("filed are %q", got)
		}
		third := e.create(`{"user":{"id":7}}`) // over the limit
		e.dead(first)
		named := e.commit(third, set(`{"user":{"name":"Alice"}}`)).Session
		if named.ID() != third.ID() || named.Token() != third.Token() {
			e.Error("another name is another user")
		}
		e.commit(named, control("revoke-others"))
		e.dead(second)
		other := e.commit(named, set(`{"user":{"id":8}}`)).Session
		if other.ID() == named.ID() || other.Subject() != "8" {
			e.Error("another id is the same user")
		}
		for _, sign := range []func(*env) *session.Patch{
			set(`{"user":{"id":null}}`), set(`{"user":null}`), set(`{"user":"x"}`), func(e *env) *session.Patch { return e.patch("", "user", "") },
		} {
			s := e.create(`{"user":{"id":9}}`)
			if out := e.commit(s, sign).Session; out.Subject() != "" || out.ID() == s.ID() {
				e.Errorf("%v is still signed in", out)
			}
		}
		if got := e.filed("9"); got != nil {
			e.Errorf("filed under 9: %q", got)
		}
	})
}

func TestRevokeOthersWithoutASubject(t *testing.T) {
	bubble(t, nil, func(e *env) {
		alice, s := e.create(`{"user":"alice"}`), e.create(`{}`)
		for _, commit := range []func(){
			func() { e.commit(s, control("revoke-others")) },
			func() { e.commit(s, setControl(`{"a":1}`, "revoke-others")) },
			func() { e.commit(nil, control("revoke-others")) },
			func() { e.commit(nil, setControl(`{"a":1}`, "revoke-others")) },
		} {
			commit()
			time.Sleep(time.Second) // at most one line a second
		}
		e.live(alice)
		if n := e.logs.FilterMessageSnippet("revoke-others without a subject").Len(); n != 4 {
			e.Errorf("%d warnings, want 4", n)
		}
	})
}

func TestRevokeOthersOfAnEndedSessionIsDropped(t *testing.T) {
	bubble(t, nil, func(e *env) {
		alice, own := e.create(`{"user":"alice"}`), e.create(`{"user":"alice"}`)
		e.commit(own, control("destroy"))
		e.nothing(e.commit(own, control("revoke-others")))
		e.live(alice)
	})
}

func TestRevokeOthersFailsTheCommit(t *testing.T) {
	for _, op := range []string{"Indexed", "DeleteMany"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				other, own := e.create(`{"user":"alice"}`), e.create(`{}`)
				e.faults(failing(op), nil, nil)
				for _, s := range []*session.Session{own, nil} {
					if r, err := e.try(s, setControl(`{"user":"alice"}`, "revoke-others")); !errors.Is(err, errBroken) {
						e.Errorf("got %+v, error %v", r, err)
					}
				}
				e.faults(nil, nil, nil)
				if e.live(own).Version() != own.Version() {
					e.Error("the own commit was done")
				}
				e.live(other)
				if n := len(e.dump()); n != 2 {
					e.Errorf("%d sessions are stored", n)
				}
			})
		})
	}
}

func TestRevokeOthersOverManyPages(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for range 250 {
			e.create(`{"user":"alice"}`)
		}
		own := e.create(`{"user":"alice"}`)
		e.commit(own, control("revoke-others"))
		if all := e.dump(); len(all) != 1 || all[own.ID()] == "" {
			e.Errorf("%d sessions are left", len(all))
		}
	})
}

// Thousands of sessions of one user, some of which end by themselves, end in
// one request, in a handful of calls.
func TestRevokeOthersOfThousands(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for i := range 8000 {
			s := e.create(`{"user":"alice"}`)
			if i%1000 == 0 {
				e.commit(s, control("destroy"))
			}
		}
		own := e.create(`{"user":"alice"}`)
		calls := e.calls(func() { e.commit(own, control("revoke-others")) })
		if n := calls["Indexed"] + calls["DeleteMany"]; n > 20 || calls["Get"] > 3 || calls["Delete"]+calls["Unindex"] > 0 {
			e.Errorf("it took %v", calls)
		}
		if all := e.dump(); len(all) != 1 || all[own.ID()] == "" {
			e.Errorf("%d sessions are left", len(all))
		}
		e.counted(session.EventRevoked, 7992)
	})
}

// The log of sessions that end together has a line for each of a few, and one with
// their number for more.
func TestSessionsThatEndTogetherInTheLog(t *testing.T) {
	hash := session.IndexKey(site.Realm, "alice")
	for _, test := range []struct {
		name, event, hash string
		end               func(*env) error
	}{
		{"revoke-others", "revoked", hash, func(e *env) error {
			_, err := e.try(nil, setControl(`{"user":"alice"}`, "revoke-others"))
			return err
		}},
		{"max", "evicted", hash, func(e *env) error {
			_, err := e.try(nil, set(`{"user":"alice"}`))
			return err
		}},
		{"a subject", "ended", hash, func(e *env) error {
			_, err := e.operator.EndSubject(e.Context(), site.Realm, "alice", "")
			return err
		}},
		{"all", "ended", "", func(e *env) error {
			page, _, err := e.operator.List(e.Context(), "", 100)
			return errors.Join(err, e.operator.EndMany(e.Context(), page))
		}},
	} {
		for _, n := range []int{20, 21} {
			t.Run(fmt.Sprint(test.name, n), func(t *testing.T) {
				bubble(t, nil, func(e *env) {
					for range n {
						e.create(`{"user":"alice"}`)
					}
					policy := e.policy
					policy.MaxSessions = 1
					e = newEnv(t, policy, e.store.Store)
					if err := test.end(e); err != nil {
						e.Fatal(err)
					}
					each, together := e.logs.FilterMessage("session ended").Len(), e.logs.FilterMessage("sessions ended").All()
					if n == 20 {
						if each != n || len(together) != 0 {
							e.Errorf("%d lines, and %v", each, together)
						}
						return
					}
					want := map[string]any{"sessions": int64(n), "event": test.event}
					if test.hash != "" {
						want["subject_hash"] = test.hash
					}
					if each != 0 || len(together) != 1 || together[0].Level != zap.InfoLevel || !maps.Equal(together[0].ContextMap(), want) {
						e.Errorf("%d lines, and %v, want %v", each, together, want)
					}
					e.counted(session.Event(test.event), n)
					if got := e.notices[session.Event(test.event)]; got != n {
						e.Errorf("%d were told", got)
					}
				})
			})
		}
	}
}

// What a store does not answer is done again.
func TestRevokeOthersWithoutAnAnswer(t *testing.T) {
	for _, fault := range []string{"before", "after"} {
		bubble(t, nil, func(e *env) {
			other, own := e.create(`{"user":"alice"}`), e.create(`{"user":"alice"}`)
			if fault == "before" {
				e.faults(once(failing("DeleteMany")), nil, nil)
			} else {
				e.faults(nil, once(failing("DeleteMany")), nil)
			}
			e.commit(own, control("revoke-others"))
			e.dead(other)
			e.live(own)
			e.counted(session.EventRevoked, 1)
		})
	}
}

// An attempt that was not replicated leaves nothing to end to the next one,
// which must not take that for success.
func TestRevokeOthersIsNotReplicatedUntilTheStoreSaysSo(t *testing.T) {
	bubble(t, nil, func(e *env) {
		other, own := e.create(`{"user":"alice"}`), e.create(`{"user":"alice"}`)
		e.faults(nil, func(op, _ string) error {
			if op == "DeleteMany" {
				return session.ErrNotReplicated
			}
			return nil
		}, nil)
		for range 2 {
			if _, err := e.try(own, control("revoke-others")); !errors.Is(err, session.ErrNotReplicated) {
				e.Errorf("got error %v", err)
			}
		}
		e.faults(nil, nil, nil)
		e.dead(other)
		e.commit(own, control("revoke-others"))
	})
}

func TestEndSubject(t *testing.T) {
	bubble(t, nil, func(e *env) {
		kept, elsewhere, bob := e.create(`{"user":"alice"}`), e.elsewhere(`{"user":"alice"}`), e.create(`{"user":"bob"}`)
		for range 2500 {
			e.create(`{"user":"alice"}`)
		}
		for i, want := range []int{2500, 0} {
			if n, err := e.operator.EndSubject(context.Background(), e.site.Realm, "alice", kept.ID()); n != want || err != nil {
				e.Errorf("call %d ended %d, error %v; want %d", i, n, err, want)
			}
		}
		e.live(kept)
		e.live(bob)
		if n, err := e.operator.EndSubject(context.Background(), e.site.Realm, "alice", ""); n != 1 || err != nil {
			e.Errorf("%d were ended, error %v; want 1", n, err)
		}
		e.dead(kept)
		if e.dump()[elsewhere.ID()] == "" {
			e.Error("the session in the other realm was ended")
		}
		e.counted(session.EventEnded, 2501)
		e.faults(failing("Indexed"), nil, nil)
		if _, err := e.operator.EndSubject(context.Background(), e.site.Realm, "bob", ""); !errors.Is(err, errBroken) {
			e.Errorf("got error %v", err)
		}
	})
}

func TestSubjectMaxEndsTheOldestSignIn(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.MaxSessions = 3 }, func(e *env) {
		var all []*session.Session
		visitor := e.create(`{}`) // made first, signs in last
		bob, elsewhere := e.create(`{"user":"bob"}`), e.elsewhere(`{"user":"alice"}`)
		for range 3 {
			time.Sleep(time.Second)
			all = append(all, e.create(`{"user":"alice"}`))
		}
		time.Sleep(time.Second)
		e.commit(all[0], set(`{"a":1}`)) // being used is not signing in
		own := e.commit(visitor, set(`{"user":"alice"}`)).Session
		e.dead(all[0])
		for _, s := range []*session.Session{all[1], all[2], own, bob} {
			e.live(s)
		}
		if e.dump()[elsewhere.ID()] == "" {
			e.Error("the session in the other realm was ended")
		}
		e.counted(session.EventEvicted, 1)
		if got := e.filed("alice"); len(got) != 3 {
			e.Errorf("filed under alice: %q", got)
		}
	})
}

func TestSubjectMaxLoweredEndsAllAbove(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for range 5 {
			e.create(`{"user":"alice"}`)
		}
		policy := e.policy
		policy.MaxSessions = 1
		strict := newEnv(e.T, policy, e.store.Store)
		own := strict.create(`{"user":"alice"}`)
		if all := e.dump(); len(all) != 1 || all[own.ID()] == "" {
			e.Errorf("%d sessions are left", len(all))
		}
	})
}

func TestFailureToEvictDoesNotFailTheCommit(t *testing.T) {
	for _, op := range []string{"Indexed", "DeleteMany"} {
		bubble(t, func(p *session.Policy) { p.MaxSessions = 1 }, func(e *env) {
			e.create(`{"user":"alice"}`)
			e.faults(failing(op), nil, nil)
			own := e.create(`{"user":"alice"}`)
			e.faults(nil, nil, nil)
			e.live(own)
			if e.logs.FilterLevelExact(2).Len() != 1 { // error
				e.Errorf("%s fails, and nothing is in the log", op)
			}
		})
	}
}

func TestIndexFollowsTheSubject(t *testing.T) {
	bubble(t, nil, func(e *env) {
		steps := []struct {
			patch      func(*env) *session.Patch
			alice, bob int
		}{
			{set(`{}`), 0, 0},
			{set(`{"user":"alice"}`), 1, 0},
			{control("renew"), 1, 0},
			{control("max-age=864000"), 1, 0},
			{set(`{"user":"bob"}`), 0, 1},
			{setControl(`{"user":"alice"}`, "clear"), 1, 0},
			{set(`{"user":null}`), 0, 0},
			{set(`{"user":"bob"}`), 0, 1},
			{control("destroy"), 0, 0},
		}
		var s *session.Session
		for i, step := range steps {
			s = e.commit(s, step.patch).Session
			for subject, want := range map[string]int{"alice": step.alice, "bob": step.bob} {
				got := e.filed(subject)
				if len(got) != want || want == 1 && got[0] != s.ID() {
					e.Errorf("step %d: filed under %s: %q, want %d of %v", i, subject, got, want, s)
				}
			}
		}
	})
}

// The index entry must outlive a remembered session.
func TestRememberedSessionStaysFiled(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.commit(nil, setControl(`{"user":"alice"}`, "max-age=864000")).Session
		late := e.create(`{"user":"bob"}`)
		e.commit(late, control("max-age=864000"))
		time.Sleep(9 * 24 * time.Hour)
		for i := range 200 { // enough to have the store sweep
			e.create(fmt.Sprintf(`{"user":"u%d"}`, i))
		}
		e.commit(nil, setControl(`{"user":"alice"}`, "revoke-others"))
		e.commit(nil, setControl(`{"user":"bob"}`, "revoke-others"))
		e.dead(s)
		e.dead(late)
	})
}

func TestDanglingAndForeignIndexEntriesMeanNothing(t *testing.T) {
	bubble(t, func(p *session.Policy) { p.MaxSessions = 2 }, func(e *env) {
		// As a lost race of two sign-ins leaves it: an id filed under the
		// subject that it does not have.
		bob := e.create(`{"user":"bob"}`)
		for _, id := range []string{bob.ID(), session.NewToken().ID} {
			entry := session.Entry{
				Version: 1, Value: session.AppendHead(nil, 1), TTL: time.Minute,
				IndexKey: session.IndexKey(e.site.Realm, "alice"), Deadline: time.Now().Add(time.Hour),
			}
			if id == bob.ID() {
				entry.Value = []byte(e.dump()[id])
				entry.TTL = time.Hour
				if err := e.store.Store.Put(context.Background(), id, 1, entry); err != nil {
					e.Fatal(err)
				}
				continue
			}
			if err := e.store.Store.Put(context.Background(), id, 0, entry); err != nil {
				e.Fatal(err)
			}
		}
		own := e.create(`{"user":"alice"}`)
		other := e.create(`{"user":"alice"}`)
		e.live(own)
		e.commit(other, control("revoke-others"))
		e.live(bob)
		e.counted(session.EventEvicted, 0)
		e.counted(session.EventRevoked, 1)
	})
}
