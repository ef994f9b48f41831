package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

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
			nodes = append(nodes, newEnv(e.T, e.policy, e.store.Store))
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
		{"idle", func(e *env, s *session.Session) { time.Sleep(e.policy.Idle) }},
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

// dump returns all sessions that are stored.
func (e *env) dump() map[string]string {
	all := map[string]string{}
	ids, _, err := e.store.Store.List(context.Background(), "", 1000)
	if err != nil {
		e.Fatal(err)
	}
	for _, id := range ids {
		if entry, err := e.store.Store.Get(context.Background(), id); err == nil && !session.Replaced(entry.Value) {
			all[id] = string(entry.Value)
		}
	}
	return all
}

func TestSlowCommitKnowsALaterDeadline(t *testing.T) {
	bubble(t, nil, func(e *env) {
		slow := e.commit(nil, setControl(`{}`, "max-age=60")).Session
		e.commit(slow, control("max-age=3600"))
		time.Sleep(2 * time.Minute)
		e.data(e.commit(slow, set(`{"a":1}`)).Session, `{"a":1}`)
	})
}

func TestOneWinnerWhenTheIDIsReplaced(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		nodes := []*env{e, newEnv(e.T, e.policy, e.store.Store)}
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

func TestFailureBetweenTombstoneAndCreateSignsOut(t *testing.T) {
	for _, failure := range []error{errBroken, session.ErrConflict, session.ErrNotFound} {
		bubble(t, nil, func(e *env) {
			s := e.create(`{"user":"alice"}`)
			e.faults(func(op, id string) error {
				if op == "Put" && id != s.ID() {
					return failure
				}
				return nil
			}, nil, nil)
			if r, err := e.try(s, control("clear")); err == nil {
				e.Errorf("%v: got %+v, no error", failure, r)
			}
			e.faults(nil, nil, nil)
			e.dead(s)
			if n := len(e.dump()); n != 0 {
				e.Errorf("%d sessions are left", n)
			}
			e.counted(session.EventFailed, 1)
			e.counted(session.EventConflict, 0)
		})
	}
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
					// What has to survive a failover is done again, to know.
					want := 1
					switch {
					case op.op == "Delete" || op.name == "renew":
						want = 2
					case op.name == "replace, create": // the tombstone twice
						want = 3
					}
					if calls[op.op] != want {
						e.Errorf("%s was called %d times, want %d", op.op, calls[op.op], want)
					}
					// It was not done, however often it was tried.
					e.faults(nil, nil, nil)
					s = start()
					before := e.dump()
					e.faults(failing(op.op), nil, nil)
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

// An update that got lost, and was not done, is tried once more. Whatever
// became of it then, the outcome is the truth.
func TestLostUpdateIsTriedAgain(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for _, again := range []error{nil, errBroken} {
			s := e.create(`{"a":1}`)
			puts := 0
			e.faults(func(op, _ string) error {
				if op != "Put" {
					return nil
				}
				if puts++; puts == 1 {
					return errBroken
				}
				return nil
			}, func(op, _ string) error {
				if op == "Put" {
					return again
				}
				return nil
			}, nil)
			r := e.commit(s, set(`{"b":1}`))
			e.faults(nil, nil, nil)
			if puts != 2 || r.Session.Version() != s.Version()+1 || string(e.live(r.Session).Data()) != `{"a":1,"b":1}` {
				e.Errorf("after %d writes: %+v", puts, r)
			}
		}
	})
}

// Whoever can't tell that it was its own tombstone must not go on from the data:
// the session may have been destroyed.
func TestReplacementNeedsItsOwnTombstone(t *testing.T) {
	first := func(lost func(e *env, s *session.Session)) func(e *env, s *session.Session) {
		return func(e *env, s *session.Session) {
			e.faults(once(func(op, _ string) error {
				if op != "Put" {
					return nil
				}
				lost(e, s)
				return errBroken
			}), nil, nil)
		}
	}
	for name, test := range map[string]struct {
		lost func(e *env, s *session.Session)
		err  error // nil: the session was replaced, or had ended
		left int   // sessions
	}{
		"its own":             {func(e *env, _ *session.Session) { e.faults(nil, once(failing("Put")), nil) }, nil, 1},
		"another's end":       {first(func(e *env, s *session.Session) { e.store.Store.Delete(e.Context(), s.ID(), 0) }), errBroken, 0},
		"another's tombstone": {first(func(e *env, s *session.Session) { newEnv(e.T, e.policy, e.store.Store).commit(s, control("clear")) }), errBroken, 1},
		"another's commit":    {first(func(e *env, s *session.Session) { newEnv(e.T, e.policy, e.store.Store).commit(s, set(`{"b":1}`)) }), errBroken, 1},
		"another's, in between": {func(e *env, s *session.Session) {
			puts := 0
			e.faults(func(op, id string) error {
				if op != "Put" {
					return nil
				}
				if puts++; puts == 1 {
					return errBroken
				}
				e.store.Store.Delete(e.Context(), id, 0)
				return nil
			}, nil, nil)
		}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, patch := range []func(*env) *session.Patch{set(`{"user":null}`), setControl(`{"new":1}`, "clear")} {
				bubble(t, nil, func(e *env) {
					s := e.create(`{"user":"alice","secret":"x"}`)
					test.lost(e, s)
					r, err := e.try(s, patch)
					if !errors.Is(err, test.err) {
						e.Errorf("got %+v, %v", r, err)
					}
					e.faults(nil, nil, nil)
					if name != "another's commit" {
						e.dead(s)
					}
					left := e.dump()
					if len(left) != test.left || (r.Session != nil) != (name == "its own") {
						e.Errorf("got %+v, and %d sessions live on", r, len(left))
					}
				})
			}
		})
	}
}

