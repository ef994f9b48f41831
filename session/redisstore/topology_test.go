//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// watchedBy returns the options for a primary that Sentinels watch.
func watchedBy(g *redistest.Sentinel, password, sentinelPassword string) redisstore.Options {
	return redisstore.Options{
		Addresses: g.Addrs(), Password: password,
		Sentinel: &redisstore.Sentinel{Master: g.Name, Password: sentinelPassword},
	}
}

func TestContractSentinel(t *testing.T) {
	g := redistest.StartSentinel(t, redistest.SentinelOptions{Password: "of the servers", SentinelPassword: "of the sentinels"})
	opts := watchedBy(g, "of the servers", "of the sentinels")
	opts.Timeout = patient
	storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{
		PutRaw: func(id string, value []byte) {
			g.Primary().Do("SET", "session:"+id, string(value), "EX", "3600")
		},
	})
	for _, wrong := range []redisstore.Options{
		watchedBy(g, "of the sentinels", "of the sentinels"),
		watchedBy(g, "of the servers", "of the servers"),
		watchedBy(g, "of the servers", ""),
	} {
		wrong.Timeout = patient
		s := open(t, wrong)
		if _, err := s.Get(t.Context(), newID()); err == nil || errors.Is(err, session.ErrNotFound) {
			t.Errorf("with wrong passwords: error %v", err)
		}
	}
	wrong := opts
	wrong.Sentinel = &redisstore.Sentinel{Master: "another", Password: "of the sentinels"}
	if _, err := open(t, wrong).Get(t.Context(), newID()); err == nil || errors.Is(err, session.ErrNotFound) {
		t.Errorf("with the name of another primary: error %v", err)
	}
}

func TestContractCluster(t *testing.T) {
	c := redistest.StartCluster(t, "secret")
	for name, addresses := range map[string][]string{
		"one address":       c.Addrs()[:1],
		"several addresses": append([]string{"127.0.0.1:1"}, c.Addrs()[:3]...), // one is enough
	} {
		t.Run(name, func(t *testing.T) {
			opts := redisstore.Options{Addresses: addresses, Password: "secret", Timeout: patient}
			storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{
				PutRaw: func(id string, value []byte) {
					key := "session:" + id
					c.PrimaryOf(key).Do("SET", key, string(value), "EX", "3600")
				},
			})
		})
	}
}

// Several addresses are no list of independent servers.
func TestSeveralServersAreNoCluster(t *testing.T) {
	s := open(t, redisstore.Options{Addresses: []string{redistest.Start(t).Addr, redistest.Start(t).Addr}, Timeout: patient})
	if _, err := s.Get(t.Context(), newID()); err == nil || !strings.Contains(err.Error(), "no Cluster") {
		t.Errorf("error %v", err)
	}
}

func TestSentinelFailover(t *testing.T) {
	g := redistest.StartSentinel(t, redistest.SentinelOptions{})
	core, logs := observer.New(zap.InfoLevel)
	opts := watchedBy(g, "", "")
	opts.Logger = zap.New(core)
	s := open(t, opts)
	eventually(t, "the store works", func() bool { return works(s) })
	ids := fill(t, s, 50)
	g.AwaitReplicas()

	old := g.KillPrimary()
	eventually(t, "that is noticed", func() bool { return !works(s) })
	g.AwaitFailover(old)
	eventually(t, "the store works", func() bool { return accepts(s) })
	for _, id := range ids {
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Errorf("after the failover: %v", err)
		}
	}
	eventually(t, "the log tells the end", func() bool { return logs.FilterMessage("redis is back").Len() > 0 })
	s.Close()
	nothingLeft(t)
}

// While one server of a Cluster is gone the others serve as always.
func TestClusterFailover(t *testing.T) {
	const timeout = time.Second
	c := redistest.StartCluster(t, "")
	s := open(t, redisstore.Options{Addresses: c.Addrs(), Timeout: timeout})
	eventually(t, "the store works", func() bool { return works(s) })
	ids := fill(t, s, 60)
	c.AwaitReplicas()
	victim := c.PrimaryOf("session:" + ids[0])
	victims := make(map[string]bool)
	for _, id := range ids {
		victims[id] = c.PrimaryOf("session:"+id) == victim
	}
	others := func() {
		// The first call finds out, the others fail at once.
		eventually(t, "it is known", func() bool {
			_, err := s.Get(t.Context(), ids[0])
			return err != nil && strings.Contains(err.Error(), "is down")
		})
		start := time.Now()
		for range 5 {
			for _, id := range ids {
				if _, err := s.Get(t.Context(), id); err != nil && !victims[id] {
					t.Errorf("a server that works: %v", err)
				} else if errors.Is(err, session.ErrNotFound) {
					t.Error("what can't be asked for is not found")
				}
			}
		}
		if took := time.Since(start); busy.Exceeds(took, timeout) {
			t.Errorf("%d calls, some of them to the server that is gone, took %v", 5*len(ids), took)
		}
	}
	complete := func() bool {
		for _, id := range ids {
			if _, err := s.Get(t.Context(), id); errors.Is(err, session.ErrNotFound) {
				t.Fatalf("session %s is lost", id)
			} else if err != nil {
				return false
			}
		}
		return true
	}

	victim.Pause()
	others()
	victim.Resume() // before it is replaced, or not
	eventually(t, "the store works for all", complete)
	eventually(t, "the Cluster is as it was", func() bool { return c.PrimaryOf("session:"+ids[0]) != nil })

	victim = c.PrimaryOf("session:" + ids[0])
	c.AwaitReplicas()
	victim.Stop()
	others()
	c.AwaitFailover(victim)
	eventually(t, "the store works for all", complete)
}

