package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-session/caddy-session/session"
)

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	return s.GetPrefix(ctx, id, math.MaxInt)
}

// GetPrefix implements session.PrefixReader.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	f, err := s.file(ctx)
	if err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s: %w", id, err)
	}
	reading := f.cache.Begin(id)
	// The touches first: when one has left the map, it is in the file already.
	waiting, touched := f.waiting(id)
	var expiry int64
	var value []byte
	found := false
	err = f.view(func(tx *bolt.Tx) error {
		var stored []byte
		expiry, stored, found = parseStored(tx.Bucket(bucketSessions).Get([]byte(id)))
		value = bytes.Clone(stored[:min(len(stored), size)]) // it is gone when the transaction ends
		return nil
	})
	if err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s: %w", id, err)
	}
	if !found {
		return session.Entry{}, session.ErrNotFound
	}
	version, _ := session.ParseHead(value)
	if touched && waiting.version == version {
		expiry = waiting.expiry
	}
	ttl := time.Until(time.UnixMilli(expiry))
	if ttl <= 0 {
		return session.Entry{}, session.ErrNotFound
	}
	e := session.Entry{Version: version, Value: value, Cut: len(value) == size, TTL: ttl}
	if version != 0 {
		e.Cached = f.cache.Known(reading, e)
	}
	return e, nil
}

// Put implements session.Store. If the context ends while it waits, the entry
// may have been stored all the same, or may yet be.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if e.TTL <= 0 {
		return fmt.Errorf("storing session %s: the TTL %v is not above zero", id, e.TTL)
	}
	expiry := toMilli(time.Now().Add(e.TTL))
	p := put{
		id:     []byte(id),
		expect: expect,
		expiry: expiry,
		stored: appendStored(expiry, e.Value), // the caller keeps e.Value

		unclaimed: e.Unclaimed,
		signedIn:  e.SignedIn,
	}
	if e.IndexKey != "" {
		p.key = indexKey(e.IndexKey, id)
		p.deadline = toMilli(e.Deadline)
	}
	err := checkSizes(id, e.IndexKey)
	if err == nil {
		err = s.do(ctx, func(t *txn) error { return t.put(&p) })
	}
	return wrap(err, "storing session %s", id)
}

// Touch implements session.Store. The write is put off to the next commit, for
// half a second at most; a crash before that loses it.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("touching session %s: the TTL %v is not above zero", id, ttl)
	}
	f, err := s.file(ctx)
	if err == nil {
		err = f.touch(id, expect, ttl)
	}
	return wrap(err, "touching session %s", id)
}

// Delete implements session.Store. If the context ends while it waits, the
// entry may have been removed all the same, or may yet be.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	err := s.free(ctx, func(t *txn) error { return t.delete([]byte(id), expect) })
	return wrap(err, "deleting session %s", id)
}

// Indexed implements session.Store.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) (filed []session.Indexed, next string, err error) {
	f, err := s.file(ctx)
	var late []int // whose expiry in the file has passed
	if err == nil {
		now := time.Now()
		err = f.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketIndex).Cursor()
			prefix := indexKey(key, "")
			start := indexKey(key, cursor)
			var ids []string
			ids, next = page(c, start, prefix, cursor != "", limit)
			sessions := tx.Bucket(bucketSessions)
			filed = make([]session.Indexed, len(ids))
			for i, id := range ids {
				filed[i].ID = id
				switch expiry, value, ok := parseStored(sessions.Get([]byte(id))); {
				case ok && alive(expiry, now):
					filed[i].Header = append([]byte{}, value[:min(len(value), session.MaxHeader)]...) // not nil
				case ok:
					late = append(late, i)
				}
			}
			return nil
		})
	}
	for _, i := range late { // a touch may keep it alive
		e, getErr := s.Get(ctx, filed[i].ID)
		if getErr == nil {
			filed[i].Header = e.Value
		} else if getErr != session.ErrNotFound {
			err = getErr
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions of a subject: %w", err)
	}
	return filed, next, nil
}

// DeleteMany implements session.Store, in one transaction; or in many, if the
// disk is full. If the context ends while it waits, the entries may have been
// removed all the same, or may yet be.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	ids = slices.Sorted(slices.Values(ids)) // neighbours share a page
	remove := func(ids []string) error {
		return s.free(ctx, func(t *txn) error {
			for _, id := range ids {
				t.drop([]byte(id), t.load([]byte(id)))
				if key != "" {
					t.unfile(indexKey(key, id))
				}
			}
			return nil
		})
	}
	err := remove(ids)
	if errors.Is(err, session.ErrNotDone) {
		for slice := range slices.Chunk(ids, freeSlice) {
			if err = remove(slice); err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("deleting %d sessions: %w", len(ids), err)
	}
	return nil
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	k := indexKey(key, id)
	err := s.free(ctx, func(t *txn) error {
		t.unfile(k)
		return nil
	})
	return wrap(err, "removing session %s from the index", id)
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error) {
	f, err := s.file(ctx)
	if err == nil {
		err = f.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketSessions).Cursor()
			ids, next = page(c, []byte(cursor), nil, cursor != "", limit)
			return nil
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing sessions: %w", err)
	}
	return ids, next, nil
}

// page returns the ids of up to limit keys from start on that have the prefix,
// which is not part of them, without start itself if it was listed before. The
// keys are sorted, so a cursor stays good whatever is added and removed. What
// has expired is listed until it is swept.
func page(c *bolt.Cursor, start, prefix []byte, listed bool, limit int) (ids []string, next string) {
	k, _ := c.Seek(start)
	if listed && bytes.Equal(k, start) {
		k, _ = c.Next()
	}
	limit = max(limit, 1)
	for ; k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(ids) == limit {
			return ids, ids[limit-1]
		}
		ids = append(ids, string(k[len(prefix):]))
	}
	return ids, ""
}

// do has the writer run an operation.
func (s *Store) do(ctx context.Context, run func(*txn) error) error {
	f, err := s.file(ctx)
	if err != nil {
		return err
	}
	return f.do(ctx, false, run)
}

// free is do for an operation that makes room.
func (s *Store) free(ctx context.Context, run func(*txn) error) error {
	f, err := s.file(ctx)
	if err != nil {
		return err
	}
	return f.do(ctx, true, run)
}

// wrap says what failed, unless that is the caller's to say: the sentinels are
// answers, not failures.
func wrap(err error, format, id string) error {
	if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		return err
	}
	return fmt.Errorf(format+": %w", id, err)
}
