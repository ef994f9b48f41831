// Package memstore keeps sessions in memory, for tests and as the reference of
// the session.Store contract: nothing survives the process.
package memstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// sweepMin is the fewest creations between two sweeps.
const sweepMin = 64

var errClosed = errors.New("the store is closed")

// Store is a session.Store in memory. Its clock is time.Now. Make one with New.
type Store struct {
	mu       sync.Mutex
	sessions map[string]record
	index    map[string]map[string]time.Time // key, id, deadline
	sweepIn  int                             // creations until the next sweep
	closed   bool
}

// record is one session. The value is never changed in place.
type record struct {
	version uint64
	value   []byte
	expiry  time.Time
}

// New returns an empty store.
func New() *Store {
	return &Store{
		sessions: map[string]record{},
		index:    map[string]map[string]time.Time{},
	}
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	return s.GetPrefix(ctx, id, math.MaxInt)
}

// GetPrefix implements session.PrefixReader.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	if err := s.lock(ctx); err != nil {
		return session.Entry{}, fmt.Errorf("reading session %s: %w", id, err)
	}
	defer s.mu.Unlock()
	now := time.Now()
	r, ok := s.live(id, now)
	if !ok {
		return session.Entry{}, session.ErrNotFound
	}
	value := r.value[:min(len(r.value), size)]
	return session.Entry{Version: r.version, Value: bytes.Clone(value), Cut: len(value) == size, TTL: r.expiry.Sub(now)}, nil
}

// Put implements session.Store.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if e.TTL <= 0 {
		return fmt.Errorf("storing session %s: the TTL %v is not above zero", id, e.TTL)
	}
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("storing session %s: %w", id, err)
	}
	defer s.mu.Unlock()
	now := time.Now()
	if err := s.check(id, expect, now); expect != 0 && err != nil {
		return err
	} else if expect == 0 && err == nil {
		return session.ErrConflict
	}
	if expect == 0 {
		s.sweep(now)
	}
	if e.IndexKey != "" {
		s.addIndex(e.IndexKey, id, e.Deadline)
	}
	// The head decides, not e.Version, so that a value put without one is as
	// foreign as it would be in any other store.
	version, _ := session.ParseHead(e.Value)
	s.sessions[id] = record{version, bytes.Clone(e.Value), now.Add(e.TTL)}
	return nil
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("touching session %s: the TTL %v is not above zero", id, ttl)
	}
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("touching session %s: %w", id, err)
	}
	defer s.mu.Unlock()
	now := time.Now()
	if err := s.check(id, expect, now); err != nil {
		return err
	}
	if expect == 0 {
		return session.ErrConflict // no version is 0
	}
	r := s.sessions[id]
	r.expiry = now.Add(ttl)
	s.sessions[id] = r
	return nil
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("deleting session %s: %w", id, err)
	}
	defer s.mu.Unlock()
	if err := s.check(id, expect, time.Now()); expect != 0 && err != nil {
		return err
	}
	delete(s.sessions, id)
	return nil
}

// Indexed implements session.Store.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fmt.Errorf("listing sessions of a subject: %w", err)
	}
	defer s.mu.Unlock()
	now := time.Now()
	ids, next := page(s.index[key], cursor, limit)
	filed := make([]session.Indexed, len(ids))
	for i, id := range ids {
		filed[i].ID = id
		if r, ok := s.live(id, now); ok {
			filed[i].Header = append([]byte{}, r.value...) // not nil
		}
	}
	return filed, next, nil
}

// DeleteMany implements session.Store.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("deleting %d sessions: %w", len(ids), err)
	}
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.sessions, id)
		if key != "" {
			s.unfile(key, id)
		}
	}
	return nil
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("removing session %s from the index: %w", id, err)
	}
	defer s.mu.Unlock()
	s.unfile(key, id)
	return nil
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	if err := s.lock(ctx); err != nil {
		return nil, "", fmt.Errorf("listing sessions: %w", err)
	}
	defer s.mu.Unlock()
	ids, next := page(s.sessions, cursor, limit)
	return ids, next, nil
}

// Close implements session.Store. It forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions, s.index, s.closed = nil, nil, true
	return nil
}

// lock takes the mutex if the call may go on.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	return nil
}

// live returns the record under id, dropping it if it has expired.
func (s *Store) live(id string, now time.Time) (record, bool) {
	r, ok := s.sessions[id]
	if ok && !r.expiry.After(now) {
		delete(s.sessions, id)
		return record{}, false
	}
	return r, ok
}

// check returns nil if there is a record at this version (at any, if it is 0).
func (s *Store) check(id string, version uint64, now time.Time) error {
	r, ok := s.live(id, now)
	switch {
	case !ok:
		return session.ErrNotFound
	case version != 0 && r.version != version:
		return session.ErrConflict
	}
	return nil
}

// addIndex indexes id under key. The later deadline holds: the record that an
// earlier one was for may still be alive.
func (s *Store) addIndex(key, id string, deadline time.Time) {
	ids := s.index[key]
	if ids == nil {
		ids = map[string]time.Time{}
		s.index[key] = ids
	}
	if deadline.After(ids[id]) {
		ids[id] = deadline
	}
}

func (s *Store) unfile(key, id string) {
	delete(s.index[key], id)
	if len(s.index[key]) == 0 {
		delete(s.index, key)
	}
}

// sweep drops what has expired, after as many creations as the last sweep left
// sessions: a creation costs the same however many there are, and abandoned
// sessions take no more room than live ones did.
func (s *Store) sweep(now time.Time) {
	if s.sweepIn--; s.sweepIn > 0 {
		return
	}
	for id := range s.sessions {
		s.live(id, now)
	}
	for key, ids := range s.index {
		for id, deadline := range ids {
			if !deadline.After(now) {
				s.unfile(key, id)
			}
		}
	}
	s.sweepIn = max(sweepMin, len(s.sessions))
}

// page returns up to limit ids after cursor in sorted order: so that one that
// is there all the time is listed, whatever is added or removed between pages.
func page[V any](m map[string]V, cursor string, limit int) (ids []string, next string) {
	for id := range m {
		if id > cursor {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if limit = max(limit, 1); len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	return ids, next
}

var (
	_ session.Store        = (*Store)(nil)
	_ session.PrefixReader = (*Store)(nil)
)
