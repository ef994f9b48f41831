package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// gated commits patches of sessions in parallel: all of them arrive, in order,
// while the first one's write is under way, and then everything goes on. No other
// time passes than what the store takes.
func (e *env) gated(of func(int) *session.Session, patches ...func(*env) *session.Patch) ([]session.Result, []error) {
	e.Helper()
	gate, before := make(chan struct{}), e.store.before
	first := once(func(op, _ string) error {
		if op != "Put" {
			return nil
		}
		<-gate
		return errBroken // so that it is the only one
	})
	e.faults(func(op, id string) error {
		if first(op, id) == nil && before != nil {
			return before(op, id)
		}
		return nil
	}, e.store.after, nil)
	results, errs := make([]session.Result, len(patches)), make([]error, len(patches))
	var wg sync.WaitGroup
	for i, p := range patches {
		wg.Go(func() { results[i], errs[i] = e.try(of(i), p) })
		synctest.Wait()
	}
	close(gate)
	wg.Wait()
	return results, errs
}

func always(s *session.Session) func(int) *session.Session {
	return func(int) *session.Session { return s }
}

// keys are n patches that each set a key of their own.
func keys(n int) (patches []func(*env) *session.Patch) {
	for i := range n {
		patches = append(patches, set(fmt.Sprintf(`{"k%d":1}`, i)))
	}
	return patches
}

func TestWaitingCommitsAreWrittenAsOne(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		var results []session.Result
		calls := e.calls(func() {
			var errs []error
			if results, errs = e.gated(always(s), keys(20)...); errors.Join(errs...) != nil {
				e.Fatal(errors.Join(errs...))
			}
		})
		if calls["Put"] != 2 || calls["Get"] != 1 {
			e.Errorf("called %v, want one write, and one of the nineteen that waited for it", calls)
		}
		for i, r := range results {
			// As if each had been written by itself.
			if !r.Committed || r.Outcome != session.EventPatched || r.Cookie != session.CookieKeep || r.Session.Version() != uint64(i+2) ||
				strings.Count(string(r.Session.Data()), ":1") != i+1 || !r.Session.Expires().Equal(time.Now().Add(e.policy.Idle)) {
				e.Errorf("commit %d: got %+v, version %d, data %s", i, r, r.Session.Version(), r.Session.Data())
			}
		}
		if got := e.live(s); got.Version() != 21 || strings.Count(string(got.Data()), ":1") != 20 {
			e.Errorf("version %d, data %s", got.Version(), got.Data())
		}
		e.counted(session.EventPatched, 20)
		e.counted(session.EventConflict, 0)
	})
}

// What a patch asks for, and what is wrong with it, is its own.
func TestEachOfTheWaitingHasItsOwnVerdict(t *testing.T) {
	large := `{"large":"` + strings.Repeat("x", 480) + `"}`
	malformed := func(err error) bool {
		var m *session.MalformedError
		return errors.As(err, &m)
	}
	for name, test := range map[string]struct {
		patch  func(*env) *session.Patch
		err    func(error) bool
		want   session.Result // but for the session
		puts   int
		before uint64 // commits of the session that the patch comes after; 0: it is not told
	}{
		"over max_data":  {set(large), malformed, session.Result{}, 2, 0},
		"if-version, no": {setControl(`{"own":1}`, "if-version=1"), func(err error) bool { return errors.Is(err, session.ErrVersion) }, session.Result{}, 3, 0},
		"if-version":     {setControl(`{"own":1}`, "if-version=3"), nil, session.Result{Committed: true, Outcome: session.EventPatched}, 4, 3},
		"no-touch":       {setControl(`{"own":1}`, "no-touch"), nil, session.Result{Committed: true, Outcome: session.EventPatched}, 4, 3},
		"max-age":        {control("max-age=60"), nil, session.Result{Committed: true, Outcome: session.EventPatched, Cookie: session.CookieSet}, 4, 3},
		"label": {func(*env) *session.Patch { l := "x"; return &session.Patch{Label: &l} }, nil,
			session.Result{Committed: true, Outcome: session.EventPatched}, 2, 0},
		"a cookie too late": {func(e *env) *session.Patch { p := e.patch("", "", "renew"); p.NoCookie = true; return p },
			func(err error) bool { return errors.Is(err, session.ErrCookie) }, session.Result{}, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(p *session.Policy) { p.MaxData = 500 }, func(e *env) {
				s := e.create(`{}`)
				patches := slices.Insert(keys(4), 2, test.patch)
				calls := e.calls(func() {
					results, errs := e.gated(always(s), patches...)
					r, err := results[2], errs[2]
					if errs[2] = nil; errors.Join(errs...) != nil {
						e.Errorf("the others: %v", errors.Join(errs...))
					}
					if (err != nil) != (test.err != nil) || err != nil && !test.err(err) {
						e.Errorf("got %+v, error %v", r, err)
					}
					if test.before > 0 && r.Session.Version() != test.before+1 {
						e.Errorf("version %d, want %d", r.Session.Version(), test.before+1)
					}
					if r.Session = nil; r != test.want {
						e.Errorf("got %+v, want %+v", r, test.want)
					}
				})
				if calls["Put"] != test.puts {
					e.Errorf("%d writes, want %d", calls["Put"], test.puts)
				}
				if got := e.live(s); strings.Count(string(got.Data()), `"k`) != 4 {
					e.Errorf("the others have left %s", got.Data())
				}
			})
		})
	}
}

