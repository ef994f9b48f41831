package session_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// load loads as a request with this token does, and returns where its response is
// committed.
func (e *env) load(t session.Token) (*session.Session, session.Site) {
	e.Helper()
	s, stale, err := e.Load(context.Background(), e.site, []session.Token{t}, time.Now())
	cached, cachedStale, cachedErr := e.LoadCached(context.Background(), e.site, []session.Token{t}, time.Now())
	if err != nil || cachedErr != nil || stale != cachedStale || (s == nil) != (cached == nil) {
		e.Fatalf("got %v, %t, %v; from memory %v, %t, %v", s, stale, err, cached, cachedStale, cachedErr)
	}
	site := e.site
	site.NoAnonymous = stale
	return s, site
}

// How a session goes on under another token.
var replacements = map[string]struct {
	start string
	patch func(*env) *session.Patch
	same  bool // id
}{
	"renew":              {`{}`, control("renew"), true},
	"sign-in":            {`{}`, set(`{"user":"alice"}`), true},
	"clear":              {`{}`, control("clear"), false},
	"another user":       {`{"user":"alice"}`, set(`{"user":"bob"}`), false},
	"sign-out":           {`{"user":"alice"}`, set(`{"user":null}`), false},
	"sign-out and clear": {`{"user":"alice"}`, setControl(`{"b":1}`, "clear"), false},
}

func TestStaleBeginsNothing(t *testing.T) {
	for name, test := range replacements {
		t.Run(name, func(t *testing.T) {
			nearBubble(t, func(e, other *env) {
				s := e.create(test.start)
				e.live(s) // into memory
				r := e.commit(s, test.patch)
				if (r.Session.ID() == s.ID()) != test.same {
					e.Fatalf("got %+v", r)
				}
				time.Sleep(time.Minute - time.Second)
				for _, node := range []*env{e, other} {
					before := e.dump()
					got, site := node.load(s.Token())
					if got != nil || !site.NoAnonymous {
						e.Fatalf("got %v, stale %t", got, site.NoAnonymous)
					}
					for _, patch := range []func(*env) *session.Patch{
						set(`{}`), set(`{"a":1}`), control("destroy"), control("clear"), control("renew"), setControl(`{"a":1}`, "clear, max-age=60, revoke-others"),
						edit(func([]byte) map[string]any { return map[string]any{"jar": 1} }), set(`{"user":null}`),
					} {
						r, err := node.Commit(e.Context(), site, got, patch(e), time.Now())
						if err != nil {
							t.Error(err)
						}
						e.nothing(r)
					}
					if !maps.Equal(before, e.dump()) {
						t.Errorf("the store has changed from %q to %q", before, e.dump())
					}
					r, err := node.Commit(e.Context(), site, got, setControl(`{"user":"carol"}`, "if-version=0")(e), time.Now())
					if err != nil || r.Outcome != session.EventCreated || r.Cookie != session.CookieSet || r.Session.ID() == s.ID() {
						t.Errorf("signing in: %+v, %v", r, err)
					}
				}
				e.live(r.Session)

				time.Sleep(time.Second)
				if got, site := e.load(s.Token()); got != nil || site.NoAnonymous {
					t.Errorf("after a minute: %v, stale %t", got, site.NoAnonymous)
				}
				e.counted(session.EventStale, 2)
				e.counted(session.EventForged, map[bool]int{true: 2}[test.same])
				e.counted(session.EventExpired, map[bool]int{false: 2}[test.same])
			})
		})
	}
}

// Of the secrets that were replaced in quick succession, the last ones are known.
func TestStaleSeveralTimes(t *testing.T) {
	bubble(t, nil, func(e *env) {
		all := []*session.Session{e.create(`{}`)}
		steps := []func(*env) *session.Patch{control("renew"), set(`{"user":"alice"}`), control("renew"), control("renew"), control("clear")}
		for _, patch := range steps {
			time.Sleep(time.Minute - time.Second)
			all = append(all, e.commit(all[len(all)-1], patch).Session)
		}
		for i, s := range all[:len(steps)] {
			if _, site := e.load(s.Token()); site.NoAnonymous != (i > 0) {
				e.Errorf("token %d: stale %t", i, site.NoAnonymous)
			}
		}
		e.live(all[len(steps)])

		s := e.commit(e.create(`{}`), control("renew")).Session
		old := s.Token()
		time.Sleep(time.Minute)
		next := e.commit(s, control("renew")).Session
		time.Sleep(time.Minute)
		last := e.commit(next, control("renew")).Session
		if _, site := e.load(old); site.NoAnonymous {
			e.Error("the secret of long ago is stale")
		}
		if _, site := e.load(next.Token()); !site.NoAnonymous {
			e.Error("the last secret is not stale")
		}
		e.live(last)
	})
}