// fill puts sessions into a store and returns their ids.
func fill(t *testing.T, s *redisstore.Store, n int) (ids []string) {
	t.Helper()
	for range n {
		id := newID()
		e := entry(1, "kept")
		e.IndexKey, e.Deadline = "alice", time.Now().Add(time.Hour)
		if err := s.Put(t.Context(), id, 0, e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// accepts reports whether the store can be written.
func accepts(s *redisstore.Store) bool {
	return s.Put(context.Background(), newID(), 0, entry(1, "")) == nil
}

// A cursor of before a failover leads nowhere: it would leave sessions out.
func TestListDuringFailover(t *testing.T) {
	c := redistest.StartCluster(t, "")
	s := open(t, redisstore.Options{Addresses: c.Addrs(), Timeout: patient})
	fill(t, s, 50)
	_, cursor, err := s.List(t.Context(), "", 1)
	if err != nil || cursor == "" {
		t.Fatalf("cursor %q, %v", cursor, err)
	}
	for _, bad := range []string{"x", "1", cursor + "x", strings.Replace(cursor, " ", " x", 1)} {
		if _, _, err := s.List(t.Context(), bad, 1); err == nil {
			t.Errorf("the cursor %q is good", bad)
		}
	}
	c.PlannedFailover(c.Primaries()[0])
	eventually(t, "the change is noticed", func() bool {
		_, _, err := s.List(t.Context(), cursor, 1)
		return err != nil && strings.Contains(err.Error(), "begin again")
	})
}

// Once a server does not answer, a hundred calls cost less than the time of
// one; nor does any wait for a server that comes back only to be frozen again.
func TestBreaker(t *testing.T) {
	const timeout = time.Second
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: timeout})
	eventually(t, "the store works", func() bool { return works(s) })
	for range 3 {
		server.Pause()
		// Each connection finds out by itself.
		known := 0
		eventually(t, "it is known to be down", func() bool {
			_, err := s.Get(t.Context(), newID())
			if known++; err == nil || !strings.Contains(err.Error(), "is down") {
				known = 0
			}
			return known == 20
		})
		start := time.Now()
		for range 100 {
			for name, call := range storetest.Calls(s, newID()) {
				if err := call(t.Context()); err == nil || !strings.Contains(err.Error(), "is down") {
					t.Errorf("%s: error %v", name, err)
				}
			}
		}
		if took := time.Since(start); busy.Exceeds(took, timeout) {
			t.Errorf("900 calls took %v", took)
		}
		server.Resume()
		eventually(t, "the store works", func() bool { return works(s) })
	}
}

func TestWait(t *testing.T) {
	g := redistest.StartSentinel(t, redistest.SentinelOptions{})
	primary := g.Primary()
	replicas := g.Replicas()
	for name, opts := range map[string]redisstore.Options{
		"server":   {Addresses: []string{primary.Addr}},
		"sentinel": watchedBy(g, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			opts.Timeout = 2 * time.Second
			opts.Wait = redisstore.Wait{Replicas: 1, Timeout: 700 * time.Millisecond}
			s := open(t, opts)
			eventually(t, "the store works", func() bool { return works(s) })
			waitContract(t, s, func() {
				for _, r := range replicas {
					r.Pause()
				}
			}, func() {
				for _, r := range replicas {
					r.Resume()
				}
				g.AwaitReplicas()
			})
		})
	}
}

func TestWaitInCluster(t *testing.T) {
	c := redistest.StartCluster(t, "")
	s := open(t, redisstore.Options{
		Addresses: c.Addrs(), Timeout: 2 * time.Second, Wait: redisstore.Wait{Replicas: 1, Timeout: 700 * time.Millisecond},
	})
	eventually(t, "the store works", func() bool { return works(s) })
	replicas := make([]*redistest.Server, 0, 3)
	for _, p := range c.Primaries() {
		replicas = append(replicas, c.Partner(p))
	}
	waitContract(t, s, func() {
		for _, r := range replicas {
			r.Pause()
		}
	}, func() {
		for _, r := range replicas {
			r.Resume()
		}
		c.AwaitReplicas()
	})
}