// What was loaded before a renewal is dropped, if it waited for that.
func TestWaitingForAnEndOrARenewal(t *testing.T) {
	for name, test := range map[string]struct {
		patch func(*env) *session.Patch
		event session.Event
	}{
		"renew":    {control("renew"), session.EventRenewed},
		"sign in":  {set(`{"user":"alice"}`), session.EventRenewed},
		"clear":    {control("clear"), session.EventReplaced},
		"destroy":  {control("destroy"), session.EventDestroyed},
		"sign out": {set(`{"user":null}`), session.EventReplaced},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{}`)
				if name == "sign out" {
					s = e.create(`{"user":"bob"}`)
				}
				results, errs := e.gated(always(s), slices.Insert(keys(6), 3, test.patch)...)
				if errors.Join(errs...) != nil {
					e.Fatal(errors.Join(errs...))
				}
				for i, r := range results {
					want := test.event
					switch {
					case i < 3:
						want = session.EventPatched
					case i > 3:
						want = session.EventDropped
					}
					if r.Outcome != want {
						e.Errorf("patch %d: got %+v, want %s", i, r, want)
					}
				}
				e.dead(s)
			})
		})
	}
}

// Who waits with a secret from before a renewal is not taken along by who has the one
// of today.
func TestALateCommitIsNotTakenAlong(t *testing.T) {
	bubble(t, nil, func(e *env) {
		old := e.create(`{}`)
		s := e.commit(old, control("renew")).Session
		results, errs := e.gated(func(i int) *session.Session {
			if i%2 == 1 {
				return old
			}
			return s
		}, keys(7)...)
		if errors.Join(errs...) != nil {
			e.Fatal(errors.Join(errs...))
		}
		for i, r := range results {
			if late := i%2 == 1; (r.Outcome == session.EventDropped) != late {
				e.Errorf("patch %d: got %+v", i, r)
			}
		}
		e.data(s, `{"k0":1,"k2":1,"k4":1,"k6":1}`)
	})
}

// What becomes of the one write becomes of all its patches.
func TestTheGroupHasOneAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		before, after    error
		outcome          session.Event
		gets, puts, fail int
	}{
		"not done":         {before: session.NotDone(errBroken), gets: 1, puts: 1, fail: 4},
		"the answer lost":  {after: errBroken, outcome: session.EventPatched, gets: 2, puts: 1},
		"nothing arrives":  {before: errBroken, gets: 3, puts: 2, fail: 4}, // tried again, and read again
		"ended elsewhere":  {before: session.ErrNotFound, outcome: session.EventDropped, gets: 1, puts: 1},
		"not replicated":   {after: session.ErrNotReplicated, gets: 1, puts: 1, fail: 4},
		"endless conflict": {before: session.ErrConflict, fail: 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				s := e.create(`{}`)
				puts := 0
				e.faults(func(op, _ string) error {
					if op == "Put" {
						return test.before
					}
					return nil
				}, func(op, _ string) error {
					if op == "Put" {
						puts++
					}
					if op != "Put" || puts == 1 {
						return nil
					}
					return test.after
				}, nil)
				start := time.Now()
				calls := e.calls(func() {
					results, errs := e.gated(always(s), keys(5)...)
					for i, r := range results[1:] {
						if (errs[i+1] != nil) != (test.fail > 0) || r.Outcome != test.outcome {
							e.Errorf("patch %d: got %+v, error %v", i+1, r, errs[i+1])
						}
					}
				})
				e.counted(session.EventFailed, test.fail)
				if name == "endless conflict" {
					if took := time.Since(start); took > 2500*time.Millisecond {
						e.Errorf("it took %v", took)
					}
					return
				}
				if calls["Put"] != 1+test.puts || calls["Get"] != test.gets {
					e.Errorf("called %v, want %d Put and %d Get", calls, 1+test.puts, test.gets)
				}
			})
		})
	}
}

// A conflict of the one write is one conflict, and each patch has met it.
func TestAGroupThatConflicts(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		other := newEnv(e.T, e.policy, e.store.Store)
		e.faults(once(func(op, _ string) error {
			if op != "Put" {
				return nil
			}
			other.commit(s, set(`{"other":1}`))
			return session.ErrConflict
		}), nil, nil)
		results, errs := e.gated(always(s), keys(6)...)
		if errors.Join(errs...) != nil {
			e.Fatal(errors.Join(errs...))
		}
		for i, r := range results[1:] {
			if r.Retries != 1 {
				e.Errorf("patch %d: %+v", i+1, r)
			}
		}
		if got := e.live(s); got.Version() != 8 || strings.Count(string(got.Data()), ":1") != 7 {
			e.Errorf("version %d, data %s", got.Version(), got.Data())
		}
		e.counted(session.EventConflict, 1)
	})
}

// Whoever came first and leads has less time left than those who came later.
func TestTheGroupHasTheTimeOfItsLast(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{}`)
		takes := []time.Duration{1900 * time.Millisecond, time.Second}
		e.faults(func(op, _ string) error {
			if op == "Put" {
				time.Sleep(takes[0])
				takes = takes[1:]
			}
			return nil
		}, nil, nil)
		var wg sync.WaitGroup
		for i, wait := range []time.Duration{0, time.Second, time.Second} {
			wg.Go(func() { e.commit(s, set(fmt.Sprintf(`{"k%d":1}`, i))) })
			synctest.Wait()
			time.Sleep(wait)
		}
		wg.Wait()
		if got := e.live(s); strings.Count(string(got.Data()), ":1") != 3 {
			e.Errorf("data %s", got.Data())
		}
	})
}