// A live session among stale tokens is that session.
func TestLiveAmongStale(t *testing.T) {
	bubble(t, nil, func(e *env) {
		old := e.create(`{"user":"alice"}`)
		s := e.commit(old, set(`{"user":"bob"}`)).Session
		for _, tokens := range [][]session.Token{{old.Token(), s.Token()}, {s.Token(), old.Token()}} {
			got, stale, err := e.Load(e.Context(), e.site, tokens, time.Now())
			if err != nil || stale || got == nil || got.ID() != s.ID() {
				e.Errorf("got %v, stale %t, error %v", got, stale, err)
			}
		}
		got, stale, err := e.Load(e.Context(), e.site, []session.Token{session.NewToken(), old.Token()}, time.Now())
		if err != nil || !stale || got != nil {
			e.Errorf("got %v, stale %t, error %v", got, stale, err)
		}
	})
}

func TestNoAnonymous(t *testing.T) {
	bubble(t, nil, func(e *env) {
		e.site.NoAnonymous = true
		for _, patch := range []func(*env) *session.Patch{
			set(`{}`), set(`{"flash":"no"}`), set(`{"user":""}`), edit(func([]byte) map[string]any { return map[string]any{"jar": 1} }),
		} {
			calls := e.calls(func() {
				if r := e.commit(nil, patch); r != (session.Result{Outcome: session.EventDropped}) {
					e.Errorf("got %+v", r)
				}
			})
			if len(calls) != 0 {
				e.Errorf("store calls %v", calls)
			}
		}
		e.counted(session.EventDropped, 4)
		if n := e.logs.FilterMessageSnippet("not beginning a session").Len(); n != 4 {
			e.Errorf("%d lines in the log", n)
		}
		if _, err := e.try(nil, setControl(`{"a":1}`, "if-version=0")); !errors.Is(err, session.ErrVersion) {
			e.Errorf("if-version: error %v", err)
		}
		var malformed *session.MalformedError
		if _, err := e.try(nil, set(`{"user":"`+strings.Repeat("x", 1025)+`"}`)); !errors.As(err, &malformed) {
			e.Errorf("malformed: error %v", err)
		}
		// A session that is there may lose its user, and a user may come.
		s := e.commit(nil, set(`{"user":"alice"}`)).Session
		s = e.commit(s, set(`{"a":1}`)).Session
		e.live(e.commit(s, set(`{"user":null}`)).Session)
	})
}

// What is left of a session that was replaced is no session.
func TestTombstone(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		next := e.commit(s, set(`{"user":"bob"}`)).Session
		synctest.Wait()
		entry, err := e.store.Store.Get(e.Context(), s.ID())
		if err != nil || !session.Replaced(entry.Value) || entry.TTL != time.Minute || entry.Version != s.Version()+1 {
			e.Fatalf("stored: %q, %+v, %v", entry.Value, entry, err)
		}
		e.store.Store.Put(e.Context(), session.NewToken().ID, 0, session.Entry{Version: 1, Value: []byte("nonsense"), TTL: time.Hour})
		if other, err := e.store.Store.Get(e.Context(), next.ID()); err != nil || session.Replaced(other.Value) || session.Replaced(nil) || session.Replaced([]byte("nonsense")) {
			e.Errorf("others are replaced, or %v", err)
		}

		o := session.NewOperator(e.store, session.Observer{Notify: func(n session.Notice) { e.Errorf("told %v", n) }})
		if page, _, err := o.List(e.Context(), "", 10); err != nil || len(page) != 1 || page[0].ID != next.ID() {
			e.Errorf("listed %+v, %v", page, err)
		}
		if page, _, err := o.ListSubject(e.Context(), e.site.Realm, "alice", "", 10); err != nil || len(page) != 0 {
			e.Errorf("of alice %+v, %v", page, err)
		}
		if _, err := o.Show(e.Context(), s.ID()); !errors.Is(err, session.ErrNotFound) {
			e.Errorf("shown: %v", err)
		}
		if there, err := o.End(e.Context(), s.ID()); there || err != nil {
			e.Errorf("ended: %t, %v", there, err)
		}

		// Late responses of the old session leave it alone.
		e.nothing(e.commit(s, control("destroy")))
		e.nothing(e.commit(s, set(`{"a":1}`)))
		e.counted(session.EventDestroyed, 0)
		// So does a wrong secret, which is forged as ever.
		e.load(s.Token().Renew())
		e.counted(session.EventForged, 2)
		if after, err := e.store.Store.Get(e.Context(), s.ID()); err != nil || string(after.Value) != string(entry.Value) {
			e.Errorf("it has become %q, %v", after.Value, err)
		}
	})
}

// A request that is as old as no record remembers ends nothing either: the
// tombstone stays for those that are not.
func TestDestroyLongAfterARenewalAndAReplacement(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		renewed := e.commit(s, control("renew")).Session
		time.Sleep(2 * time.Minute)
		e.commit(renewed, control("clear"))
		if r := e.commit(s, control("destroy")); r != (session.Result{}) {
			e.Errorf("got %+v", r)
		}
		if _, stale, err := e.Load(e.Context(), e.site, []session.Token{renewed.Token()}, time.Now()); !stale || err != nil {
			e.Errorf("stale: %t, error %v", stale, err)
		}
	})
}
