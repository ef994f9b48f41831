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
// Steps 3, 4 and 5 are written so that a failover does not undo them, where a store can.
// Who comes upon a mark that somebody else has left writes its step once more, for it
// can't tell whether that was so, nor what the old store has been told about the time
// to live since. An old store that refuses step 4, being full, is told to delete the
// session at that version; then a crash before step 5 loses that session.
//
// No step belongs to anybody. Who comes upon a mark goes on from there, so a process
// that dies leaves nothing to be cleaned up, and two that move one session help each
// other. A mark is no session to any method of [Store], and what is no mark in the new
// store is nowhere else: everything but the move itself asks the new store alone.
// Every write is one at a version that no other value ever has, so one that comes
// late does nothing.
//
// Two processes that move in opposite directions disturb each other, and see it: what
// one of them is moving the other can't tell anything about. A claim alone is left over
// from the other direction.
package movestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// markFor is how long a mark without a session stays that everybody has left.
	markFor = time.Minute

	// atOnce is how many sessions of a list are asked for at once: a user may have
	// thousands, half of which were moved.
	atOnce = 64

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
	known         sync.Once // to the source
}

// New returns a store that has the sessions of both, once it is open.
func New(to session.Store, from *Source) *Store { return &Store{Store: to, from: from} }

// Open implements session.Opener. It opens neither store. From now on the source knows
// where sessions go, if it does not know because the first one was moved.
func (s *Store) Open(context.Context) error {
	s.known.Do(func() { s.from.to.Store(s) })
	return nil
}

// Unwrap is for session.As.
func (s *Store) Unwrap() session.Store { return s.Store }

