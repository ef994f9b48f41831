// Package movestore moves sessions from one store to another, each when it is
// asked for: a site changes its store and signs nobody out.
//
// # Why nothing is lost, and nothing comes back
//
// A session must be in the new store before it goes out of the old one, or a crash
// loses it. Then it is in both for a while, and what ends in the new one must not be
// found in the old one again. So its way has steps, and the new store says which one
// was reached:
//
//  1. The new store has nothing, the old one has the session.
//  2. The new store has a mark. Whoever has seen it reads the old store.
//  3. The mark is replaced by one with the session in it, at the mark's version: so
//     only if it was there all the time between, and what was read has not ended
//     meanwhile. Who ends a session removes it in the old store first and then in the
//     new one, marks included.
//  4. In the old store, a claim of the mark's version takes the place of the session, at
//     the version that was copied. If it has another one by now, somebody without the
//     new store has written, and step 3 is done again. If it is gone, somebody has
//     ended it, and the mark goes too.
//  5. The mark in the new store is replaced by the session, at the mark's version.
//  6. The claim is deleted. One that stays means nothing.
//
// No step belongs to anybody. Who comes upon a mark goes on from there, so a process
// that dies leaves nothing to be cleaned up, and two that move one session help each
// other. A mark is no session to any method of [Store], and what is no mark in the new
// store is nowhere else: everything but the move itself asks the new store alone.
// Every write is one at a version that no other value ever has, so one that comes
// late does nothing.
//
// Two processes that move in opposite directions disturb each other, and see it: what
// one of them is moving the other can't tell anything about.
package movestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// markFor is how long a mark without a session stays that everybody has left.
	markFor = time.Minute

	// mostSteps bounds what one call does. Five are enough when nobody else moves or
	// writes the same session.
	mostSteps = 50
)

// What comes after the head of a mark, and of a claim. No record goes on like this.
var (
	moving = []byte("moving ")
	moved  = []byte("moved ")
)

var errOtherWay = errors.New("it is being moved the other way")

// Store is a session.Store of two. What the new one offers besides is found by
// session.As. Closing it closes neither.
type Store struct {
	session.Store // the new one
	from          *Source
}

// New returns a store that has the sessions of both, once it is open.
func New(to session.Store, from *Source) *Store { return &Store{to, from} }

// Open implements session.Opener. It opens neither store. From now on the source knows
// where sessions go.
func (s *Store) Open(context.Context) error {
	s.from.to.Store(s)
	return nil
}

// Unwrap is for session.As.
func (s *Store) Unwrap() session.Store { return s.Store }

// Close has the source forget the store, and closes neither.
func (s *Store) Close() error {
	s.from.to.CompareAndSwap(s, nil)
	return nil
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	e, err := s.Store.Get(ctx, id)
	if err == nil && !isMark(e.Value) && !isClaim(e.Value) || err != nil && !errors.Is(err, session.ErrNotFound) {
		return e, err
	}
	return s.move(ctx, id)
}

// GetPrefix implements session.PrefixReader. What has to be moved is read whole.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	e, err := prefix(ctx, s.Store, id, size)
	if err == nil && !isMark(e.Value) && !isClaim(e.Value) || err != nil && !errors.Is(err, session.ErrNotFound) {
		return beginning(e, size), err
	}
	e, err = s.move(ctx, id)
	return beginning(e, size), err
}

// prefix is GetPrefix of any store. It reads enough to tell marks and claims.
func prefix(ctx context.Context, store session.Store, id string, size int) (session.Entry, error) {
	if prefixes, ok := session.As[session.PrefixReader](store); ok {
		return prefixes.GetPrefix(ctx, id, max(size, session.HeadSize+len(moving)))
	}
	return store.Get(ctx, id)
}

// beginning cuts an entry off at a size.
func beginning(e session.Entry, size int) session.Entry {
	if len(e.Value) > size {
		e.Value, e.Cut, e.Cached = e.Value[:size], true, nil
	}
	return e
}

// Put implements session.Store. What is created is created in the new store, without
// a look at the old one: no id is used twice.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if expect == 0 {
		return s.Store.Put(ctx, id, expect, e)
	}
	return s.whenMoved(ctx, id, func() error { return s.Store.Put(ctx, id, expect, e) })
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	return s.whenMoved(ctx, id, func() error { return s.Store.Touch(ctx, id, expect, ttl) })
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	if expect != 0 {
		return s.whenMoved(ctx, id, func() error { return s.Store.Delete(ctx, id, expect) })
	}
	if err := s.from.Store.Delete(ctx, id, 0); err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, 0)
}

// DeleteMany implements session.Store.
func (s *Store) DeleteMany(ctx context.Context, key string, ids []string) error {
	if err := s.from.Store.DeleteMany(ctx, key, ids); err != nil {
		return err
	}
	return s.Store.DeleteMany(ctx, key, ids)
}

// Unindex implements session.Store.
func (s *Store) Unindex(ctx context.Context, key, id string) error {
	return errors.Join(s.from.Store.Unindex(ctx, key, id), s.Store.Unindex(ctx, key, id))
}

// Indexed implements session.Store. First comes what the old store has: what is moved
// meanwhile is found in the new one. The old one's index goes on naming what was moved.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	page, next, err := pages(cursor, func(store session.Store, cursor string) ([]session.Indexed, string, error) {
		return store.Indexed(ctx, key, cursor, limit)
	}, s.from.Store, s.Store)
	for i := range page {
		if page[i].Header != nil && !isMark(page[i].Header) && !isClaim(page[i].Header) {
			continue
		}
		e, err := s.Get(ctx, page[i].ID)
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return nil, "", err
		}
		page[i].Header = e.Value
	}
	return page, next, err
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	return pages(cursor, func(store session.Store, cursor string) ([]string, string, error) {
		return store.List(ctx, cursor, limit)
	}, s.from.Store, s.Store)
}