// A store that is full may refuse a tombstone. It never refuses a deletion.
func TestSignOutWithoutRoomForATombstone(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for _, patch := range []func(*env) *session.Patch{set(`{"user":null}`), control("clear")} {
			s := e.create(`{"user":"alice"}`)
			e.faults(func(op, id string) error {
				if op == "Put" && id == s.ID() {
					return errBroken
				}
				return nil
			}, nil, nil)
			if r := e.commit(s, patch); r.Outcome != session.EventReplaced {
				e.Errorf("got %+v", r)
			}
			e.faults(nil, nil, nil)
			e.dead(s)
		}
		e.counted(session.EventStale, 0)
	})
}

func TestLostDeletionIsTriedAgain(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for op, patch := range map[string]func(*env) *session.Patch{"Delete": control("destroy"), "Put": setControl(`{"b":1}`, "clear")} {
			s := e.create(`{"a":1}`)
			e.faults(once(failing(op)), nil, nil)
			calls := e.calls(func() { e.commit(s, patch) })
			e.faults(nil, nil, nil)
			want := map[string]int{"Delete": 2, "Put": 3} // with the new session
			if calls[op] != want[op] {
				e.Errorf("calls %v", calls)
			}
			e.dead(s)
		}
	})
}

// What was written, but not where it would survive a failover, is an error, and
// is not looked up.
func TestNotReplicatedIsAnError(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for op, patch := range map[string]func(*env) *session.Patch{"Put": control("renew"), "Delete": control("destroy")} {
			s := e.create(`{"a":1}`)
			e.faults(nil, func(o, _ string) error {
				if o == op {
					return session.ErrNotReplicated
				}
				return nil
			}, nil)
			calls := e.calls(func() {
				if _, err := e.try(s, patch); !errors.Is(err, session.ErrNotReplicated) {
					e.Errorf("%s: error %v", op, err)
				}
			})
			e.faults(nil, nil, nil)
			if calls["Get"] != 0 || calls[op] != 1 {
				e.Errorf("%s: calls %v", op, calls)
			}
			e.dead(s)
		}
	})
}

