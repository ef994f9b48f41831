package boltstore

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
)

// keys counts what is in the file.
func keys(t *testing.T, s *Store) (sessions, expiry, index int) {
	t.Helper()
	ok(t, s.cur.Load().view(func(tx *bolt.Tx) error {
		for name, n := range map[string]*int{"sessions": &sessions, "expiry": &expiry, "index": &index} {
			err := tx.Bucket([]byte(name)).ForEach(func(_, _ []byte) error { *n++; return nil })
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return sessions, expiry, index
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t)})
		defer s.Close()
		const each = 3 * sweepSlice / 2
		var wg sync.WaitGroup
		for w := range 100 {
			wg.Go(func() {
				for i := w; i < each; i += 100 {
					brief := entry(1, time.Minute)
					brief.IndexKey = fmt.Sprint("subject ", i%10)
					brief.Deadline = time.Now().Add(time.Hour)
					if err := s.Put(t.Context(), fmt.Sprint("brief ", i), 0, brief); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		store(t, s, "long", 0, 1, 24*time.Hour)
		store(t, s, "kept", 0, 1, time.Minute)

		// Touched at the last moment: what the sweeper finds in the file has
		// expired, but the session has not.
		time.Sleep(time.Minute - 10*time.Millisecond)
		ok(t, s.Touch(t.Context(), "kept", 1, 24*time.Hour))

		time.Sleep(2 * sweepEvery)
		synctest.Wait()
		if sessions, expiry, index := keys(t, s); sessions != 2 || expiry != 2 || index != each || s.Len() != 2 {
			t.Errorf("%d sessions, %d expiries, %d index entries, Len %d; want 2, 2, %d, 2",
				sessions, expiry, index, s.Len(), each)
		}
		holds(t, s, "long", 1, 24*time.Hour-time.Minute)
		holds(t, s, "kept", 1, 24*time.Hour)

		time.Sleep(time.Hour + 2*sweepEvery)
		synctest.Wait()
		if _, _, index := keys(t, s); index != 0 {
			t.Errorf("%d index entries are left past their deadline", index)
		}
	})
}

func TestTouchIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t)})
		defer s.Close()
		inFile := func(id string) (ttl time.Duration) {
			t.Helper()
			ok(t, s.cur.Load().view(func(tx *bolt.Tx) error {
				expiry, _, _ := parseStored(tx.Bucket(bucketSessions).Get([]byte(id)))
				ttl = time.Until(time.UnixMilli(expiry))
				return nil
			}))
			return ttl
		}
		waiting := func() int { return len(s.cur.Load().due()) }

		// By itself, within a second.
		store(t, s, "a", 0, 1, time.Hour)
		ok(t, s.Touch(t.Context(), "a", 1, 2*time.Hour))
		if inFile("a") != time.Hour || waiting() != 1 {
			t.Fatal("the touch did not wait")
		}
		holds(t, s, "a", 1, 2*time.Hour)
		time.Sleep(time.Second)
		synctest.Wait()
		if inFile("a") != 2*time.Hour-time.Second || waiting() != 0 {
			t.Fatalf("the touch was not written within a second: the file has %v", inFile("a"))
		}

		// With the next commit, whatever that is.
		ok(t, s.Touch(t.Context(), "a", 1, 3*time.Hour))
		store(t, s, "b", 0, 1, time.Hour)
		if inFile("a") != 3*time.Hour {
			t.Fatal("the touch did not ride along")
		}

		// Never over a commit of the same session.
		ok(t, s.Touch(t.Context(), "a", 1, time.Minute))
		store(t, s, "a", 1, 2, 4*time.Hour)
		if inFile("a") != 4*time.Hour || waiting() != 0 {
			t.Fatal("the touch of the version before was not dropped")
		}
		ok(t, s.Touch(t.Context(), "b", 1, 2*time.Hour))
		ok(t, s.Delete(t.Context(), "b", 0))
		absent(t, s, "b")
		if waiting() != 0 {
			t.Fatal("the touch of a deleted session still waits")
		}
		if sessions, expiry, _ := keys(t, s); sessions != 1 || expiry != 1 {
			t.Fatalf("%d sessions and %d expiries, want 1 of each", sessions, expiry)
		}
	})
}

// More touches than one commit takes are all written.
func TestManyTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Path: tempFile(t)})
		defer s.Close()
		const n = 2*flushSlice + 10
		var wg sync.WaitGroup
		for w := range 200 {
			wg.Go(func() {
				for i := w; i < n; i += 200 {
					store(t, s, fmt.Sprint(i), 0, 1, time.Hour)
				}
			})
		}
		wg.Wait()
		for i := range n {
			ok(t, s.Touch(t.Context(), fmt.Sprint(i), 1, 2*time.Hour))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if left := len(s.cur.Load().due()); left != 0 {
			t.Errorf("%d touches still wait after a second", left)
		}
		if sessions, expiry, _ := keys(t, s); sessions != n || expiry != n {
			t.Errorf("%d sessions and %d expiries, want %d of each", sessions, expiry, n)
		}
	})
}
