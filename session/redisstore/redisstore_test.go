//go:build unix

package redisstore_test

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

func TestContractMini(t *testing.T) {
	var mini *miniredis.Miniredis
	storetest.Run(t, func(t *testing.T) session.Store {
		mini = miniredis.RunT(t)
		return open(t, redisstore.Options{Addresses: []string{mini.Addr()}, Timeout: patient})
	}, storetest.Options{
		Advance: func(d time.Duration) {
			mini.FastForward(d)
		},
		PutRaw: func(id string, value []byte) {
			mini.Set("session:"+id, string(value))
			mini.SetTTL("session:"+id, time.Hour)
		},
	})
}

func TestContract(t *testing.T) {
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	for name, address := range map[string]string{
		"TCP":    server.Addr,
		"Socket": "unix/" + server.Socket,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) session.Store {
				return open(t, redisstore.Options{Addresses: []string{address}, Timeout: patient})
			}, storetest.Options{
				PutRaw: func(id string, value []byte) {
					do(t, c, "SET", "session:"+id, string(value), "EX", "3600")
				},
			})
		})
	}
}

func TestWrongType(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	c := admin(t, server.Addr)
	ctx := t.Context()

	id := newID()
	do(t, c, "RPUSH", "session:"+id, "a")
	do(t, c, "EXPIRE", "session:"+id, "60")
	e, err := s.Get(ctx, id)
	if err != nil || e.Version != 0 || e.Value != nil || e.TTL <= 0 {
		t.Errorf("Get: %+v, %v; want version 0 without a value", e, err)
	}
	for name, err := range map[string]error{
		"create": s.Put(ctx, id, 0, entry(1, "")),
		"update": s.Put(ctx, id, 1, entry(2, "")),
		"touch":  s.Touch(ctx, id, 1, time.Hour),
		"delete": s.Delete(ctx, id, 1),
	} {
		if !errors.Is(err, session.ErrConflict) {
			t.Errorf("%s: got error %v, want ErrConflict", name, err)
		}
	}
	if err := s.Delete(ctx, id, 0); err != nil {
		t.Error(err)
	}

	// An index that is something else fails the Put.
	do(t, c, "SET", "session:user:broken", "x")
	filed := entry(1, "")
	filed.IndexKey, filed.Deadline = "broken", time.Now().Add(time.Hour)
	if err := s.Put(ctx, newID(), 0, filed); err == nil || errors.Is(err, session.ErrConflict) {
		t.Errorf("Put with a broken index: got error %v", err)
	}
	if err := s.Put(ctx, newID(), 1, filed); err == nil || errors.Is(err, session.ErrNotFound) {
		t.Errorf("Put with a broken index: got error %v", err)
	}
}

func TestEmptyValueIsForeign(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	id := newID()
	do(t, admin(t, server.Addr), "SET", "session:"+id, "", "EX", "60")
	if e, err := s.Get(t.Context(), id); err != nil || e.Version != 0 {
		t.Errorf("Get: %+v, %v", e, err)
	}
	if err := s.Touch(t.Context(), id, 1, time.Hour); !errors.Is(err, session.ErrConflict) {
		t.Errorf("got error %v, want ErrConflict", err)
	}
}

func TestTTL(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	c := admin(t, server.Addr)
	id := newID()
	for _, ttl := range []time.Duration{time.Hour + 1, math.MaxInt64} {
		e := entry(1, "")
		e.TTL = ttl
		if err := s.Delete(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), id, 0, e); err != nil {
			t.Fatal(err)
		}
		if n, _ := do(t, c, "PTTL", "session:"+id).AsInt64(); n < int64(ttl/time.Millisecond)-int64(time.Minute/time.Millisecond) {
			t.Errorf("%v was stored as %d ms", ttl, n)
		}
	}

	// Less than a millisecond is not "none": the entry ends at once.
	e := entry(2, "")
	e.TTL = 1
	if err := s.Put(t.Context(), id, 1, e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entry has expired", func() bool {
		_, err := s.Get(t.Context(), id)
		return errors.Is(err, session.ErrNotFound)
	})

	// A key that somebody made persistent is repaired by a touch.
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	do(t, c, "PERSIST", "session:"+id)
	got, err := s.Get(t.Context(), id)
	if err != nil || got.TTL < 400*24*time.Hour {
		t.Fatalf("got TTL %v, %v; want one above all settings", got.TTL, err)
	}
	if err := s.Touch(t.Context(), id, 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), id); err != nil || got.TTL > time.Hour {
		t.Errorf("after the touch: TTL %v, %v", got.TTL, err)
	}
}

