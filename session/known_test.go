package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// askedStore asks its store every time, and says which value it knows.
type askedStore struct {
	session.Store
	cache *nearcache.Cache
	known *session.CachedEntry // of the last Get
}

func (s *askedStore) Get(ctx context.Context, id string) (session.Entry, error) {
	r := s.cache.Begin(id)
	e, err := s.Store.Get(ctx, id)
	if err == nil {
		e.Cached = s.cache.Known(r, e)
		s.known = e.Cached
	}
	return e, err
}

// What is in memory is used for the bytes that the store has sent, and for nothing
// else: no announcement is heard here, and nothing is ever outdated.
func TestLoadOfKnownBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		cache := nearcache.New(1<<20, time.Hour)
		defer cache.Close()
		cache.Enable()
		asked := &askedStore{Store: store, cache: cache}
		e, other := newEnv(t, session.DefaultPolicy(), asked), newEnv(t, session.DefaultPolicy(), store)
		loadedBy := func(e *env, token session.Token) *session.Session {
			t.Helper()
			s, err := e.tryLoad(token)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		load := func(token session.Token) (s *session.Session) {
			t.Helper()
			if n := e.gets(func() { s = loadedBy(e, token) }); n != 1 {
				t.Fatalf("the store was asked %d times", n)
			}
			return s
		}

		s := e.create(`{"user":"alice"}`)
		token := s.Token()
		first := load(token)
		entry := asked.known
		second := load(token)
		if first == nil || second == nil || entry == nil || asked.known != entry {
			t.Fatal("the value that the store has sent twice is not known")
		}
		if &first.Data()[0] != &second.Data()[0] {
			t.Error("what has not changed was decoded again")
		}

		// The expiry is that of the answer, and no load changes what another one got.
		before := first.Expires()
		time.Sleep(time.Minute)
		if err := store.Touch(t.Context(), s.ID(), s.Version(), 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		if third := load(token); !third.Expires().Equal(time.Now().Add(2*time.Hour)) || !first.Expires().Equal(before) {
			t.Errorf("the session ends %v, %v after the touch", third.Expires(), first.Expires())
		}

		// Neither another secret nor another site gets it.
		if load(token.Renew()) != nil {
			t.Error("another secret opens it")
		}
		e.counted(session.EventForged, 1)
		for _, at := range []session.Site{
			{Scope: session.Scope{Name: site.Scope.Name, Host: "other.example", Path: "/"}, Realm: site.Realm},
			{Scope: site.Scope, Realm: "other.example"},
		} {
			if s, _, err := e.Load(t.Context(), at, []session.Token{token}, time.Now()); s != nil || err != nil {
				t.Errorf("at %v there is %v, %v", at, s, err)
			}
		}

		// Others change it, renew its secret and end it.
		changed := other.commit(loadedBy(other, token), set(`{"lang":"fr"}`)).Session
		if got := load(token); got == nil || string(got.Data()) != string(changed.Data()) {
			t.Errorf("after a commit of others it is %v", got)
		}
		renewed := other.commit(loadedBy(other, token), control("renew")).Session
		if load(token) != nil {
			t.Error("the secret from before a renewal is good")
		}
		if load(renewed.Token()) == nil {
			t.Error("the new secret is not")
		}
		if err := store.Delete(t.Context(), s.ID(), 0); err != nil {
			t.Fatal(err)
		}
		if load(renewed.Token()) != nil {
			t.Error("a session that others have ended is there")
		}

		// A deadline counts, whatever is in memory.
		late := e.create(`{"user":"bob"}`)
		load(late.Token())
		at := late.Deadline()
		if s, _, err := e.Load(t.Context(), e.site, []session.Token{late.Token()}, at); s != nil || err != nil {
			t.Errorf("after its deadline there is %v, %v", s, err)
		}
	})
}
