package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

var (
	historyDuration = flag.Duration("history.duration", 75*time.Second, "how long the histories are, together")
	historySeed     = flag.Uint64("history.seed", 0, "makes the same random choices again; 0 means new ones")
)

// roundTime bounds how much is kept in memory until it is checked.
const roundTime = 6 * time.Second

// fault is something that goes wrong for a while.
type fault struct {
	name   string
	weight int
	// run does it and makes it good again.
	run func(random *rand.Rand)
}

// Two Caddys share a store, and browsers talk to both in turn while processes
// are killed, frozen, cut off and reloaded. Whatever the browsers and the
// application saw must be what one session that does one thing after the other
// could have shown: no write that was confirmed is lost, what has ended stays
// so, versions only grow, and "can't tell" is never "no session".
func TestHistory(t *testing.T) {
	each := *historyDuration / 7
	// apart is one server, which each Caddy reaches by a network of its own: store is
	// the argument of a store there. The faults are those of the server.
	apart := func(t *testing.T, addr string, store func(addr string) string, stale time.Duration, faults ...fault) {
		var networks []*redistest.Proxy
		var stores []string
		for range 2 {
			n := redistest.NewProxy(t, addr)
			networks = append(networks, n)
			stores = append(stores, storeOption(store(n.Addr)))
		}
		w := newWorld(t, "", stores...)
		w.stale = stale
		// broken runs f on one Caddy's network for up to most milliseconds.
		broken := func(most int, f func(*redistest.Proxy, *rand.Rand)) func(*rand.Rand) {
			return func(random *rand.Rand) {
				n := networks[random.IntN(len(networks))]
				f(n, random)
				nap(random, most)
				n.Restore()
			}
		}
		w.run(each, append(append(w.faults(), faults...),
			fault{"cut the network", 2, broken(300, func(n *redistest.Proxy, _ *rand.Rand) { n.Cut() })},
			fault{"drop what is sent", 2, broken(600, func(n *redistest.Proxy, _ *rand.Rand) { n.Drop() })},
			fault{"delay what is sent", 2, broken(600, func(n *redistest.Proxy, random *rand.Rand) {
				n.Delay(time.Duration(random.IntN(100)) * time.Millisecond)
			})},
		))
	}
	single := func(t *testing.T, settings string, stale time.Duration) {
		redis := redistest.Start(t, "--appendfsync", "always")
		apart(t, redis.Addr, func(addr string) string { return "redis " + addr + " {\n" + settings + "\n}" }, stale,
			frozen(func(*rand.Rand) *redistest.Server { return redis }),
			fault{"kill redis", 2, func(random *rand.Rand) { redis.Stop(); nap(random, 300); redis.Restart() }})
	}
	t.Run("postgres", func(t *testing.T) {
		server := pgtest.Shared(t)
		url := server.URL("postgres", pgtest.Password)
		apart(t, server.Addr, func(addr string) string {
			return "postgres " + strings.Replace(url, server.Addr, addr, 1) + " {\ntable history\n}"
		}, 0,
			fault{"freeze postgres", 2, func(random *rand.Rand) { server.Pause(t); nap(random, 600); server.Resume() }},
			fault{"kill postgres", 2, func(random *rand.Rand) { server.Stop(t); nap(random, 300); server.Restart(t) }})
	})
	// What was decoded a moment ago and is used again must not show, and neither
	// must it without.
	t.Run("redis", func(t *testing.T) { single(t, "", 0) })
	t.Run("redis, decoding each time", func(t *testing.T) { single(t, "decoded_cache off", 0) })
	t.Run("near-cache", func(t *testing.T) { single(t, "near_cache {\nmax_age 1s\n}", time.Second) })
	// Replication is asynchronous: only a planned failover loses nothing.
	t.Run("sentinel", func(t *testing.T) {
		g := redistest.StartSentinel(t, redistest.SentinelOptions{})
		store := storeOption("redis " + strings.Join(g.Addrs(), " ") + " {\n\t\tsentinel " + g.Name + "\n\t}")
		w := newWorld(t, "", store, store)
		w.run(each, append(w.faults(), frozen(func(*rand.Rand) *redistest.Server { return g.Primary() }),
			fault{"planned failover", 4, func(*rand.Rand) { g.PlannedFailover() }},
			fault{"kill a replica", 1, func(random *rand.Rand) {
				s := g.Replicas()[0]
				s.Stop()
				nap(random, 300)
				g.Rejoin(s)
				g.AwaitReplicas()
			}},
			fault{"kill a sentinel", 1, func(random *rand.Rand) {
				s := g.Sentinels[random.IntN(len(g.Sentinels))]
				s.Stop()
				nap(random, 300)
				s.Restart()
			}},
		))
	})
	// What a primary had not passed on when it died is lost, but with wait no
	// session that has ended comes back, and no secret that was replaced.
	t.Run("sentinel with wait", func(t *testing.T) {
		g := redistest.StartSentinel(t, redistest.SentinelOptions{})
		store := storeOption("redis " + strings.Join(g.Addrs(), " ") + " {\n\t\tsentinel " + g.Name + "\n\t\twait 2 100ms\n\t}")
		w := newWorld(t, "", store, store)
		w.lossy = true
		w.run(each, []fault{
			frozen(func(*rand.Rand) *redistest.Server { return g.Primary() }),
			{"kill the primary", 2, func(random *rand.Rand) {
				// The replicas look elsewhere: what they miss now is lost.
				for _, replica := range g.Replicas() {
					replica.Do("REPLICAOF", "127.0.0.1", "1")
				}
				nap(random, 500)
				old := g.KillPrimary()
				g.AwaitFailover(old)
				nap(random, 500)
				g.Rejoin(old)
				g.AwaitReplicas()
			}},
		})
	})
	t.Run("cluster", func(t *testing.T) {
		g := redistest.StartCluster(t, "")
		store := storeOption("redis " + strings.Join(g.Addrs()[:3], " "))
		// Encryption would hide a mistake: who has the old secret can't read
		// what was written under the new one.
		w := newWorld(t, "encryption off", store, store)
		one := func(random *rand.Rand) *redistest.Server {
			primaries := g.Primaries()
			return primaries[random.IntN(len(primaries))]
		}
		w.run(each, append(w.faults(), frozen(one),
			fault{"planned failover", 4, func(random *rand.Rand) { g.PlannedFailover(one(random)) }},
			fault{"kill a replica", 1, func(random *rand.Rand) {
				s := g.Partner(one(random))
				s.Stop()
				nap(random, 300)
				s.Restart()
				g.AwaitReplicas()
			}},
		))
	})
}

