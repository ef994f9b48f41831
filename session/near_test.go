package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// nearStore has a near-cache that hears of nothing: what another node commits
// is announced when the test says so.
type nearStore struct {
	session.Store
	*nearcache.Cache
}

func (s nearStore) Cached(id string, now time.Time) *session.CachedEntry { return s.Cache.Get(id, now) }

func (s nearStore) Get(ctx context.Context, id string) (session.Entry, error) {
	r := s.Begin(id)
	e, err := s.Store.Get(ctx, id)
	if err == nil {
		e.Cached = s.Known(r, e)
	}
	return e, err
}

func (s nearStore) Close() error { return s.Store.Close() }

// nearBubble runs f with a node that has a near-cache and another one that
// shares its store.
func nearBubble(t *testing.T, f func(near, other *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		cache := nearcache.New(1<<20, time.Hour)
		defer cache.Close()
		cache.Enable()
		near := newEnv(t, session.DefaultPolicy(), nearStore{store, cache})
		f(near, newEnv(t, session.DefaultPolicy(), store))
	})
}

// cached loads as for a safe method.
func (e *env) cached(tokens ...session.Token) *session.Session {
	e.Helper()
	s, _, err := e.LoadCached(context.Background(), e.site, tokens, time.Now())
	if err != nil {
		e.Fatal(err)
	}
	return s
}

// gets runs f and returns how often it asked the store.
func (e *env) gets(f func()) int { return e.calls(f)["Get"] }

func TestLoadCached(t *testing.T) {
	nearBubble(t, func(e, _ *env) {
		s := e.create(`{"user":"alice"}`)
		var first, second *session.Session
		if n := e.gets(func() { e.cached(s.Token()) }); n != 1 {
			t.Errorf("the store was asked %d times for what was never read, want once", n)
		}
		if n := e.gets(func() { first, second = e.cached(s.Token()), e.cached(s.Token()) }); n != 0 {
			t.Errorf("the store was asked %d times for what is in memory", n)
		}
		if first == nil || first != second || string(first.Data()) != `{"user":"alice"}` || first.Token() != s.Token() {
			t.Errorf("got %v and %v", first, second)
		}
		load := func() { e.Load(context.Background(), e.site, []session.Token{s.Token()}, time.Now()) }
		if n := e.gets(load); n != 1 {
			t.Errorf("for an unsafe method the store was asked %d times, want once", n)
		}
		e.counted(session.EventLive, 4)
	})
}

// What looks wrong in memory may be right in the store.
func TestLoadCachedAsksWhenInDoubt(t *testing.T) {
	nearBubble(t, func(e, other *env) {
		for what, p := range map[string]func(*env) *session.Patch{
			"signed in elsewhere": set(`{"user":"alice"}`),
			"renewed elsewhere":   control("renew"),
		} {
			s := e.create(`{}`)
			e.cached(s.Token())
			r := other.commit(s, p)
			if got := e.cached(r.Session.Token()); got == nil || got.Version() != 2 {
				t.Errorf("%s: got %v", what, got)
			}
			if e.cached(s.Token()) != nil {
				t.Errorf("%s: the old secret is good although the store was asked", what)
			}
		}
		e.counted(session.EventForged, 0)
		e.counted(session.EventStale, 2)

		forged := e.create(`{}`)
		e.cached(forged.Token())
		wrong := forged.Token().Renew()
		if n := e.gets(func() { e.cached(wrong); e.cached(wrong) }); n != 2 {
			t.Errorf("the store was asked %d times about forged tokens, want twice", n)
		}
		e.counted(session.EventForged, 2)

		// Another site with the same store.
		elsewhere := e.site
		elsewhere.Scope.Host = "other.example"
		if s, _, err := e.LoadCached(t.Context(), elsewhere, []session.Token{forged.Token()}, time.Now()); s != nil || err != nil {
			t.Errorf("got %v, %v at another site", s, err)
		}
		e.counted(session.EventForged, 3)
	})
}

func TestLoadCachedKnowsTheTime(t *testing.T) {
	nearBubble(t, func(e, other *env) {
		// The deadline was moved elsewhere, while the memory says it is past.
		s := e.commit(nil, setControl(`{}`, "max-age=30")).Session
		e.cached(s.Token())
		e.cached(s.Token()) // decoded
		other.commit(s, control("max-age=3600"))
		time.Sleep(31 * time.Second)
		if e.cached(s.Token()) == nil {
			t.Error("lost at the old deadline")
		}

		// An end that everybody knows.
		s = e.commit(nil, setControl(`{}`, "max-age=30")).Session
		e.cached(s.Token())
		e.cached(s.Token())
		time.Sleep(31 * time.Second)
		if got := e.cached(s.Token()); got != nil {
			t.Errorf("%v lives past its deadline", got)
		}
	})
}

