package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// What NearOptions leave empty, and the least that makes sense.
const (
	DefaultNearSize   = 64 << 20
	DefaultNearMaxAge = 5 * time.Second
	minNearSize       = 1 << 20
)

// NearOptions bound a near-cache.
type NearOptions struct {
	// Size is the most bytes that cached sessions may take, 1 MiB at least; 0
	// means DefaultNearSize. Each counts 1 KiB and three times its record, so Size
	// bounds their number too.
	Size int64

	// MaxAge is how long a session may be used after its read was sent,
	// whatever the server says or fails to say; 0 means DefaultNearMaxAge.
	MaxAge time.Duration
}

// Validate reports options that can't work.
func (o NearOptions) Validate() error {
	_, err := o.resolve()
	return err
}

func (o NearOptions) resolve() (NearOptions, error) {
	if o.Size == 0 {
		o.Size = DefaultNearSize
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultNearMaxAge
	}
	switch {
	case o.Size < minNearSize:
		return o, fmt.Errorf("the near-cache has %d bytes: it needs %d (1MiB) or more", o.Size, minNearSize)
	case o.MaxAge < 0:
		return o, errors.New("the max_age of the near-cache is negative")
	}
	return o, nil
}

// NearStore is a Store with a near-cache (session.NearCache): sessions that it
// has read stay in memory until the server says that they have changed.
//
// Its promises, as long as all writers of the prefix go through the server:
//
//   - A process always reads its own commits: an entry is dropped when a Put,
//     Touch, Delete or DeleteMany begins and again before it returns.
//   - What others commit is seen as soon as the server's announcement is here,
//     usually within a millisecond or two, and MaxAge after the entry was read
//     at the latest.
//   - While a server that serves reads is not being listened to, nothing is
//     cached: see tracker.
//
// A write is not kept for the reads that follow it. To be safe, it could be
// kept only if nothing was announced since before it was sent, and the server
// announces it to its own author too: before the answer, and nothing is kept,
// or after it, and what was kept is removed. Nobody can tell this echo from the
// announcement of somebody else's write; it may even be the same message.
//
// Get and GetPrefix always ask the server. They alone fill the cache.
type NearStore struct {
	*Store
	tracker *tracker
}

// NewNear returns a store with a near-cache. It fails and connects as New does.
func NewNear(opts Options, near NearOptions) (*NearStore, error) {
	near, err := near.resolve()
	if err != nil {
		return nil, fmt.Errorf("configuring the redis store: %w", err)
	}
	opts.DecodedCache = -1 // there is one cache for both
	s, err := New(opts)
	if err != nil {
		return nil, err
	}
	s.cache = nearcache.New(near.Size, near.MaxAge)
	return &NearStore{s, newTracker(s.link.get, s.prefix, s.cache, opts.Logger)}, nil
}

// Cached implements session.NearCache.
func (s *NearStore) Cached(id string, now time.Time) *session.CachedEntry {
	return s.cache.Get(id, now)
}

// Get implements session.Store.
func (s *NearStore) Get(ctx context.Context, id string) (session.Entry, error) {
	s.tracker.start()
	return s.Store.Get(ctx, id)
}

// GetPrefix implements session.PrefixReader.
func (s *NearStore) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	s.tracker.start()
	return s.Store.GetPrefix(ctx, id, size)
}

// NearCacheStats tells how the cache is doing.
func (s *NearStore) NearCacheStats() nearcache.Stats { return s.cache.Stats() }

// Close implements session.Store.
func (s *NearStore) Close() error {
	s.tracker.stop() // it may be connecting, which the store's own Close cuts short
	err := s.Store.Close()
	s.tracker.wait()
	s.cache.Disable() // the tracker may have switched it on once more
	return err
}

var (
	_ session.Store        = (*NearStore)(nil)
	_ session.NearCache    = (*NearStore)(nil)
	_ session.PrefixReader = (*NearStore)(nil)
)
