//go:build unix

package redisstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/redis/rueidis"
)

// How long another node's revocation goes unseen. Run it with -v for the table.
func TestNearCacheStaleness(t *testing.T) {
	server := redistest.Start(t)
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	const revocations = 1000
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nrevocations\tothers busy\tin memory on return\tseen after: p50\tp99\tmax\t")
	for _, load := range []int{0, 8, 32} {
		s := listening(t, redisstore.Options{Addresses: []string{server.Addr}})
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for range load { // others read and commit meanwhile
			busy.Go(func() {
				id := created(t, other)
				for v := uint64(1); ; v++ {
					select {
					case <-stop:
						return
					default:
					}
					look(t, s, id)
					if err := other.Put(context.Background(), id, v, entry(v+1, "")); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		ids := make([]string, revocations)
		for i := range ids {
			ids[i] = created(t, other)
		}
		// What a visitor sees who asks all the time: as live after the
		// revocation has returned, and when at last.
		after := make([]time.Duration, revocations)
		unseen := 0
		for i, id := range ids {
			keep(t, s, id)
			if err := other.Delete(t.Context(), id, 0); err != nil {
				t.Fatal(err)
			}
			returned := time.Now()
			if cached(s, id) == 0 {
				continue
			}
			unseen++
			for cached(s, id) != 0 {
				time.Sleep(time.Microsecond)
			}
			after[i] = time.Since(returned)
		}
		close(stop)
		busy.Wait()
		slices.Sort(after)
		at := func(p float64) time.Duration { return after[int(p*float64(len(after)-1))].Round(time.Microsecond) }
		fmt.Fprintf(table, "%d\t%d\t%d\t%v\t%v\t%v\t\n", revocations, load, unseen, at(0.5), at(0.99), at(1))
		if most := at(1); most > redisstore.DefaultNearMaxAge+time.Second {
			t.Errorf("a revocation was seen after %v", most)
		}
		s.Close()
	}
	table.Flush()
	t.Log(text.String())
}

// Readers of one process and a writer of another: what is in memory may be late
// but never stays behind. It is asked again long after the announcement must
// have come, and long before the maximum age hides a mistake.
func TestNearNothingOutdatedStays(t *testing.T) {
	server := redistest.Start(t)
	s := near(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient}, redisstore.NearOptions{MaxAge: time.Hour})
	s.Get(t.Context(), newID())
	eventually(t, "the near-cache is on", func() bool { return s.NearCacheStats().On })
	other := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})

	const rounds, ids = 60, 16
	for round := range rounds {
		names := make([]string, ids)
		for i := range names {
			names[i] = created(t, other)
		}
		stop := make(chan struct{})
		var readers, writers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						look(t, s, names[i%ids])
					}
				}
			})
		}
		last := uint64(3 + round%3)
		for _, id := range names {
			writers.Go(func() {
				for v := uint64(1); v < last; v++ {
					if err := other.Put(t.Context(), id, v, entry(v+1, "")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		time.Sleep(time.Millisecond)
		close(stop)
		readers.Wait()
		for _, id := range names {
			for start := time.Now(); ; time.Sleep(time.Millisecond) {
				v := cached(s, id)
				if v == 0 || v == last {
					break
				}
				if time.Since(start) > 5*time.Second {
					t.Fatalf("version %d stays in memory, the store has %d", v, last)
				}
			}
		}
	}
	t.Logf("%+v", s.NearCacheStats())
}

// Why tracking has BCAST: without it, and with NOLOOP against echoes, a key that
// this connection writes is forgotten without a word, and what others then do
// to it is never announced.
func TestDefaultTrackingForgetsOwnWrites(t *testing.T) {
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	for _, test := range []struct {
		options []string
		want    int
	}{
		{[]string{"NOLOOP"}, 0},
		{[]string{"BCAST", "PREFIX", "k"}, 2}, // the echo too
	} {
		client, release := c.Dedicate()
		var announced atomic.Int64
		client.SetOnInvalidations(func(keys []rueidis.RedisMessage) { announced.Add(int64(len(keys))) })
		run := func(words ...string) {
			t.Helper()
			if err := client.Do(t.Context(), client.B().Arbitrary(words...).Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
				t.Fatal(err)
			}
		}
		run(append([]string{"CLIENT", "TRACKING", "ON"}, test.options...)...)
		run("GET", "k")
		run("SET", "k", "mine")
		do(t, c, "SET", "k", "theirs")
		run("PING") // what was announced before is here by now
		run("PING")
		if got := int(announced.Load()); got != test.want {
			t.Errorf("%v: %d announcements, want %d", test.options, got, test.want)
		}
		release()
	}
}
