package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/storetest"
)

func TestConformance(t *testing.T) {
	var store *Store
	storetest.Run(t, func(t *testing.T) session.Store {
		store = New(Options{Path: tempFile(t)})
		return store
	}, storetest.Options{
		Bubble: true,
		PutRaw: func(id string, value []byte) {
			err := store.Put(context.Background(), id, 0, session.Entry{Value: value, TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestReopenKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := tempFile(t)
		s := New(Options{Path: path})
		store(t, s, "updated", 0, 1, time.Hour)
		store(t, s, "updated", 1, 2, 2*time.Hour)
		store(t, s, "touched", 0, 1, time.Hour)
		ok(t, s.Touch(t.Context(), "touched", 1, 3*time.Hour))
		store(t, s, "deleted", 0, 1, time.Hour)
		ok(t, s.Delete(t.Context(), "deleted", 1))
		store(t, s, "ended", 0, 1, time.Minute)
		ok(t, s.Close())

		time.Sleep(30 * time.Minute)
		s = New(Options{Path: path})
		defer s.Close()
		holds(t, s, "updated", 2, 90*time.Minute)
		holds(t, s, "touched", 1, 150*time.Minute)
		absent(t, s, "deleted")
		absent(t, s, "ended")
		if n := s.Len(); n != 3 {
			t.Errorf("Len is %d, want 3: the one that has ended is not swept yet", n)
		}
	})
}

func TestOpenMakesPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "directory", "sessions.db")
	core, logs := observer.New(zap.InfoLevel)
	s := New(Options{Path: path, Logger: zap.New(core)})
	defer s.Close()
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Fatal("New did I/O")
	}
	ok(t, s.Open(t.Context()))
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		ok(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	lines := logs.FilterMessageSnippet("this machine only").All()
	if len(lines) != 1 || lines[0].ContextMap()["file"] != path {
		t.Errorf("got log %v, want one line that names the file", logs.All())
	}
}

func TestWarnsAboutAFileThatIsNotPrivate(t *testing.T) {
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o700: 0, 0o640: 1, 0o602: 1, 0o644: 1} {
		path := tempFile(t)
		s := New(Options{Path: path})
		store(t, s, "id", 0, 1, time.Hour)
		ok(t, s.Close())
		ok(t, os.Chmod(path, mode))
		core, logs := observer.New(zap.WarnLevel)
		s = New(Options{Path: path, Logger: zap.New(core)})
		ok(t, s.Open(t.Context()))
		ok(t, s.Close())
		lines := logs.FilterField(zap.String("file", path)).FilterField(zap.Stringer("mode", mode)).FilterMessageSnippet("chmod 600")
		if lines.Len() != want || logs.Len() != want {
			t.Errorf("mode %v: got log %v, want %d lines", mode, logs.All(), want)
		}
	}
}

func TestLockedByAnother(t *testing.T) {
	// In a bubble, so that the second for the lock, and the one between two
	// attempts, take no time.
	synctest.Test(t, func(t *testing.T) {
		path := tempFile(t)
		first := New(Options{Path: path})
		store(t, first, "id", 0, 1, time.Hour)

		second := New(Options{Path: path})
		defer second.Close()
		err := second.Open(t.Context())
		if err == nil {
			t.Fatal("two stores have one file open")
		}
		for _, want := range []string{path, "another process", "`store redis`"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}

		// Right after a failure there is no new attempt.
		start := time.Now()
		_, err = second.Get(t.Context(), "id")
		if err == nil || time.Since(start) != 0 {
			t.Errorf("got error %v after %v, want the last one at once", err, time.Since(start))
		}

		// Callers don't wait for the lock longer than they have time.
		time.Sleep(2 * reopenAfter)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = second.Get(ctx, "id")
		if err == nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("got error %v after %v, want one after 100ms", err, time.Since(start))
		}

		ok(t, first.Close())
		time.Sleep(3 * reopenAfter)
		holds(t, second, "id", 1, time.Hour)
	})
}

func TestMaxSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t), MaxSessions: 3})
		defer s.Close()
		store(t, s, "a", 0, 1, time.Hour)
		store(t, s, "b", 0, 1, time.Hour)
		store(t, s, "brief", 0, 1, time.Second)
		err := s.Put(t.Context(), "c", 0, entry(1, time.Hour))
		if err == nil || !strings.Contains(err.Error(), "3 sessions") {
			t.Fatalf("got error %v, want one that names the number", err)
		}
		absent(t, s, "c")

		store(t, s, "a", 1, 2, time.Hour)
		ok(t, s.Touch(t.Context(), "b", 1, 2*time.Hour))
		time.Sleep(2 * time.Second) // too soon for the sweeper
		store(t, s, "c", 0, 1, time.Hour)
		ok(t, s.Delete(t.Context(), "c", 1))
		store(t, s, "d", 0, 1, time.Hour)
		if n := s.Len(); n != 3 {
			t.Errorf("Len is %d, want 3", n)
		}
	})
}

// Room is not made at the cost of a session that a touch keeps alive, even if
// the file does not know that yet.
func TestMaxSessionsSparesTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t), MaxSessions: 1})
		defer s.Close()
		store(t, s, "kept", 0, 1, flushAfter/5)
		ok(t, s.Touch(t.Context(), "kept", 1, time.Hour))
		time.Sleep(flushAfter / 2)
		if err := s.Put(t.Context(), "new", 0, entry(1, time.Hour)); err == nil {
			t.Error("a second session was stored")
		}
		holds(t, s, "kept", 1, time.Hour)
	})
}

// Each operation of one transaction gets its own result.
func TestBatch(t *testing.T) {
	s := New(Options{Path: tempFile(t)})
	defer s.Close()
	store(t, s, "taken", 0, 1, time.Hour)
	release := holdWriter(t, s)

	var wg sync.WaitGroup
	var wins atomic.Int32
	for i := range 64 {
		wg.Go(func() {
			var err, want error
			switch i % 4 {
			case 0:
				err = s.Put(t.Context(), fmt.Sprint("new ", i), 0, entry(1, time.Hour))
			case 1:
				err, want = s.Put(t.Context(), "taken", 0, entry(1, time.Hour)), session.ErrConflict
			case 2:
				err, want = s.Put(t.Context(), "missing", 1, entry(2, time.Hour)), session.ErrNotFound
			case 3: // one of sixteen sees version 1, the others its change
				err = s.Put(t.Context(), "taken", 1, entry(2, time.Hour))
				if err == nil {
					wins.Add(1)
					return
				}
				want = session.ErrConflict
			}
			if err != want {
				t.Errorf("operation %d: got error %v, want %v", i, err, want)
			}
		})
	}
	for len(s.cur.Load().queue) < 64 {
		time.Sleep(time.Millisecond)
	}
	release()
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d updates of one version succeeded, want 1", wins.Load())
	}
	if n := s.Len(); n != 17 {
		t.Errorf("Len is %d, want 17", n)
	}
}

// A commit that fails fails everybody in it, and touches wait for the next one.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.ErrorLevel)
		path := tempFile(t)
		s := New(Options{Path: path, Logger: zap.New(core)})
		defer s.Close()
		store(t, s, "id", 0, 1, time.Hour)
		ok(t, s.Touch(t.Context(), "id", 1, 2*time.Hour))
		full := errors.New("no space left on device")
		for range 2 {
			err := s.do(t.Context(), func(tx *txn) error {
				tx.drop([]byte("id"), tx.load([]byte("id")))
				tx.err = full
				return nil
			})
			if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
				t.Errorf("got error %v, want one that says what failed where", err)
			}
		}
		if logs.Len() != 1 {
			t.Errorf("got log %v, want one line a minute", logs.All())
		}
		holds(t, s, "id", 1, 2*time.Hour)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(s.cur.Load().due()); n != 0 {
			t.Errorf("%d touches still wait", n)
		}
		holds(t, s, "id", 1, 2*time.Hour)
		if s.Len() != 1 {
			t.Errorf("Len is %d, want 1", s.Len())
		}
	})
}

