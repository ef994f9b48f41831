// Package nearcache keeps sessions that were read from a store in the memory of
// this process, and never longer than the store vouches for them.
//
// # Why nothing outdated stays
//
// What the store sends comes over several connections: the answer to a read on
// one, the word that a session has changed on another. They may overtake each
// other, so an answer may tell of the time before a change whose announcement
// has long been dealt with. If it were kept, nothing would ever remove it.
//
// Ids are therefore dealt out to shards, and each shard has a generation. A read
// notes the generation before it is sent (Begin). An invalidation adds one to it
// and removes the entry; an answer becomes an entry only if the generation is
// still the one that was noted (Fill). Both happen under the shard's lock. Now
// let the store change a session, and announce it:
//
//   - The announcement was dealt with before Begin: then the store had changed
//     before the read was sent, and the answer tells of it.
//   - It is dealt with between Begin and Fill: then Fill finds another
//     generation, and keeps nothing.
//   - It is dealt with after Fill: then it removes the entry.
//
// So for an entry to be out of date its announcement must still be under way.
// That is all that the order of messages is needed for, and it holds for every
// number of connections. Two ids in one shard disturb each other in one way
// only: an answer is not kept that could have been.
//
// The process's own writes are announced by whoever makes them (Invalidate,
// before the write and again before its caller learns the outcome), so that a
// process reads its own writes without waiting for the echo.
//
// While nobody listens to announcements the cache is off (Disable): it returns
// nothing and keeps nothing. Enable begins with an empty cache and new
// generations everywhere, so a read from before it keeps nothing either.
//
// # For those that ask the store every time
//
// Known returns the entry that has the very bytes which the read has found. What a
// process has made of these bytes it may use again, whatever was announced or not:
// it was the store that has just sent them. For that alone nobody has to listen to
// announcements. An entry that is behind the store is met by nobody, and replaced
// by the next read.
//
// An entry's age is counted from the time that its read was sent, so that
// whatever else goes wrong, nothing is returned that is older than the maximum.
package nearcache

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// minWeight is what an entry counts at least, in bytes. It covers the
	// decoded session without its data, the id and the cache's own records.
	minWeight = 1 << 10

	// largest is the part of the cache that one entry may take: one in.
	largest = 4

	shards = 1024

	// noteEvery is of how many uses about one is noted. By these notes the
	// cache chooses what has to go when it is full.
	noteEvery = 16
)

// Cache holds entries by session id. It is off until Enable. All methods are
// safe for concurrent use. Make one with New. With a nil Cache, Begin, Known,
// Invalidate and Close do nothing, and nothing is kept.
type Cache struct {
	maxAge  time.Duration
	size    uint64
	entries *otter.Cache[string, *entry]
	seed    maphash.Seed
	shards  [shards]shard
	on      atomic.Bool

	hits, misses, bypassed atomic.Uint64
}

type shard struct {
	mu         sync.Mutex
	generation uint64
	_          [48]byte // one for each cache line
}

type entry struct {
	session.CachedEntry
	version uint64
	until   time.Time // it is too old from then on
}

// New returns a cache of at most so many bytes, in which nothing gets older
// than maxAge. Both are above zero. It has to be closed.
func New(size int64, maxAge time.Duration) *Cache {
	c := &Cache{maxAge: maxAge, size: uint64(size), seed: maphash.MakeSeed()}
	c.entries = otter.Must(&otter.Options[string, *entry]{
		MaximumWeight: uint64(size),
		Weigher:       func(_ string, e *entry) uint32 { return uint32(weight(len(e.Value))) },
		// Get is stricter. This one is for data that nobody asks for again: it
		// should not lie in memory.
		ExpiryCalculator: otter.ExpiryWriting[string, *entry](maxAge),
	})
	return c
}

// weight is what an entry counts: its value, the same again decoded and as the
// application gets it, and the rest.
func weight(value int) uint64 { return minWeight + 3*uint64(value) }

// Get returns the entry of an id, nil if there is none for now.
func (c *Cache) Get(id string, now time.Time) *session.CachedEntry {
	if !c.on.Load() {
		c.bypassed.Add(1)
		return nil
	}
	e := c.lookUp(id)
	if e == nil || !now.Before(e.until) || !now.Before(e.Expires) {
		c.misses.Add(1)
		return nil
	}
	c.hits.Add(1)
	return &e.CachedEntry
}