// A touch is due by the TTL that is left now, not when the entry was read.
func TestLoadCachedIsTouched(t *testing.T) {
	nearBubble(t, func(e, _ *env) {
		s := e.create(`{}`)
		e.cached(s.Token())
		time.Sleep(59 * time.Second)
		touch := func(want int) {
			t.Helper()
			calls := e.calls(func() { e.Touch(e.cached(s.Token()), time.Now()) })
			if calls["Touch"] != want || calls["Get"] != 0 {
				t.Errorf("called %v, want %d touches and no Get", calls, want)
			}
		}
		touch(0)
		time.Sleep(2 * time.Second)
		touch(1)
	})
}

// A session that has ended elsewhere is no reason to end another one.
func TestLoadCachedSeveral(t *testing.T) {
	nearBubble(t, func(e, other *env) {
		ended, live := e.create(`{}`), e.create(`{}`)
		e.cached(ended.Token())
		e.cached(live.Token())
		other.commit(ended, control("destroy"))
		if e.cached(ended.Token()) == nil {
			t.Fatal("the test is wrong: it is not in memory")
		}
		if got := e.cached(ended.Token(), live.Token()); got == nil || got.ID() != live.ID() {
			t.Errorf("got %v, want %v", got, live)
		}
		e.counted(session.EventAmbiguous, 0)
	})
}

// What is committed on a session out of memory is committed on the one in the
// store, or not at all.
func TestCommitOnCached(t *testing.T) {
	nearBubble(t, func(e, other *env) {
		old := func(p func(*env) *session.Patch) *session.Session {
			t.Helper()
			s := e.create(`{"a":1,"user":"alice"}`)
			e.cached(s.Token())
			other.commit(s, p)
			if s = e.cached(s.Token()); s == nil || s.Version() != 1 {
				t.Fatalf("the test is wrong: %v is not in memory as it was", s)
			}
			return s
		}
		r := e.commit(old(set(`{"a":2}`)), set(`{"b":3}`))
		if r.Session == nil || string(r.Session.Data()) != `{"a":2,"b":3,"user":"alice"}` || r.Session.Version() != 3 {
			t.Errorf("got %+v", r)
		}
		e.nothing(e.commit(old(control("destroy")), set(`{"b":3}`)))
		e.nothing(e.commit(old(control("renew")), set(`{"b":3}`)))
		e.nothing(e.commit(old(control("destroy")), control("renew, max-age=60")))
		e.nothing(e.commit(old(control("destroy")), control("revoke-others")))
		if _, err := e.try(old(set(`{"a":2}`)), setControl(`{"b":3}`, "if-version=1")); err != session.ErrVersion {
			t.Errorf("got error %v, want ErrVersion", err)
		}
		s := old(set(`{"a":2}`))
		if r := e.commit(s, control("destroy")); r.Cookie != session.CookieExpire {
			t.Errorf("got %+v", r)
		}
		other.dead(s)
	})
}

// A value that is no record is the store's business, as ever.
func TestLoadCachedCorrupt(t *testing.T) {
	nearBubble(t, func(e, other *env) {
		s := e.create(`{"user":"alice"}`)
		value := append(session.AppendHead(nil, 2), strings.Repeat("x", 40)...)
		if err := other.store.Put(t.Context(), s.ID(), 1, session.Entry{Version: 2, Value: value, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := e.cached(s.Token()); got != nil {
				t.Errorf("got %v", got)
			}
		}
		e.counted(session.EventCorrupt, 3)
	})
}

// BenchmarkLoadCached is a hit.
func BenchmarkLoadCached(b *testing.B) {
	for name, plain := range map[string]bool{"sealed": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			cache := nearcache.New(1<<20, time.Hour)
			defer cache.Close()
			cache.Enable()
			m, s := benchManager(b, nearStore{memstore.New(), cache}, plain)
			tokens, now := []session.Token{s.Token()}, time.Now()
			m.LoadCached(b.Context(), site, tokens, now)
			b.ReportAllocs()
			for b.Loop() {
				if got, _, err := m.LoadCached(b.Context(), site, tokens, now); got == nil || err != nil {
					b.Fatal(got, err)
				}
			}
			if s := cache.Stats(); s.Misses > 1 {
				b.Fatalf("%+v", s)
			}
		})
	}
}
