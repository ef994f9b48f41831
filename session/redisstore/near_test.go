//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// near opens a store whose near-cache is not on yet.
func near(t testing.TB, opts redisstore.Options, nearOpts redisstore.NearOptions) *redisstore.NearStore {
	t.Helper()
	s, err := redisstore.NewNear(opts, nearOpts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// listening opens a store and waits until its near-cache is on.
func listening(t testing.TB, opts redisstore.Options) *redisstore.NearStore {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = patient
	}
	s := near(t, opts, redisstore.NearOptions{})
	s.Get(t.Context(), newID())
	eventually(t, "the near-cache is on", func() bool { return s.NearCacheStats().On })
	return s
}

// cached returns the version in memory, 0 for none.
func cached(s *redisstore.NearStore, id string) uint64 {
	e := s.Cached(id, time.Now())
	if e == nil {
		return 0
	}
	version, _ := session.ParseHead(e.Value)
	return version
}

// keep reads until the session is in memory.
func keep(t testing.TB, s *redisstore.NearStore, id string) {
	t.Helper()
	eventually(t, "the session is in memory", func() bool {
		if _, err := s.Get(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		return cached(s, id) != 0
	})
}

// created returns the id of a new session.
func created(t testing.TB, s session.Store) string {
	t.Helper()
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "body")); err != nil {
		t.Fatal(err)
	}
	return id
}

// look reads as a request with a safe method does: 0 is no session.
func look(t testing.TB, s *redisstore.NearStore, id string) uint64 {
	t.Helper()
	if v := cached(s, id); v != 0 {
		return v
	}
	e, err := s.Get(t.Context(), id)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		t.Error(err)
	}
	return e.Version
}

func TestNearContract(t *testing.T) {
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	storetest.Run(t, func(t *testing.T) session.Store {
		return listening(t, redisstore.Options{Addresses: []string{server.Addr}})
	}, storetest.Options{
		PutRaw: func(id string, value []byte) {
			do(t, c, "SET", "session:"+id, string(value), "EX", "3600")
		},
	})
}

