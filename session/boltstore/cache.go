package boltstore

import (
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// Bounds of the sessions in memory. A session counts 1 KiB and three times its record.
const (
	cacheSize = 32 << 20

	// cacheAge frees the memory of those that nobody asks for any more. They
	// don't get wrong with time: all changes are this process's.
	cacheAge = time.Minute
)

// newCache returns a cache for an open file. The file's own changes are all
// that there are, so it is on from the start.
func newCache() *nearcache.Cache {
	c := nearcache.New(cacheSize, cacheAge)
	c.Enable()
	return c
}

// forget takes changed sessions out of the cache. It is called after the commit
// and before anybody knows of it: whoever has the answer to a write, or asks
// later, does not meet what was before.
func (f *file) forget(ids []string) {
	for _, id := range ids {
		f.cache.Invalidate(id)
	}
}

// Cached implements session.NearCache. It is exact: no entry is older than the
// last Put, Touch, Delete or DeleteMany that has returned without an error.
func (s *Store) Cached(id string, now time.Time) *session.CachedEntry {
	if f := s.cur.Load(); f != nil && f.failure() == nil {
		return f.cache.Get(id, now)
	}
	return nil
}

// NearCacheStats tells how the sessions in memory are doing, since the file was
// opened.
func (s *Store) NearCacheStats() nearcache.Stats {
	if f := s.cur.Load(); f != nil {
		return f.cache.Stats()
	}
	return nearcache.Stats{}
}

var (
	_ session.NearCache    = (*Store)(nil)
	_ session.PrefixReader = (*Store)(nil)
)