// Close has the source forget the store, and closes neither.
func (s *Store) Close() error {
	s.known.Do(func() {})
	s.from.to.CompareAndSwap(s, nil)
	return nil
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (session.Entry, error) {
	if e, err := s.Store.Get(ctx, id); decides(e, err) {
		return e, err
	}
	return s.move(ctx, id)
}

// GetPrefix implements session.PrefixReader. What has to be moved is read whole.
func (s *Store) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	e, err := prefix(ctx, s.Store, id, size)
	if !decides(e, err) {
		e, err = s.move(ctx, id)
	}
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

// Peek returns what Get does, and moves nothing that is not on its way.
func (s *Store) Peek(ctx context.Context, id string) (session.Entry, error) {
	for _, store := range []session.Store{s.Store, s.from.Store} {
		if e, err := store.Get(ctx, id); decides(e, err) {
			return e, err
		}
	}
	return s.Get(ctx, id)
}

// Leases returns the stores in which a lock has to be taken. The old one comes first: it
// is where all know of it.
func (s *Store) Leases() []session.Store { return []session.Store{s.from.Store, s.Store} }

// Put implements session.Store. What is created is created in the new store, without
// a look at the old one: no id is used twice.
func (s *Store) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if expect == 0 {
		return s.Store.Put(ctx, id, expect, e)
	}
	return s.whenMoved(ctx, id, expect, func() error { return s.Store.Put(ctx, id, expect, e) })
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	return s.whenMoved(ctx, id, expect, func() error { return s.Store.Touch(ctx, id, expect, ttl) })
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, expect uint64) error {
	if expect != 0 {
		err := s.whenMoved(ctx, id, expect, func() error { return s.Store.Delete(ctx, id, expect) })
		if err == nil {
			_ = s.from.Store.Delete(ctx, id, 0) // where a failover may have brought it back
		}
		return err
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
// meanwhile is found in the new one. The old one's index goes on naming what was moved,
// which is left out there if the new one's has it.
func (s *Store) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	page, next, err := pages(cursor, func(store session.Store, cursor string) ([]session.Indexed, string, error) {
		return store.Indexed(ctx, key, cursor, limit)
	}, s.from.Store, s.Store)
	if err != nil {
		return nil, "", err
	}
	elsewhere, err := s.headers(ctx, page)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(cursor, second) {
		page = slices.DeleteFunc(page, func(i session.Indexed) bool {
			its, _ := session.IndexOf(i.Header)
			return elsewhere[i.ID] && its == key
		})
	}
	return page, next, nil
}

// headers fills in what the store that was listed does not have, and returns the ids of
// those that are in the new one.
func (s *Store) headers(ctx context.Context, page []session.Indexed) (elsewhere map[string]bool, err error) {
	elsewhere = map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for part := range atOnce {
		all.Go(func() {
			for i := part; i < len(page); i += atOnce {
				header := page[i].Header
				if header != nil && !underWay(header) {
					continue
				}
				e, failure := s.Store.Get(ctx, page[i].ID)
				if failure == nil && underWay(e.Value) || header != nil && errors.Is(failure, session.ErrNotFound) {
					e, failure = s.Get(ctx, page[i].ID)
				}
				page[i].Header = e.Value
				mu.Lock()
				switch {
				case failure == nil:
					elsewhere[page[i].ID] = true
				case !errors.Is(failure, session.ErrNotFound):
					err = failure
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return elsewhere, err
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	return pages(cursor, func(store session.Store, cursor string) ([]string, string, error) {
		return store.List(ctx, cursor, limit)
	}, s.from.Store, s.Store)
}

// Cursors begin with one of these: in which store they are.
const first, second = "-", "+"

// pages lists one store and then another one.
func pages[T any](cursor string, list func(session.Store, string) ([]T, string, error), one, other session.Store) ([]T, string, error) {
	if !strings.HasPrefix(cursor, second) {
		page, next, err := list(one, strings.TrimPrefix(cursor, first))
		if next == "" {
			return page, second, err
		}
		return page, first + next, err
	}
	page, next, err := list(other, strings.TrimPrefix(cursor, second))
	if next != "" {
		next = second + next
	}
	return page, next, err
}

// whenMoved does what is about a session at one version, in the new store. If that has no
// such session, it may be on its way.
func (s *Store) whenMoved(ctx context.Context, id string, expect uint64, do func() error) error {
	err := do()
	if !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrConflict) {
		return err
	}
	if errors.Is(err, session.ErrConflict) {
		if e, failure := s.Store.Get(ctx, id); failure == nil && !underWay(e.Value) && e.Version != expect {
			return err
		} // else it was a mark that was in the way
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
	_ = s.Open(ctx) // a request may come before its configuration has started as a whole
	var own uint64  // the version of the mark that was just made here
	for range mostSteps {
		at, err := s.Store.Get(ctx, id)
		switch {
		case errors.Is(err, session.ErrNotFound), err == nil && isClaim(at.Value):
			e, err := s.from.Store.Get(ctx, id)
			if errors.Is(err, session.ErrNotFound) || err == nil && isClaim(e.Value) {
				if now, err := s.Store.Get(ctx, id); err != nil {
					return session.Entry{}, err
				} else if isClaim(now.Value) {
					return session.Entry{}, session.ErrNotFound
				}
				continue // it was moved since
			}
			if err == nil && isMark(e.Value) {
				return session.Entry{}, failed(id, errOtherWay)
			}
			if err != nil || e.Version == 0 { // what is somebody else's is not moved
				return e, err
			}
			key, _ := session.IndexOf(e.Value)
			if err := ignored(s.Store.Put(ctx, id, at.Version, mark(session.Entry{TTL: min(e.TTL, markFor), SignedIn: key != ""}))); err != nil {
				return session.Entry{}, failed(id, err)
			}
		case err != nil || !isMark(at.Value):
			return at, err
		default:
			its := at.Version == own
			if own, err = s.step(ctx, id, at, its); ignored(err) != nil {
				return session.Entry{}, failed(id, err)
			}
		}
	}
	return session.Entry{}, failed(id, errors.New("others change it all the time"))
}

// step goes on from a mark in the new store. That it has changed meanwhile is an error
// which says so. own: the mark was just made by the caller. It returns the version of
// one that it has made, with the session in it.
func (s *Store) step(ctx context.Context, id string, at session.Entry, own bool) (made uint64, err error) {
	value := at.Value[session.HeadSize+len(moving):]
	version, copied := session.ParseHead(value)
	if copied && own {
		return 0, s.claim(ctx, id, version, at)
	}
	e, err := s.from.Store.Get(ctx, id)
	switch {
	case err == nil && isMark(e.Value):
		return 0, errOtherWay
	case err == nil && copied && e.Version == at.Version:
		if err := s.from.Store.Put(ctx, id, at.Version, claim(at)); err != nil {
			return 0, err
		}
		return 0, s.arrive(ctx, id, at)
	case errors.Is(err, session.ErrNotFound), err == nil && (e.Version == 0 || isClaim(e.Value)):
		return 0, s.Store.Delete(ctx, id, at.Version)
	case err != nil:
		return 0, err
	}
	next := mark(e)
	if copied && e.Version == version { // perhaps others rely on it
		next = session.Entry{Version: at.Version, Value: at.Value, TTL: e.TTL}
	}
	next.IndexKey, next.Deadline = session.IndexOf(e.Value)
	next.SignedIn = next.IndexKey != ""
	next.Durable = true // before it goes out of the old store
	return next.Version, s.Store.Put(ctx, id, at.Version, next)
}

// claim takes the session of a mark out of the old store, where it has to have a version.
func (s *Store) claim(ctx context.Context, id string, version uint64, at session.Entry) error {
	err := s.from.Store.Put(ctx, id, version, claim(at))
	if errors.Is(err, session.ErrNotDone) { // for want of room, perhaps
		if deletion := s.from.Store.Delete(ctx, id, version); ignored(deletion) == nil {
			err = deletion
		}
	}
	switch {
	case err == nil:
		return s.arrive(ctx, id, at)
	case errors.Is(err, session.ErrNotFound):
		return s.Store.Delete(ctx, id, at.Version)
	}
	return err
}

// arrive is the end of the way: the old store has nothing but the claim.
func (s *Store) arrive(ctx context.Context, id string, at session.Entry) error {
	e := session.Entry{Value: at.Value[session.HeadSize+len(moving):], TTL: at.TTL, Durable: true} // before the claim goes
	e.Version, _ = session.ParseHead(e.Value)
	key, _ := session.IndexOf(e.Value)
	e.SignedIn = key != ""
	if err := s.Store.Put(ctx, id, at.Version, e); err != nil {
		return err
	}
	_ = s.from.Store.Delete(ctx, id, at.Version) // what stays means nothing, and expires
	return nil
}

// claim returns what takes the place of a session in the old store, for a mark.
func claim(at session.Entry) session.Entry {
	return session.Entry{Version: at.Version, Value: append(session.AppendHead(nil, at.Version), moved...), TTL: at.TTL, Durable: true}
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

// underWay reports whether a value is what a move has left in the place of a session.
func underWay(value []byte) bool { return isMark(value) || isClaim(value) }

// decides reports whether what one store has answered is the answer of both.
func decides(e session.Entry, err error) bool {
	return err == nil && !underWay(e.Value) || err != nil && !errors.Is(err, session.ErrNotFound)
}

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
