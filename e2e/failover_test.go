package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// visitors is how many sessions the load uses again and again.
const visitors = 60

// slack is what an answer may take on top of the timeouts.
const slack = 100 * time.Millisecond

// deciding is how long a read is tried that decides whether a write was done whose
// answer got lost.
const deciding = 500 * time.Millisecond

// patience is the longest that a task may wait for the store.
func (what task) patience() time.Duration {
	switch what {
	case loads:
		return redisstore.DefaultTimeout
	case signsIn:
		return redisstore.DefaultTimeout + deciding // write, decide
	case commits:
		return 2*redisstore.DefaultTimeout + deciding // load, write, decide
	}
	return 0
}

// failover is a load on one Caddy and what happens to its Redis meanwhile.
type failover struct {
	t          *testing.T
	s          *server
	load       *load
	goroutines int // of the client, before
}

// startFailover starts Caddy with the store and lets the load run for a while.
func startFailover(t *testing.T, store string) *failover {
	a := app(t, scripted)
	f := &failover{t: t}
	f.s = serve(t, store, "session\nreverse_proxy "+a.host())
	// Registered after, so it runs before the others: nothing may be left of
	// the client once Caddy has stopped.
	t.Cleanup(func() {
		caddy.Stop()
		eventually(t, "the client is gone", func() bool { return clientGoroutines() == 0 })
	})
	f.load = startLoad(t, f.s, visitors)
	time.Sleep(2 * time.Second)
	f.goroutines = clientGoroutines()
	return f
}

// clientGoroutines counts those of the Redis client and the store on it.
func clientGoroutines() int { return goroutines("redis/rueidis.", "redisstore.(") }

// recover waits until nothing has failed for two seconds, and ends the load.
func (f *failover) recover() {
	f.t.Helper()
	mended := time.Now()
	eventually(f.t, "nothing fails any more", func() bool {
		calm := 0
		for _, s := range f.load.results() {
			if s.end.Before(mended) || s.task == stranger {
				continue
			}
			if calm++; s.status != http.StatusOK {
				calm = 0
			}
		}
		return calm >= 2*rate
	})
	f.load.end()
}

// judge checks what has to hold whatever happens to Redis. kept says which
// version of a session Redis has now, 0 for none. It returns the row of the
// table.
func (f *failover) judge(name string, hit func(id string) bool, kept func(id string) uint64) {
	f.t.Helper()
	samples := f.load.results()
	failed := 0
	for _, s := range samples {
		if s.status == http.StatusOK {
			continue
		}
		failed++
		if s.task == stranger {
			f.t.Errorf("a request without a cookie has failed with status %d", s.status)
		}
		if s.status != http.StatusServiceUnavailable {
			f.t.Errorf("%s: status %d", s.task, s.status)
		}
	}
	slowest := time.Duration(0)
	for _, s := range samples {
		slowest = max(slowest, s.took())
		// A stall holds up each part of the way, one after the other.
		if most := s.task.patience() + slack + 4*s.stalled; busy.Exceeds(s.took(), most) {
			f.t.Errorf("%s took %v, more than %v", s.task, s.took(), most)
		}
	}

	lost, forgotten, undone := 0, 0, 0
	for id, cookie := range f.load.cookies {
		version := kept(id)
		if version == 0 {
			forgotten++
			continue
		}
		r := f.s.get("/", cookie)
		if !strings.Contains(r.body, "id="+id) || versionIn(r.body) != version {
			f.t.Errorf("Redis has session %s at version %d, Caddy says %q", id, version, r.body)
			lost++
		}
		if version < f.load.versions[id] {
			undone++
		}
	}
	// Each connection has some goroutines, and which there are depends on who
	// is primary and how much is going on; but nothing is left of each request
	// that failed, of which there were more than this.
	eventually(f.t, "the goroutines of the client are about as few as before", func() bool {
		return clientGoroutines() <= f.goroutines+32
	})

	f.t.Logf("| %s | %d | %d | %.1f s | %.0f ms | %d of %d | %d | %d |", name, len(samples), failed,
		gap(samples, func(s sample) bool { return s.task != stranger && s.task != signsIn && hit(s.session) }).Seconds(),
		float64(slowest.Microseconds())/1000, lost, len(f.load.cookies), forgotten, undone)
}

func tableHead(t *testing.T) {
	t.Log("| Redis | requests | failed | longest gap | slowest answer | sessions lost that Redis kept | sessions that Redis lost | commits that Redis lost |")
}

// versionOf returns the version of what a server has under a session's key.
func versionOf(s *redistest.Server, id string) uint64 {
	value, _ := s.Do("GET", "session:"+id).(string)
	version, _ := session.ParseHead([]byte(value))
	return version
}

func all(string) bool { return true }

// What 100 requests a second see of a failover. The times depend on how soon
// Redis notices: here a second with Sentinels, one and a half in a Cluster.
func TestFailover(t *testing.T) {
	t.Run("sentinel", func(t *testing.T) {
		g := redistest.StartSentinel(t, redistest.SentinelOptions{})
		f := startFailover(t, storeOption("redis "+strings.Join(g.Addrs(), " ")+" {\n\t\tsentinel "+g.Name+"\n\t}"))
		old := g.KillPrimary()
		primary := g.AwaitFailover(old)
		f.recover()
		tableHead(t)
		f.judge("Sentinel, primary killed", all, func(id string) uint64 { return versionOf(primary, id) })
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t, "")
		f := startFailover(t, storeOption("redis "+strings.Join(c.Addrs(), " ")))
		old := c.Primaries()[0]
		hit := map[string]bool{}
		for _, cookie := range f.load.pool {
			id := sessionID(cookie)
			hit[id] = c.PrimaryOf("session:"+id) == old
		}
		old.Stop()
		c.AwaitFailover(old)
		f.recover()
		tableHead(t)
		f.judge("Cluster, one of three primaries killed", func(id string) bool { return hit[id] },
			func(id string) uint64 { return versionOf(c.PrimaryOf("session:"+id), id) })
	})
	t.Run("frozen", func(t *testing.T) {
		redis := redistest.Start(t)
		f := startFailover(t, storeOption("redis "+redis.Addr))
		redis.Pause()
		frozen := time.Now()
		time.Sleep(3 * time.Second)
		thawed := time.Now()
		redis.Resume()
		f.recover()
		tableHead(t)
		f.judge("one server, frozen for 3 s", all, func(id string) uint64 { return versionOf(redis, id) })

		var during []sample
		waited := 0
		for _, s := range f.load.results() {
			if s.start.After(frozen) && s.start.Before(thawed) && s.task != stranger {
				during = append(during, s)
				if s.took() > 50*time.Millisecond {
					waited++
				}
			}
		}
		t.Log("| while frozen: requests to the store | p50 | p99 | max | waited longer than 50 ms |")
		t.Logf("| %d | %v | %v | %v | %d |", len(during), percentile(during, 0.5).Round(100*time.Microsecond),
			percentile(during, 0.99).Round(100*time.Microsecond), percentile(during, 1).Round(100*time.Microsecond), waited)
	})
}