// lookUp returns what is there under an id, or nil.
func (c *Cache) lookUp(id string) *entry {
	// To note each use costs more than to find the entry, and what is used
	// often is noted often enough.
	if rand.Uint32()%noteEvery == 0 {
		e, _ := c.entries.GetIfPresent(id)
		return e
	}
	e, _ := c.entries.GetEntryQuietly(id)
	return e.Value
}

// Reading is a read of the store that is under way. The zero Reading keeps
// nothing.
type Reading struct {
	id         string
	shard      *shard
	generation uint64
	sent       time.Time
}

// Begin has to be called before the read of an id is sent.
func (c *Cache) Begin(id string) Reading {
	if c == nil || !c.on.Load() {
		return Reading{}
	}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return Reading{id: id, shard: s, generation: s.generation, sent: time.Now()}
}

// Known returns the entry in memory that has the very value that a read has found.
// One that is there stays as it is, and as old; else it is that of Fill.
func (c *Cache) Known(r Reading, found session.Entry) *session.CachedEntry {
	if r.shard == nil {
		return nil
	}
	e := c.lookUp(r.id)
	if e != nil && r.sent.Before(e.until) && r.sent.Before(e.Expires) && e.Cut == found.Cut && bytes.Equal(e.Value, found.Value) {
		return &e.CachedEntry
	}
	return c.Fill(r, found)
}

// Fill keeps what a read has found, unless that may be outdated, and returns it if
// it is kept. The value is copied.
func (c *Cache) Fill(r Reading, found session.Entry) *session.CachedEntry {
	if r.shard == nil || weight(len(found.Value)) > c.size/largest {
		return nil
	}
	e := &entry{version: found.Version, until: r.sent.Add(c.maxAge)}
	e.Value, e.Cut = append(make([]byte, 0, len(found.Value)), found.Value...), found.Cut
	e.Expires = r.sent.Round(0).Add(found.TTL) // by the wall clock, as stores do

	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	if !c.on.Load() || r.shard.generation != r.generation {
		// What is there may be older than what was found.
		c.entries.Invalidate(r.id)
		return nil
	}
	// Of two reads the one that was sent first may come back last.
	if was, ok := c.entries.GetIfPresent(r.id); ok && was.version > e.version {
		return nil
	}
	// The id is a part of a Cookie line, which may be long.
	c.entries.Set(strings.Clone(r.id), e)
	return &e.CachedEntry
}

// Invalidate says that the session may have changed.
func (c *Cache) Invalidate(id string) {
	if c == nil {
		return
	}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	c.entries.Invalidate(id)
}

// Drop says that any session may have changed.
func (c *Cache) Drop() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.generation++
		s.mu.Unlock()
	}
	// What was kept under the old generations is there by now, so all of it
	// goes; of what is kept under the new ones some may go too.
	c.entries.InvalidateAll()
}

// Disable switches the cache off and empties it: from now on Get returns
// nothing and nothing is kept.
func (c *Cache) Disable() {
	c.on.Store(false)
	c.Drop()
}

// Enable switches the cache on. Every change of the store from now on has to be
// told by Invalidate or Drop. Calls of Enable and Disable must not overlap.
func (c *Cache) Enable() {
	c.Drop()
	c.on.Store(true)
}

// Close ends what the cache has started and empties it.
func (c *Cache) Close() {
	if c == nil {
		return
	}
	c.Disable()
	c.entries.StopAllGoroutines()
}

// Stats tells how the cache is doing.
type Stats struct {
	Hits     uint64 // entries returned
	Misses   uint64 // calls of Get that found none
	Bypassed uint64 // calls of Get while the cache was off
	On       bool
	Entries  int    // about
	Bytes    uint64 // as they count against the size
}

// Stats returns the numbers since New.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Bypassed: c.bypassed.Load(), On: c.on.Load(),
		Entries: c.entries.EstimatedSize(), Bytes: c.entries.WeightedSize(),
	}
}

func (c *Cache) shard(id string) *shard {
	return &c.shards[maphash.String(c.seed, id)%shards]
}
