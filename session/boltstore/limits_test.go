package boltstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/session"
)

// sized is an entry of a visitor who has come back, or of another kind.
func sized(size int, kind string) session.Entry {
	e := session.Entry{Version: 1, TTL: time.Hour, Value: append(session.AppendHead(nil, 1), strings.Repeat("x", size-session.HeadSize)...)}
	switch kind {
	case "unclaimed":
		e.Unclaimed, e.TTL = true, 10*time.Minute
	case "user":
		e.SignedIn, e.IndexKey, e.Deadline = true, "alice", time.Now().Add(time.Hour)
	}
	return e
}

func isFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, session.ErrNotDone) || !strings.Contains(err.Error(), "the store is full") {
		t.Errorf("got error %v, want one that says that the store is full", err)
	}
}

// putAll creates entries until one is refused, at most so many.
func putAll(t *testing.T, s *Store, kind string, size, most int) (n int) {
	t.Helper()
	for ; n < most; n++ {
		if err := s.Put(t.Context(), fmt.Sprint(kind, " ", size, " ", n), 0, sized(size, kind)); err != nil {
			isFull(t, err)
			return n
		}
	}
	return n
}

// A tenth of the room is kept for those who sign in, and those who have not come
// back make room for everybody.
func TestLimits(t *testing.T) {
	for name, opts := range map[string]Options{
		"sessions": {MaxSessions: 100},
		"bytes":    {MaxSize: 100 * (1000 + overhead + expirySize)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.WarnLevel)
				opts.Path, opts.Logger = tempFile(t), zap.New(core)
				s := New(opts)
				defer s.Close()
				// Unclaimed ones displace each other.
				if n := putAll(t, s, "unclaimed", 1000, 300); n != 300 || s.Len() != 90 {
					t.Errorf("%d creations, %d are left", n, s.Len())
				}
				if logs.FilterMessageSnippet("the store is full").Len() != 1 {
					t.Errorf("got log %v, want one line a minute", logs.All())
				}
				// One that was touched is none any more, written or not.
				claimed := "unclaimed 1000 299"
				ok(t, s.Touch(t.Context(), claimed, 1, time.Hour))
				updated := "unclaimed 1000 298"
				e := sized(1000, "")
				session.AppendHead(e.Value[:0], 2)
				ok(t, s.Put(t.Context(), updated, 1, e))

				// Visitors get nine tenths, users the rest, and everything goes on.
				if n := putAll(t, s, "", 1000, 300); n != 88 || s.Len() != 90 {
					t.Errorf("%d visitors, %d sessions; want 88 and 90", n, s.Len())
				}
				holds(t, s, claimed, 1, time.Hour)
				holds(t, s, updated, 2, time.Hour)
				if n := putAll(t, s, "user", 1000, 300); n != 10 || s.Len() != 100 {
					t.Errorf("%d users, %d sessions; want 10 and 100", n, s.Len())
				}
				ok(t, s.Touch(t.Context(), claimed, 1, 2*time.Hour))
				e = sized(1000, "user")
				session.AppendHead(e.Value[:0], 3)
				ok(t, s.Put(t.Context(), updated, 2, e)) // a visitor signs in
				time.Sleep(time.Second)

				// What ends makes room, and so does what is dead, swept or not.
				ok(t, s.Delete(t.Context(), claimed, 0))
				if n := putAll(t, s, "user", 999, 300); n != 1 {
					t.Errorf("%d users for one that has ended", n)
				}
				time.Sleep(2*time.Hour - sweepEvery)
				if n := putAll(t, s, "", 999, 300); n != 90 || s.Len() != 90 {
					t.Errorf("%d visitors for all that have ended, %d sessions", n, s.Len())
				}
				consistent(t, s)
				ok(t, s.Close())

				// The same file knows how full it is.
				s = New(opts)
				defer s.Close()
				isFull(t, s.Put(t.Context(), "one more", 0, sized(1000, "")))
				consistent(t, s)
			})
		})
	}
}

// An update that makes a session larger needs room; any other goes on in a store
// that has more than is allowed by now.
func TestSizeOfUpdates(t *testing.T) {
	path := tempFile(t)
	s := New(Options{Path: path, MaxSize: 100 << 10})
	ok(t, s.Put(t.Context(), "visitor", 0, sized(1000, "")))
	ok(t, s.Put(t.Context(), "user", 0, sized(1000, "user")))
	update := func(id string, version uint64, size int, kind string) error {
		e := sized(size, kind)
		session.AppendHead(e.Value[:0], version+1)
		return s.Put(t.Context(), id, version, e)
	}
	isFull(t, update("visitor", 1, 95<<10, ""))
	ok(t, update("user", 1, 95<<10, "user"))
	isFull(t, update("visitor", 1, 1001, ""))
	ok(t, update("visitor", 1, 1000, ""))
	ok(t, s.Close())

	s = New(Options{Path: path, MaxSize: 10 << 10})
	defer s.Close()
	isFull(t, update("user", 2, 96<<10, "user"))
	ok(t, update("user", 2, 94<<10, "user"))
	ok(t, s.Touch(t.Context(), "visitor", 2, time.Hour))
	consistent(t, s)
	ok(t, s.DeleteMany(t.Context(), "alice", []string{"user", "visitor"}))
	consistent(t, s)
}

// An unclaimed one that comes back when the store is full does not have to make
// room for itself.
func TestClaimingInAFullStore(t *testing.T) {
	s := New(Options{Path: tempFile(t), MaxSize: 10 << 10})
	defer s.Close()
	ok(t, s.Put(t.Context(), "first", 0, sized(1000, "unclaimed")))
	ok(t, s.Put(t.Context(), "second", 0, sized(6000, "unclaimed")))
	e := sized(8000, "")
	session.AppendHead(e.Value[:0], 2)
	ok(t, s.Put(t.Context(), "first", 1, e))
	holds(t, s, "first", 2, time.Hour)
	absent(t, s, "second")
	consistent(t, s)
}

// consistent asserts that the numbers and the lists fit the sessions.
func consistent(t *testing.T, s *Store) {
	t.Helper()
	ok(t, s.cur.Load().view(func(tx *bolt.Tx) error {
		var count, size int64
		err := tx.Bucket(bucketSessions).ForEach(func(id, stored []byte) error {
			count++
			size += weight(len(stored))
			expiry, _, _ := parseStored(stored)
			lists := 0
			for _, name := range [][]byte{bucketExpiry, bucketUnclaimed} {
				if k, _ := tx.Bucket(name).Cursor().Seek(expiryKey(expiry, id)); string(k) == string(expiryKey(expiry, id)) {
					lists++
				}
			}
			if lists != 1 {
				t.Errorf("%s is in %d lists", id, lists)
			}
			return nil
		})
		listed := int64(tx.Bucket(bucketExpiry).Stats().KeyN + tx.Bucket(bucketUnclaimed).Stats().KeyN)
		meta := tx.Bucket(bucketMeta)
		if n, _ := parseNumber(meta.Get(keyCount)); n != count || listed != count {
			t.Errorf("%d sessions, of which %d are listed, count as %d", count, listed, n)
		}
		if n, _ := parseNumber(meta.Get(keyBytes)); n != size {
			t.Errorf("%d bytes count as %d", size, n)
		}
		return err
	}))
}