// pages lists one store and then another one. The cursors of the second begin with +.
func pages[T any](cursor string, list func(session.Store, string) ([]T, string, error), first, second session.Store) ([]T, string, error) {
	if cursor == "" || cursor[0] != '+' {
		page, next, err := list(first, trim(cursor))
		if next == "" {
			return page, "+", err
		}
		return page, "-" + next, err
	}
	page, next, err := list(second, trim(cursor))
	if next != "" {
		next = "+" + next
	}
	return page, next, err
}

// trim removes the sign of a cursor.
func trim(cursor string) string { return cursor[min(len(cursor), 1):] }

// whenMoved does what is about a session at one version, in the new store. If that has no
// such session, it may be on its way.
func (s *Store) whenMoved(ctx context.Context, id string, do func() error) error {
	err := do()
	if !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrConflict) {
		return err
	}
	if errors.Is(err, session.ErrConflict) {
		if e, failure := s.Store.Get(ctx, id); failure == nil && !isMark(e.Value) && !isClaim(e.Value) {
			return err
		}
	}
	e, failure := s.move(ctx, id)
	switch {
	case errors.Is(failure, session.ErrNotFound):
		return failure
	case failure != nil:
		return session.NotDone(failure)
	case e.Version == 0: // somebody else's, in the old store
		return session.ErrConflict
	}
	return do()
}

// move has the session moved, by whomever, and returns it.
func (s *Store) move(ctx context.Context, id string) (session.Entry, error) {
	for range mostSteps {
		at, err := s.Store.Get(ctx, id)
		switch {
		case errors.Is(err, session.ErrNotFound):
			e, err := s.from.Store.Get(ctx, id)
			if errors.Is(err, session.ErrNotFound) || err == nil && isClaim(e.Value) {
				if _, err = s.Store.Get(ctx, id); err != nil {
					return session.Entry{}, err
				}
				continue // it was moved since
			}
			if err == nil && isMark(e.Value) {
				return session.Entry{}, failed(id, errOtherWay)
			}
			if err != nil || e.Version == 0 { // what is somebody else's is not moved
				return e, err
			}
			if err := ignored(s.Store.Put(ctx, id, 0, mark(session.Entry{TTL: min(e.TTL, markFor)}))); err != nil {
				return session.Entry{}, failed(id, err)
			}
		case err == nil && isClaim(at.Value):
			return session.Entry{}, failed(id, errOtherWay)
		case err != nil || !isMark(at.Value):
			return at, err
		default:
			if err := ignored(s.step(ctx, id, at)); err != nil {
				return session.Entry{}, failed(id, err)
			}
		}
	}
	return session.Entry{}, failed(id, errors.New("others change it all the time"))
}

// step goes on from a mark in the new store. That it has changed meanwhile is an error
// which says so.
func (s *Store) step(ctx context.Context, id string, at session.Entry) error {
	value := at.Value[session.HeadSize+len(moving):]
	version, copied := session.ParseHead(value)
	if copied {
		claim := session.Entry{Version: at.Version, Value: append(session.AppendHead(nil, at.Version), moved...), TTL: at.TTL, Durable: true}
		err := s.from.Store.Put(ctx, id, version, claim)
		if err == nil {
			return s.arrive(ctx, id, at, value)
		}
		if errors.Is(err, session.ErrNotFound) {
			return s.Store.Delete(ctx, id, at.Version)
		}
		if !errors.Is(err, session.ErrConflict) {
			return err
		}
	}
	e, err := s.from.Store.Get(ctx, id)
	switch {
	case err == nil && isMark(e.Value):
		return errOtherWay
	case err == nil && copied && e.Version == at.Version:
		return s.arrive(ctx, id, at, value)
	case errors.Is(err, session.ErrNotFound), err == nil && (e.Version == 0 || isClaim(e.Value)):
		return s.Store.Delete(ctx, id, at.Version)
	case err != nil:
		return err
	}
	e.IndexKey, e.Deadline = session.IndexOf(e.Value)
	e.SignedIn = e.IndexKey != ""
	e.Durable = true // before it goes out of the old store
	return s.Store.Put(ctx, id, at.Version, mark(e))
}

// arrive is the end of the way: the old store has nothing but the claim.
func (s *Store) arrive(ctx context.Context, id string, at session.Entry, value []byte) error {
	version, _ := session.ParseHead(value)
	if err := s.Store.Put(ctx, id, at.Version, session.Entry{Version: version, Value: value, TTL: at.TTL}); err != nil {
		return err
	}
	_ = s.from.Store.Delete(ctx, id, at.Version) // what stays means nothing, and expires
	return nil
}

// mark returns a mark for a session, or one without a session. Its version is nobody
// else's.
func mark(e session.Entry) session.Entry {
	var random [8]byte
	rand.Read(random[:])
	e.Version = binary.BigEndian.Uint64(random[:])>>1 + 1
	e.Value = append(append(session.AppendHead(nil, e.Version), moving...), e.Value...)
	return e
}

func isMark(value []byte) bool { return has(value, moving) }

func isClaim(value []byte) bool { return has(value, moved) }

func has(value, word []byte) bool {
	return len(value) >= session.HeadSize && bytes.HasPrefix(value[session.HeadSize:], word)
}

// ignored leaves out that somebody else was faster.
func ignored(err error) error {
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
		return nil
	}
	return err
}

func failed(id string, err error) error {
	return fmt.Errorf("moving session %s from the old store: %w", id, err)
}

var (
	_ session.Store        = (*Store)(nil)
	_ session.PrefixReader = (*Store)(nil)
)
