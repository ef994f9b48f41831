package sessionapp

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-session/caddy-session/session"
)

// measured is a store whose operations are timed.
type measured struct {
	session.Store
	prefixes                                                    session.PrefixReader // the store, nil if it is none
	get, put, touch, remove, removeMany, indexed, unindex, list prometheus.Observer

	up     atomic.Bool  // the last operation was answered
	called atomic.Int64 // when that was, in nanoseconds since 1970
}

// measure wraps a store. name is its module's.
func measure(store session.Store, name string) *measured {
	observer := func(operation string) prometheus.Observer { return operations.WithLabelValues(operation, name) }
	prefixes, _ := session.As[session.PrefixReader](store)
	return &measured{
		Store: store, prefixes: prefixes, get: observer("get"), put: observer("put"), touch: observer("touch"), remove: observer("delete"),
		removeMany: observer("delete_many"), indexed: observer("indexed"), unindex: observer("unindex"), list: observer("list"),
	}
}

// Unwrap is for session.As.
func (m *measured) Unwrap() session.Store { return m.Store }

func (m *measured) observe(o prometheus.Observer, start time.Time, err error) {
	end := time.Now()
	o.Observe(end.Sub(start).Seconds())
	m.called.Store(end.UnixNano())
	if errors.Is(err, context.Canceled) {
		return // the caller's own doing
	}
	up := err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotReplicated)
	// Most of the time it is so already, and reading is cheaper for many CPUs.
	if m.up.Load() != up {
		m.up.Store(up)
	}
}

func (m *measured) Get(ctx context.Context, id string) (session.Entry, error) {
	start := time.Now()
	e, err := m.Store.Get(ctx, id)
	m.observe(m.get, start, err)
	return e, err
}

// GetPrefix implements [session.PrefixReader] for every store: all of the value is a
// prefix, too.
func (m *measured) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	if m.prefixes == nil {
		return m.Get(ctx, id)
	}
	start := time.Now()
	e, err := m.prefixes.GetPrefix(ctx, id, size)
	m.observe(m.get, start, err)
	return e, err
}

func (m *measured) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	start := time.Now()
	err := m.Store.Put(ctx, id, expect, e)
	m.observe(m.put, start, err)
	if err == nil {
		recordBytes.Observe(float64(len(e.Value)))
	}
	return err
}

func (m *measured) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	start := time.Now()
	err := m.Store.Touch(ctx, id, expect, ttl)
	m.observe(m.touch, start, err)
	return err
}

func (m *measured) Delete(ctx context.Context, id string, expect uint64) error {
	start := time.Now()
	err := m.Store.Delete(ctx, id, expect)
	m.observe(m.remove, start, err)
	return err
}

func (m *measured) Indexed(ctx context.Context, key, cursor string, limit int) ([]session.Indexed, string, error) {
	start := time.Now()
	page, next, err := m.Store.Indexed(ctx, key, cursor, limit)
	m.observe(m.indexed, start, err)
	return page, next, err
}

func (m *measured) DeleteMany(ctx context.Context, key string, ids []string) error {
	start := time.Now()
	err := m.Store.DeleteMany(ctx, key, ids)
	m.observe(m.removeMany, start, err)
	return err
}

func (m *measured) Unindex(ctx context.Context, key, id string) error {
	start := time.Now()
	err := m.Store.Unindex(ctx, key, id)
	m.observe(m.unindex, start, err)
	return err
}

func (m *measured) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	start := time.Now()
	ids, next, err := m.Store.List(ctx, cursor, limit)
	m.observe(m.list, start, err)
	return ids, next, err
}

// isUp reports whether the store answers, by its last operation if that was
// lately, and by one of its own if not. It takes a second at most.
func (m *measured) isUp() bool {
	const lately = 10 * time.Second
	if time.Since(time.Unix(0, m.called.Load())) > lately {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m.Get(ctx, session.NewToken().ID) // nobody's; the outcome is noted
	}
	return m.up.Load()
}

var (
	_ session.Store        = (*measured)(nil)
	_ session.PrefixReader = (*measured)(nil)
)
