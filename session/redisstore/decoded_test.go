package redisstore_test

import (
	"testing"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// The store says that it has the value in memory only if it is the one that the
// server has just sent, and forgets what its own process has ended.
func TestDecodedCache(t *testing.T) {
	server := redistest.Start(t)
	open := func(size int64) *redisstore.Store {
		s, err := redisstore.New(redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient, DecodedCache: size})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s, other, off := open(0), open(0), open(-1)
	id := created(t, s)
	get := func(s *redisstore.Store) *session.CachedEntry {
		t.Helper()
		e, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if e.Cached != nil && string(e.Cached.Value) != string(e.Value) {
			t.Errorf("in memory is %q, in Redis %q", e.Cached.Value, e.Value)
		}
		return e.Cached
	}
	first := get(s)
	if first == nil || get(s) != first {
		t.Error("what the server sends unchanged is not known")
	}
	for range 2 {
		if get(off) != nil {
			t.Error("something is kept although it is switched off")
		}
	}
	if err := other.Put(t.Context(), id, 1, entry(2, "of another process")); err != nil {
		t.Fatal(err)
	}
	second := get(s)
	if second == nil || second == first {
		t.Error("the change of another process is not seen")
	}
	if err := s.Delete(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	// The same bytes once more: what was in memory is gone with the session.
	if err := other.Put(t.Context(), id, 0, entry(2, "of another process")); err != nil {
		t.Fatal(err)
	}
	if again := get(s); again == nil || again == second {
		t.Error("a session that this process has ended is still in memory")
	}
}
