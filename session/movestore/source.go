package movestore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// Source is the old store, for who still uses it by itself: requests of the
// configuration before, in the same process. What a [Store] has moved meanwhile it
// finds there. Closing it closes the store.
type Source struct {
	session.Store
	to atomic.Pointer[Store] // nil while nothing is moved
}

// NewSource returns a store that can be moved from.
func NewSource(store session.Store) *Source { return &Source{Store: store} }

// Unwrap is for session.As.
func (s *Source) Unwrap() session.Store { return s.Store }

// all is where everything is that was here.
func (s *Source) all() session.Store {
	if to := s.to.Load(); to != nil {
		return to
	}
	return s.Store
}

// moved reports whether a session that is not here, or not at the version expected,
// is elsewhere.
func (s *Source) moved(ctx context.Context, id string, err error) bool {
	switch {
	case s.to.Load() == nil:
		return false
	case errors.Is(err, session.ErrConflict):
		e, err := s.Store.Get(ctx, id)
		return errors.Is(err, session.ErrNotFound) || err == nil && isClaim(e.Value)
	}
	return errors.Is(err, session.ErrNotFound)
}

// Get implements session.Store.
func (s *Source) Get(ctx context.Context, id string) (session.Entry, error) {
	e, err := s.Store.Get(ctx, id)
	if s.moved(ctx, id, err) || err == nil && isClaim(e.Value) {
		return s.all().Get(ctx, id)
	}
	return e, err
}

// GetPrefix implements session.PrefixReader.
func (s *Source) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	e, err := prefix(ctx, s.Store, id, size)
	if s.moved(ctx, id, err) || err == nil && isClaim(e.Value) {
		e, err = prefix(ctx, s.all(), id, size)
	}
	return beginning(e, size), err
}

// Put implements session.Store.
func (s *Source) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	err := s.Store.Put(ctx, id, expect, e)
	if expect != 0 && s.moved(ctx, id, err) {
		return s.all().Put(ctx, id, expect, e)
	}
	return err
}

// Touch implements session.Store.
func (s *Source) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	err := s.Store.Touch(ctx, id, expect, ttl)
	if s.moved(ctx, id, err) {
		return s.all().Touch(ctx, id, expect, ttl)
	}
	return err
}

// Delete implements session.Store.
func (s *Source) Delete(ctx context.Context, id string, expect uint64) error {
	err := s.Store.Delete(ctx, id, expect)
	// What is deleted at any version may have been moved while it was.
	if expect == 0 && err == nil && s.to.Load() != nil || expect != 0 && s.moved(ctx, id, err) {
		return s.all().Delete(ctx, id, expect)
	}
	return err
}

// DeleteMany implements session.Store.
func (s *Source) DeleteMany(ctx context.Context, key string, ids []string) error {
	err := s.Store.DeleteMany(ctx, key, ids)
	if err == nil && s.to.Load() != nil {
		return s.all().DeleteMany(ctx, key, ids)
	}
	return err
}

// Unindex implements session.Store.
func (s *Source) Unindex(ctx context.Context, key, id string) error {
	return s.all().Unindex(ctx, key, id)
}

// Indexed implements session.Store.
func (s *Source) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	return s.all().Indexed(ctx, key, cursor, limit)
}

// List implements session.Store.
func (s *Source) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	return s.all().List(ctx, cursor, limit)
}

var (
	_ session.Store        = (*Source)(nil)
	_ session.PrefixReader = (*Source)(nil)
)