// Patches on a session whose data was left in the store lose none of it when they are
// written as one, wherever the limit is passed meanwhile.
func TestAGroupOnUnreadData(t *testing.T) {
	apiBubble(t, func(e *env) {
		short := func(*env) *session.Patch {
			return &session.Patch{Set: []map[string]any{{"text": "short"}}}
		}
		long := set(`{"text":"` + strings.Repeat("y", 50_000) + `"}`)
		edit := func(*env) *session.Patch {
			return &session.Patch{Edit: func([]byte) (map[string]any, any) { return map[string]any{"jar": strings.Repeat("j", 100)}, "edited" }}
		}
		label := func(*env) *session.Patch { l := "of Sales"; return &session.Patch{Label: &l} }
		for name, test := range map[string]struct {
			begins string
			last   func(*env) *session.Patch
			text   int
		}{
			"it shrinks":        {large("alice"), short, 5},
			"both":              {large("alice"), set(`{"n":1}`), 50_000},
			"it grows":          {`{"lang":"fr","user":"alice"}`, long, 50_000},
			"shrinks and grows": {large("alice"), func(e *env) *session.Patch { p := short(e); p.Set = append(p.Set, long(e).Set...); return p }, 50_000},
		} {
			s := e.live(e.create(test.begins))
			if s.Unread() != (len(test.begins) > 10_000) {
				t.Fatal(name, s.Unread())
			}
			var results []session.Result
			calls := e.calls(func() {
				var errs []error
				results, errs = e.gated(always(s), set(`{"a":1}`), set(`{"b":1}`), edit, label, short, set(`{"c":1}`), long, test.last, set(`{"d":1}`))
				if errors.Join(errs...) != nil {
					t.Fatal(name, errors.Join(errs...))
				}
			})
			if calls["Put"] != 2 {
				t.Errorf("%s: %v", name, calls)
			}
			if results[2].Edited != "edited" {
				t.Errorf("%s: the jar's commit is told %v", name, results[2].Edited)
			}
			got := e.whole(e.asked(s.Token()))
			text, _ := got.Text("text")
			if len(text) != test.text || !got.Has("a", "1") || !got.Has("b", "1") || !got.Has("c", "1") || !got.Has("d", "1") || !got.Has("lang", "fr") ||
				len(got.PrivateValue("jar")) != 102 || got.Label() != "of Sales" || got.Subject() != "alice" {
				t.Errorf("%s: %d bytes of text, label %q, jar of %d bytes", name, len(text), got.Label(), len(got.PrivateValue("jar")))
			}
			if unread := e.asked(s.Token()).Unread(); unread != (len(text) > 4096) {
				t.Errorf("%s: unread %v", name, unread)
			}
		}
	})
}

// Whatever ends those that wait, or breaks who writes, nobody waits for ever, and what
// was said to be saved is.
func TestWaitingSurvivesEndsAndPanics(t *testing.T) {
	bubble(t, nil, func(e *env) {
		sessions := []*session.Session{e.create(`{}`), e.create(`{}`), e.create(`{}`)}
		var puts atomic.Int64
		e.faults(func(op, _ string) error {
			if op == "Put" {
				time.Sleep(20 * time.Millisecond)
				if puts.Add(1)%3 == 0 {
					panic("broken")
				}
			}
			return nil
		}, nil, nil)
		var saved sync.Map
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%150)*time.Millisecond)
				defer cancel()
				defer func() { recover() }()
				key := fmt.Sprintf("k%d", i)
				p := &session.Patch{Set: []map[string]any{{key: 1}}}
				if r, err := e.Commit(ctx, e.site, sessions[i%3], p, time.Now()); err == nil && r.Committed {
					saved.Store(key, sessions[i%3])
				}
			})
		}
		wg.Wait()
		n := 0
		saved.Range(func(key, of any) bool {
			n++
			if !e.live(of.(*session.Session)).Has(key.(string)) {
				t.Errorf("%s was said to be saved", key)
			}
			return true
		})
		if n < 3 {
			t.Errorf("only %d of 400 were saved", n)
		}
		e.faults(nil, nil, nil)
		for _, s := range sessions {
			e.commit(s, set(`{"after":1}`)) // the lock is free
		}
	})
}
