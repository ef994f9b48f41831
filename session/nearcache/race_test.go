package nearcache_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// Readers ask a store whose answers and announcements take ways of their own
// and overtake each other; somebody else writes. Whenever all announcements of
// what was written have been dealt with, nothing older may be in the cache.
func TestNothingOutdatedStays(t *testing.T) {
	const (
		ids     = 8
		writes  = 3000
		readers = 6
	)
	c := open(t, 1<<20, time.Hour)
	type key struct {
		name    string
		stored  atomic.Uint64 // version in the store
		settled atomic.Uint64 // announced, and dealt with
	}
	keys := make([]*key, ids)
	for i := range keys {
		keys[i] = &key{name: fmt.Sprintf("%022d", i)}
		keys[i].stored.Store(1)
	}
	check := func(k *key) {
		settled := k.settled.Load() // before the cache is asked
		if e := c.Get(k.name, time.Now()); e != nil {
			var version uint64
			fmt.Sscanf(string(e.Value), "v%d", &version)
			if version < settled {
				t.Errorf("%s: version %d is in the cache after %d was settled", k.name, version, settled)
			}
		}
	}
	// The ways of messages: now and then one is slow.
	travel := func() {
		for range rand.N(4) {
			runtime.Gosched()
		}
		if rand.N(200) == 0 {
			time.Sleep(time.Duration(rand.N(200)) * time.Microsecond)
		}
	}

	var writers, others sync.WaitGroup
	stop := make(chan struct{})
	for _, k := range keys {
		writers.Go(func() {
			for range writes / ids {
				version := k.stored.Add(1)
				travel()
				c.Invalidate(k.name)
				k.settled.Store(version)
				travel()
			}
		})
	}
	for range readers {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := keys[rand.N(ids)]
				check(k)
				r := c.Begin(k.name)
				travel()
				version := k.stored.Load()
				travel()
				c.Fill(r, session.Entry{Version: version, Value: fmt.Appendf(nil, "v%d", version), TTL: time.Hour})
				check(k)
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				c.Disable()
				c.Enable()
			}
		}
	})
	writers.Wait()
	close(stop)
	others.Wait()
	for _, k := range keys {
		check(k)
	}
	if s := c.Stats(); s.Hits == 0 || t.Failed() {
		t.Errorf("%+v", s)
	}
}