// A process always reads its own commits, at once, also while others read the
// same session and write others.
func TestNearReadsOwnCommits(t *testing.T) {
	server := redistest.Start(t)
	s := listening(t, redisstore.Options{Addresses: []string{server.Addr}})
	const workers, commits = 4, 1500
	var stale, hits atomic.Int64
	var wg, readers sync.WaitGroup
	stop := make(chan struct{})
	for range workers {
		id := created(t, s)
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					look(t, s, id)
				}
			}
		})
		wg.Go(func() {
			for v := uint64(1); v < commits; v++ {
				if err := s.Put(t.Context(), id, v, entry(v+1, "")); err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if got := cached(s, id); got != 0 {
						hits.Add(1)
						if got != v+1 {
							stale.Add(1)
						}
					}
					if look(t, s, id) != v+1 {
						stale.Add(1)
					}
				}
			}
			if err := s.Touch(t.Context(), id, commits, time.Minute); err != nil {
				t.Error(err)
			}
			if e := s.Cached(id, time.Now()); e != nil && time.Until(e.Expires) > time.Minute {
				t.Error("the TTL is from before the touch")
			}
			if err := s.Delete(t.Context(), id, commits); err != nil {
				t.Error(err)
			}
			if look(t, s, id) != 0 {
				t.Error("alive after its end")
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	t.Logf("%d commits, %d of the re-reads from memory, %d stale", workers*commits, hits.Load(), stale.Load())
	if stale.Load() > 0 {
		t.Errorf("%d reads were stale", stale.Load())
	}
}

// Own writes are dropped from memory whatever becomes of them.
func TestNearOwnFailures(t *testing.T) {
	server := redistest.Start(t)
	s := listening(t, redisstore.Options{Addresses: []string{server.Addr}})
	id := created(t, s)
	for name, write := range map[string]func() error{
		"Put":    func() error { return s.Put(t.Context(), id, 7, entry(8, "")) },
		"Touch":  func() error { return s.Touch(t.Context(), id, 7, time.Hour) },
		"Delete": func() error { return s.Delete(t.Context(), id, 7) },
	} {
		keep(t, s, id)
		if err := write(); !errors.Is(err, session.ErrConflict) {
			t.Errorf("%s: got error %v", name, err)
		}
		if cached(s, id) != 0 {
			t.Errorf("%s: still in memory", name)
		}
	}
}

// What another process does is seen soon: changes, ends, expiries, and what is
// done to the server.
func TestNearSeesOthers(t *testing.T) {
	server := redistest.Start(t)
	s := listening(t, redisstore.Options{Addresses: []string{server.Addr}})
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	c := admin(t, server.Addr)
	for name, change := range map[string]func(id string){
		"commit": func(id string) {
			if err := other.Put(t.Context(), id, 1, entry(2, "")); err != nil {
				t.Error(err)
			}
		},
		"touch": func(id string) {
			if err := other.Touch(t.Context(), id, 1, time.Minute); err != nil {
				t.Error(err)
			}
		},
		"revoke": func(id string) {
			if err := other.Delete(t.Context(), id, 0); err != nil {
				t.Error(err)
			}
		},
		"destroy": func(id string) {
			if err := other.Delete(t.Context(), id, 1); err != nil {
				t.Error(err)
			}
		},
		"expiry":   func(id string) { do(t, c, "PEXPIRE", "session:"+id, "20") },
		"set":      func(id string) { do(t, c, "SET", "session:"+id, "x") },
		"rename":   func(id string) { do(t, c, "RENAME", "session:"+id, "elsewhere") },
		"flushdb":  func(string) { do(t, c, "FLUSHDB") },
		"flushall": func(string) { do(t, c, "FLUSHALL", "ASYNC") },
	} {
		id := created(t, s)
		keep(t, s, id)
		change(id)
		start := time.Now()
		eventually(t, name+" is seen", func() bool { return cached(s, id) == 0 })
		// Less than the maximum age, so it was not that.
		if took := time.Since(start); busy.Exceeds(took, redisstore.DefaultNearMaxAge/2) {
			t.Errorf("%s was seen after %v", name, took)
		}
		if !s.NearCacheStats().On {
			t.Errorf("%s has switched the near-cache off", name)
		}
	}
}

func TestNearBounds(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "no")
	const size = 1 << 20
	s := near(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient}, redisstore.NearOptions{Size: size, MaxAge: time.Hour})
	s.Get(t.Context(), newID())
	eventually(t, "the near-cache is on", func() bool { return s.NearCacheStats().On })
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 250 {
				id := created(t, other)
				look(t, s, id)
				look(t, s, newID()) // nobody's
			}
		})
	}
	wg.Wait()
	eventually(t, "it is within its bounds", func() bool {
		stats := s.NearCacheStats()
		return stats.Entries <= size>>10 && stats.Bytes <= size
	})
	if stats := s.NearCacheStats(); stats.Entries < size>>12 {
		t.Errorf("it is nearly empty: %+v", stats)
	}
}

func TestNearOptions(t *testing.T) {
	for _, o := range []redisstore.NearOptions{{Size: 1<<20 - 1}, {Size: -1}, {MaxAge: -1}} {
		if o.Validate() == nil {
			t.Errorf("%+v is fine", o)
		}
		if s, err := redisstore.NewNear(redisstore.Options{}, o); err == nil {
			t.Errorf("%+v makes a store", o)
			s.Close()
		}
	}
	if err := (redisstore.NearOptions{}).Validate(); err != nil {
		t.Error(err)
	}
	if s, err := redisstore.NewNear(redisstore.Options{DB: -1}, redisstore.NearOptions{}); err == nil {
		t.Error("a bad option makes a store")
		s.Close()
	}
	nothingLeft(t)
}

func BenchmarkNear(b *testing.B) {
	server := redistest.Start(b, "--appendonly", "no")
	s := listening(b, redisstore.Options{Addresses: []string{"unix/" + server.Socket}})
	id := newID()
	if err := s.Put(b.Context(), id, 0, entry(1, benchBody)); err != nil {
		b.Fatal(err)
	}
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if cached(s, id) == 0 {
				keep(b, s, id)
			}
		}
	})
}