// Nor is what was done for sure, but whose answer got lost.
func TestLostAnswerMayBeNotReplicated(t *testing.T) {
	bubble(t, nil, func(e *env) {
		for op, patch := range map[string]func(*env) *session.Patch{"Put": control("renew"), "Delete": control("destroy")} {
			s := e.create(`{"a":1}`)
			answers := []error{errBroken, session.ErrNotReplicated}
			e.faults(nil, func(o, _ string) error {
				if o != op {
					return nil
				}
				answer := answers[0]
				answers = answers[1:]
				return answer
			}, nil)
			if _, err := e.try(s, patch); !errors.Is(err, session.ErrNotReplicated) {
				e.Errorf("%s: error %v", op, err)
			}
			e.faults(nil, nil, nil)
			e.dead(s)
		}
	})
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

// The store that took the answer away is back within half a second.
func TestTheDecidingReadWaitsForTheStore(t *testing.T) {
	for _, back := range []time.Duration{400 * time.Millisecond, 700 * time.Millisecond} {
		bubble(t, nil, func(e *env) {
			s := e.create(`{"a":1}`)
			start := time.Now()
			e.faults(nil, func(op, _ string) error {
				if op == "Put" || op == "Get" && time.Since(start) < back {
					return errBroken
				}
				return nil
			}, nil)
			r, err := e.try(s, set(`{"b":1}`))
			if took := time.Since(start); took > 600*time.Millisecond {
				e.Errorf("it took %v", took)
			}
			e.faults(nil, nil, nil)
			switch {
			case back < 500*time.Millisecond && err == nil:
				e.data(r.Session, `{"a":1,"b":1}`)
			case back < 500*time.Millisecond || !errors.Is(err, errBroken):
				e.Errorf("the store is back after %v: error %v", back, err)
			}
		})
	}
}

// A creation whose answer got lost is done again, as another session: the first
// one may still come.
func TestCreationIsTriedAgainUnderAnotherID(t *testing.T) {
	bubble(t, nil, func(e *env) {
		var ids []string
		e.faults(func(op, id string) error {
			if op == "Put" {
				if ids = append(ids, id); len(ids) == 1 {
					return errBroken
				}
			}
			return nil
		}, nil, nil)
		s := e.create(`{"user":"alice"}`)
		if len(ids) != 2 || ids[0] == ids[1] || s.ID() != ids[1] {
			e.Errorf("created were %q, the session is %v", ids, s)
		}
		e.live(s)
		e.counted(session.EventCreated, 1)

		e.faults(failing("Put"), nil, nil)
		calls := e.calls(func() {
			if _, err := e.try(nil, set(`{}`)); !errors.Is(err, errBroken) {
				e.Errorf("error %v", err)
			}
		})
		if calls["Put"] != 2 {
			e.Errorf("%d attempts, want 2", calls["Put"])
		}
	})
}

// Where the store knows that it did nothing, nothing is read, and no write is tried
// again.
func TestNotDone(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"a":1}`)
		e.faults(func(op, _ string) error {
			if op != "Get" {
				return session.NotDone(errBroken)
			}
			return nil
		}, nil, nil)
		for name, test := range map[string]struct {
			s     *session.Session
			patch func(*env) *session.Patch
		}{
			"create": {nil, set(`{}`)}, "update": {s, set(`{"b":1}`)}, "clear": {s, control("clear")}, "destroy": {s, control("destroy")},
		} {
			calls := e.calls(func() {
				_, err := e.try(test.s, test.patch)
				if !errors.Is(err, errBroken) || !errors.Is(err, session.ErrNotDone) || strings.Contains(err.Error(), session.ErrNotDone.Error()) {
					e.Errorf("%s: error %v", name, err)
				}
			})
			want := 1
			if name == "clear" { // what has no room for a tombstone may have it for a deletion
				want = 2
			}
			if n := calls["Get"] + calls["Put"] + calls["Delete"]; n != want || calls["Get"] > 0 {
				e.Errorf("%s took %v", name, calls)
			}
		}
		e.faults(nil, nil, nil)
		e.data(s, `{"a":1}`)
		if session.NotDone(nil) != nil {
			e.Error("no error is one")
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
				if op == "Delete" {
					patch = control("destroy")
				}
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

// if-version is about what is stored, not about what the request was opened
// with: that may come from memory, or a parallel request has committed since.
func TestIfVersionIsWhatIsStored(t *testing.T) {
	bubble(t, nil, func(e *env) {
		old := e.create(`{"a":1}`)
		e.commit(old, set(`{"b":1}`))
		r, err := e.try(old, setControl(`{"c":1}`, "if-version=2"))
		if err != nil {
			e.Fatal(err)
		}
		e.data(r.Session, `{"a":1,"b":1,"c":1}`)
		if _, err := e.try(old, setControl(`{"d":1}`, "if-version=1")); !errors.Is(err, session.ErrVersion) {
			e.Errorf("the version before: error %v", err)
		}
		if _, err := e.try(old, setControl(`{"d":1}`, "if-version=4")); !errors.Is(err, session.ErrVersion) {
			e.Errorf("a version to come: error %v", err)
		}
	})
}

// In one process commits on one session wait for each other, so none of them
// is tried in vain, and those that have waited are written as one.
func TestParallelCommitsDoNotConflict(t *testing.T) {
	bubble(t, nil, func(e *env) {
		const parallel = 10
		s := e.create(`{}`)
		e.faults(func(string, string) error {
			time.Sleep(time.Millisecond)
			return nil
		}, nil, nil)
		calls := e.calls(func() {
			var wg sync.WaitGroup
			for i := range parallel {
				wg.Go(func() { e.commit(s, set(fmt.Sprintf(`{"k%d":1}`, i))) })
			}
			wg.Wait()
		})
		e.faults(nil, nil, nil)
		e.counted(session.EventConflict, 0)
		if calls["Put"] != 2 || calls["Get"] != 1 {
			e.Errorf("called %v, want a Put for the first, and one with a Get for those that have waited", calls)
		}
		if got := e.live(s); got.Version() != parallel+1 {
			e.Errorf("version %d", got.Version())
		}
	})
}