// waitContract holds a store that waits for one replica to what it promises,
// while there are replicas and while there are none.
func waitContract(t *testing.T, s *redisstore.Store, pause, resume func()) {
	// A replica that has just come says that it is linked before its primary does.
	eventually(t, "replicas confirm", func() bool { return s.DeleteMany(t.Context(), "", nil) == nil })
	ids := fill(t, s, 20)
	renewal := func(version uint64) session.Entry {
		e := entry(version, "renewed")
		e.Durable = true
		return e
	}
	for _, err := range []error{
		s.Put(t.Context(), ids[0], 1, renewal(2)),
		s.Put(t.Context(), ids[0], 1, renewal(2)), // conflict
		s.Delete(t.Context(), ids[1], 1),
		s.Delete(t.Context(), ids[1], 1), // not found
		s.Delete(t.Context(), ids[2], 0),
		s.Delete(t.Context(), ids[2], 0),
		s.DeleteMany(t.Context(), "k", ids[6:9]),
		s.DeleteMany(t.Context(), "k", ids[6:9]),
		s.DeleteMany(t.Context(), "", nil),
	} {
		if err != nil && !errors.Is(err, session.ErrConflict) && !errors.Is(err, session.ErrNotFound) {
			t.Errorf("with replicas: %v", err)
		}
	}
	if err := s.Put(t.Context(), ids[0], 1, renewal(2)); !errors.Is(err, session.ErrConflict) {
		t.Errorf("an update of another version: %v", err)
	}

	pause()
	for _, call := range []struct {
		name string
		call func() error
	}{
		// Nobody knows whether replicas have that. First, on connections that
		// have written nothing but what the replicas have.
		{"delete gone", func() error { return s.Delete(t.Context(), ids[1], 0) }},
		{"delete gone version", func() error { return s.Delete(t.Context(), ids[1], 1) }},
		{"delete many gone", func() error { return s.DeleteMany(t.Context(), "k", ids[6:9]) }},
		{"delete none", func() error { return s.DeleteMany(t.Context(), "k", nil) }},

		{"update", func() error { return s.Put(t.Context(), ids[3], 1, renewal(2)) }},
		{"delete", func() error { return s.Delete(t.Context(), ids[4], 1) }},
		{"delete any", func() error { return s.Delete(t.Context(), ids[5], 0) }},
		{"delete many", func() error { return s.DeleteMany(t.Context(), "k", ids[9:]) }},
	} {
		start := time.Now()
		if err := call.call(); !errors.Is(err, session.ErrNotReplicated) {
			t.Errorf("%s without replicas: error %v", call.name, err)
		}
		if took := time.Since(start); busy.Exceeds(took, 2*time.Second+slack) {
			t.Errorf("%s took %v", call.name, took)
		}
	}
	if err := s.Put(t.Context(), newID(), 0, entry(1, "")); err != nil {
		t.Errorf("a sign-in waits: %v", err)
	}
	if err := s.Put(t.Context(), ids[3], 2, entry(3, "")); err != nil {
		t.Errorf("another change waits, or the update was not done: %v", err)
	}
	resume()
	for _, err := range []error{s.Delete(t.Context(), ids[5], 0), s.DeleteMany(t.Context(), "k", nil)} {
		if err != nil {
			t.Errorf("after that: %v", err)
		}
	}
	for i, id := range ids {
		if _, err := s.Get(t.Context(), id); (err == nil) != (i == 0 || i == 3) {
			t.Errorf("session %d: %v", i, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	g := redistest.StartSentinel(t, redistest.SentinelOptions{})
	c := redistest.StartCluster(t, "")
	volatile := redistest.Start(t, "--appendonly", "no")
	snapshots := redistest.Start(t, "--appendonly", "no", "--save", "900 1")
	for name, test := range map[string]struct {
		opts redisstore.Options
		want map[string]int // how often, by a part of the message
	}{
		"replicas":      {redisstore.Options{Addresses: []string{g.Primary().Addr}}, map[string]int{"set wait": 1}},
		"waits":         {redisstore.Options{Addresses: []string{g.Primary().Addr}, Wait: redisstore.Wait{Replicas: 1, Timeout: time.Second}}, nil},
		"sentinel":      {watchedBy(g, "", ""), map[string]int{"set wait": 1}},
		"cluster":       {redisstore.Options{Addresses: c.Addrs()}, map[string]int{"set wait": 3}},
		"a replica":     {redisstore.Options{Addresses: []string{g.Replicas()[0].Addr}}, map[string]int{"is a replica": 1}},
		"a sentinel":    {redisstore.Options{Addresses: g.Addrs()[:1]}, map[string]int{"is a Redis Sentinel": 1}},
		"volatile":      {redisstore.Options{Addresses: []string{volatile.Addr}}, map[string]int{"keeps nothing": 1}},
		"has snapshots": {redisstore.Options{Addresses: []string{snapshots.Addr}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			test.opts.Timeout, test.opts.Logger = patient, zap.New(core)
			s := open(t, test.opts)
			s.Get(t.Context(), newID())
			s.AwaitInspection()
			lines := 0
			for part, want := range test.want {
				n := 0
				for _, line := range logs.All() {
					if strings.Contains(line.Message, part) {
						n++
					}
				}
				if lines += n; n != want {
					t.Errorf("%q is logged %d times, want %d", part, n, want)
				}
			}
			for _, line := range logs.All() {
				if !strings.Contains(line.Message, "refuses") { // what the wrong servers do
					lines--
				}
			}
			if lines != 0 {
				t.Errorf("the log has %v", logs.All())
			}
		})
	}
}
