package boltstore_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
)

func record(version uint64) session.Entry {
	return session.Entry{Version: version, Value: append(session.AppendHead(nil, version), "rest\n{}"...), TTL: time.Hour}
}

// Whoever asks after a write was answered does not get what was before from
// memory, whatever readers do meanwhile.
func TestCachedIsExact(t *testing.T) {
	s := boltstore.New(boltstore.Options{Path: filepath.Join(t.TempDir(), "sessions.db")})
	defer s.Close()
	ctx := t.Context()
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	if err := s.Put(ctx, id, 0, record(1)); err != nil {
		t.Fatal(err)
	}
	var answered atomic.Uint64
	answered.Store(1)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := answered.Load()
				if c := s.Cached(id, time.Now()); c != nil {
					if version, _ := session.ParseHead(c.Value); version < least {
						t.Errorf("version %d is in memory after %d was written", version, least)
						return
					}
				}
				if _, err := s.Get(ctx, id); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for version := uint64(2); version < 300; version++ {
		if err := s.Put(ctx, id, version-1, record(version)); err != nil {
			t.Fatal(err)
		}
		answered.Store(version)
	}
	close(stop)
	readers.Wait()
	if stats := s.NearCacheStats(); stats.Hits == 0 {
		t.Errorf("the memory had no part in it: %+v", stats)
	}

	if err := s.Delete(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if s.Cached(id, time.Now()) != nil {
		t.Error("a deleted session is in memory")
	}
}

// A touch moves the end of what is in memory.
func TestCachedIsTouched(t *testing.T) {
	s := boltstore.New(boltstore.Options{Path: filepath.Join(t.TempDir(), "sessions.db")})
	defer s.Close()
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	if err := s.Put(t.Context(), id, 0, record(1)); err != nil {
		t.Fatal(err)
	}
	ends := func() time.Duration {
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		c := s.Cached(id, time.Now())
		if c == nil {
			t.Fatal("it was read and is not in memory")
		}
		return time.Until(c.Expires)
	}
	if left := ends(); left > time.Hour {
		t.Errorf("it ends in %v", left)
	}
	if err := s.Touch(t.Context(), id, 1, 3*time.Hour); err != nil {
		t.Fatal(err)
	}
	if left := ends(); left < 2*time.Hour {
		t.Errorf("after the touch it ends in %v", left)
	}
}

// A write that its caller does not wait for is not hidden by the memory.
func TestCachedAfterAbandonedWrite(t *testing.T) {
	s := boltstore.New(boltstore.Options{Path: filepath.Join(t.TempDir(), "sessions.db")})
	defer s.Close()
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	for abandoned, tries := 0, 0; abandoned < 10; tries++ {
		if tries == 1000 {
			t.Fatal("no write is abandoned: nothing is tested")
		}
		if err := s.Put(t.Context(), id, 0, record(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), id); err != nil || s.Cached(id, time.Now()) == nil {
			t.Fatalf("it is not in memory, or %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(tries%100)*10*time.Microsecond)
		err := s.Delete(ctx, id, 0)
		cancel()
		// Get would put right what is wrong, so this is how to know.
		for start := time.Now(); s.Len() > 0 && time.Since(start) < 50*time.Millisecond; {
			runtime.Gosched()
		}
		if s.Len() > 0 { // never begun
			if err := s.Delete(t.Context(), id, 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			abandoned++
		}
		for start := time.Now(); s.Cached(id, time.Now()) != nil; {
			if time.Since(start) > 5*time.Second {
				t.Fatalf("a deleted session stays in memory (Delete: %v)", err)
			}
		}
	}
}