func TestContextEndsInQueue(t *testing.T) {
	s := New(Options{Path: tempFile(t)})
	defer s.Close()
	ok(t, s.Open(t.Context()))
	release := holdWriter(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	value := entry(1, time.Hour)
	result := make(chan error)
	go func() { result <- s.Put(ctx, "id", 0, value) }()
	for len(s.cur.Load().queue) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got error %v, want the context's", err)
	}
	clear(value.Value) // it is the caller's again
	release()
	store(t, s, "another", 0, 1, time.Hour)
	holds(t, s, "id", 1, time.Hour)
}

// What is acknowledged is in the file, whatever happens to the process.
func TestCrash(t *testing.T) {
	path := tempFile(t)
	s := New(Options{Path: path})
	defer s.Close()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				store(t, s, fmt.Sprint(w, " ", i), 0, 1, time.Hour)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(path)
	ok(t, err)
	crashed := tempFile(t)
	ok(t, os.WriteFile(crashed, data, 0o600))

	s = New(Options{Path: crashed})
	defer s.Close()
	for w := range 8 {
		for i := range 25 {
			holds(t, s, fmt.Sprint(w, " ", i), 1, time.Hour)
		}
	}
	if n := s.Len(); n != 200 {
		t.Errorf("Len is %d, want 200", n)
	}
}

// Close ends the writer: a bubble does not end before its goroutines.
func TestCloseEndsWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t)})
		ok(t, s.Close())
		s = New(Options{Path: tempFile(t)})
		store(t, s, "id", 0, 1, time.Hour)
		ok(t, s.Close())
		ok(t, s.Close())
		if err := s.Open(t.Context()); err == nil {
			t.Error("a closed store was opened")
		}
	})
}

func BenchmarkStore(b *testing.B) {
	s := New(Options{Path: tempFile(b)})
	defer s.Close()
	storetest.Bench(b, s)
	for _, n := range []int{1, 32} { // times GOMAXPROCS
		b.Run(fmt.Sprintf("PutParallel-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(n)
			var ids atomic.Int64
			prefix := fmt.Sprint(b.Name(), b.N, " ")
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Put(b.Context(), fmt.Sprint(prefix, ids.Add(1)), 0, entry(1, time.Hour)); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// holdWriter keeps the writer busy until release is called.
func holdWriter(t *testing.T, s *Store) (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		done <- s.do(context.Background(), func(*txn) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	return func() {
		close(free)
		ok(t, <-done)
	}
}

func tempFile(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "sessions.db")
}

func entry(version uint64, ttl time.Duration) session.Entry {
	value := append(session.AppendHead(nil, version), strings.Repeat("body", 100)...)
	return session.Entry{Version: version, Value: value, TTL: ttl}
}

func store(t testing.TB, s *Store, id string, expect, version uint64, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), id, expect, entry(version, ttl)); err != nil {
		t.Error(err)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func holds(t testing.TB, s *Store, id string, version uint64, ttl time.Duration) {
	t.Helper()
	e, err := s.Get(t.Context(), id)
	ok(t, err)
	if e.Version != version || e.TTL > ttl || e.TTL < ttl-time.Minute {
		t.Errorf("%s has version %d, TTL %v; want %d, %v", id, e.Version, e.TTL, version, ttl)
	}
}

func absent(t testing.TB, s *Store, id string) {
	t.Helper()
	if _, err := s.Get(t.Context(), id); err != session.ErrNotFound {
		t.Errorf("%s: got error %v, want ErrNotFound", id, err)
	}
}

func BenchmarkDeleteMany(b *testing.B) {
	s := New(Options{Path: tempFile(b)})
	defer s.Close()
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { storetest.BenchMany(b, s, n) })
	}
}

func BenchmarkPages(b *testing.B) {
	s := New(Options{Path: tempFile(b)})
	defer s.Close()
	storetest.BenchPages(b, s)
}