// frozen is a server that does not answer, but not for so long that another
// one takes over.
func frozen(server func(*rand.Rand) *redistest.Server) fault {
	return fault{"freeze redis", 2, func(random *rand.Rand) {
		s := server(random)
		s.Pause()
		nap(random, 700)
		s.Resume()
	}}
}

// faults are those that every store has to do with.
func (w *world) faults() []fault {
	one := func(random *rand.Rand) *child { return w.caddys[random.IntN(len(w.caddys))] }
	return []fault{
		{"kill a Caddy", 2, func(random *rand.Rand) { c := one(random); c.kill(); nap(random, 200); c.start() }},
		{"reload a Caddy", 2, func(random *rand.Rand) { one(random).reload() }},
	}
}

// nap waits up to most milliseconds.
func nap(random *rand.Rand, most int) {
	time.Sleep(time.Duration(random.IntN(most)) * time.Millisecond)
}

// run lets browsers loose for a time, with faults, and checks what they saw.
func (w *world) run(duration time.Duration, faults []fault) {
	t := w.t
	seed := *historySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./e2e -run '%s$' -history.seed %d", t.Name(), seed)
	for round := uint64(0); w.now() < duration && !t.Failed(); round++ {
		stop := make(chan struct{})
		var surfing sync.WaitGroup
		for i := range 6 {
			b := &visitor{user: []string{"alice", "bob"}[i%2]}
			for j := range 3 {
				random := rand.New(rand.NewPCG(seed, round<<16+uint64(10*i+j+1)))
				surfing.Go(func() { w.surf(b, random, stop) })
			}
		}
		random := rand.New(rand.NewPCG(seed, round<<16))
		for end := w.now() + roundTime; w.now() < end; nap(random, 800) {
			f := pick(faults, random)
			from := w.now()
			f.run(random)
			w.count("fault: " + f.name)
			t.Logf("%.3f..%.3f %s", from.Seconds(), w.now().Seconds(), f.name)
		}
		close(stop)
		surfing.Wait()
		w.finish()
	}
	t.Logf("%v:\n%s", w.now().Round(time.Second), w.summary())
}

func pick(faults []fault, random *rand.Rand) fault {
	sum := 0
	for _, f := range faults {
		sum += f.weight
	}
	at := random.IntN(sum)
	for _, f := range faults {
		if at -= f.weight; at < 0 {
			return f
		}
	}
	panic(fmt.Sprint("no fault at ", at))
}