func TestIndexKeys(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	c := admin(t, server.Addr)
	deadline := time.Now().Add(3 * time.Hour)
	put := func(id string, deadline time.Time) {
		t.Helper()
		e := entry(1, "")
		e.IndexKey, e.Deadline = "alice", deadline
		if err := s.Put(t.Context(), id, 0, e); err != nil {
			t.Fatal(err)
		}
	}

	// What is past is forgotten.
	do(t, c, "ZADD", "session:user:alice", "1000", "old")
	id := newID()
	put(id, deadline)
	score, _ := do(t, c, "ZSCORE", "session:user:alice", id).AsFloat64()
	if int64(score) != deadline.UnixMilli() {
		t.Errorf("score is %v, want %d", score, deadline.UnixMilli())
	}
	if n, _ := do(t, c, "ZCARD", "session:user:alice").AsInt64(); n != 1 {
		t.Errorf("there are %d members, want 1", n)
	}

	// The key ends with its last member, not with the one that came last.
	put(newID(), deadline.Add(-time.Hour))
	if n, _ := do(t, c, "PEXPIRETIME", "session:user:alice").AsInt64(); n != deadline.UnixMilli() {
		t.Errorf("the index ends at %d, want %d", n, deadline.UnixMilli())
	}

	// A deadline that was not set does not lose the entry.
	forgotten := newID()
	put(forgotten, time.Time{})
	if do(t, c, "ZSCORE", "session:user:alice", forgotten).Error() != nil {
		t.Error("an entry without a deadline was not filed")
	}
}

func TestCursorsAreChecked(t *testing.T) {
	s := open(t, redisstore.Options{Addresses: []string{miniredis.RunT(t).Addr()}, Timeout: patient})
	for _, cursor := range []string{"0", "x", "-1", "1 ", "99999999999999999999"} {
		if _, _, err := s.List(t.Context(), cursor, 1); err == nil {
			t.Errorf("List took cursor %q", cursor)
		}
		if _, _, err := s.Indexed(t.Context(), "k", cursor, 1); err == nil {
			t.Errorf("Indexed took cursor %q", cursor)
		}
	}
}

func TestListTakesSessionsOnly(t *testing.T) {
	server := redistest.Start(t)
	const prefix = `a*[b]?\:`
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient, KeyPrefix: prefix})
	c := admin(t, server.Addr)
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		prefix + "user:4567890123456789012", // 22 characters, one of them a colon
		prefix + "user:" + newID(),
		prefix + newID() + "x",
		"aXbY:" + newID(),
		newID(),
	} {
		do(t, c, "SET", key, "x")
	}
	var ids []string
	for cursor := ""; ; {
		page, next, err := s.List(t.Context(), cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, page...)
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(ids) != 1 || ids[0] != id {
		t.Errorf("got %q, want %q alone", ids, id)
	}
}

// Scripts that the server forgets are sent again.
func TestScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	c := admin(t, server.Addr)
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	for v := uint64(1); v < 5; v++ {
		do(t, c, "SCRIPT", "FLUSH")
		e := entry(v+1, "")
		if v%2 == 0 {
			e.IndexKey, e.Deadline = "k", time.Now().Add(time.Hour)
		}
		if err := s.Put(t.Context(), id, v, e); err != nil {
			t.Fatal(err)
		}
	}
}

// A database is apart from the others, by number and in a URL alike.
func TestDatabase(t *testing.T) {
	server := redistest.Start(t)
	one := open(t, redisstore.Options{Addresses: []string{server.Addr}, DB: 1, Timeout: patient})
	id, e := newID(), entry(1, "body")
	if err := one.Put(t.Context(), id, 0, e); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]error{
		"redis://" + server.Addr + "/1":                       nil,
		"redis://" + server.Addr:                              session.ErrNotFound,
		"unix://" + filepath.ToSlash(server.Socket) + "?db=1": nil,
		"unix://" + filepath.ToSlash(server.Socket):           session.ErrNotFound,
	} {
		got, err := open(t, redisstore.Options{Addresses: []string{address}, Timeout: patient}).Get(t.Context(), id)
		if !errors.Is(err, want) || want == nil && !bytes.Equal(got.Value, e.Value) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Many calls at once share connections and mix up nothing.
func TestParallel(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	done := make(chan error)
	const workers = 64
	for w := range workers {
		go func() {
			done <- func() error {
				for i := range 20 {
					id, body := newID(), strconv.Itoa(w*1000+i)
					if err := s.Put(t.Context(), id, 0, entry(1, body)); err != nil {
						return err
					}
					e, err := s.Get(t.Context(), id)
					if err != nil {
						return err
					}
					if string(e.Value[session.HeadSize:]) != body {
						return errors.New("got the value of another session")
					}
				}
				return nil
			}()
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
