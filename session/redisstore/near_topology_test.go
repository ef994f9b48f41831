package redisstore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// heard asserts that what another process does to these sessions is heard of,
// wherever they are.
func heard(t *testing.T, s *redisstore.NearStore, other *redisstore.Store) {
	t.Helper()
	ids := make([]string, 40) // every primary of a Cluster has some
	for i := range ids {
		ids[i] = created(t, other)
	}
	for _, id := range ids {
		keep(t, s, id)
	}
	for _, id := range ids {
		if err := other.Delete(t.Context(), id, 0); err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		eventually(t, "the end of a session is seen", func() bool { return cached(s, id) == 0 })
	}
}

// worksEverywhere reports whether a store can be read on all of a Cluster.
func worksEverywhere(s *redisstore.Store) bool {
	for range 40 {
		if !works(s) {
			return false
		}
	}
	return true
}

// listened asserts that these servers come to have one tracking connection each.
// One may be missing for a moment, while the cache is off: the client closes the
// connections to a server that an answer about a changing topology has left out,
// five seconds later, and by then the server may be back in it.
func listened(t *testing.T, want ...*redistest.Server) {
	t.Helper()
	for _, server := range want {
		c := admin(t, server.Addr)
		eventually(t, server.Addr+" has one tracking connection", func() bool { return len(trackers(t, c)) == 1 })
		c.Close()
	}
}

// In a Cluster all primaries are listened to, or nothing is cached; also after
// one of them has become another.
func TestNearCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, "")
	opts := redisstore.Options{Addresses: cluster.Addrs()[:2], Timeout: patient}
	s := near(t, opts, redisstore.NearOptions{MaxAge: time.Hour})
	other := open(t, opts)
	// Reads go on all the time, as from them a client learns of changes.
	busy := func(what string, ok func() bool) {
		t.Helper()
		eventually(t, what, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for range 10 {
				s.Get(ctx, newID())
			}
			return ok()
		})
	}
	isOn := func() bool { return s.NearCacheStats().On }
	busy("the near-cache is on", isOn)
	heard(t, s, other)
	listened(t, cluster.Servers[:3]...)

	// One dies, and its replica takes over.
	id := created(t, other)
	keep(t, s, id)
	old := cluster.Servers[0]
	old.Stop()
	off(t, s, id, "a primary has died")
	replica := cluster.AwaitFailover(old)
	busy("the near-cache is on with the new primary", func() bool { return isOn() && worksEverywhere(other) })
	heard(t, s, other)
	listened(t, replica, cluster.Servers[1], cluster.Servers[2])

	// A planned change of roles.
	old.Restart()
	replica = cluster.PlannedFailover(cluster.Servers[1])
	busy("the near-cache is on after a planned failover", func() bool {
		c := admin(t, replica.Addr)
		defer c.Close()
		return isOn() && worksEverywhere(other) && len(trackers(t, c)) == 1
	})
	heard(t, s, other)

	// A replica that dies is soon forgotten.
	cluster.Partner(cluster.Servers[2]).Stop()
	time.Sleep(2 * time.Second)
	busy("the near-cache is on without a replica", isOn)
	heard(t, s, other)
	s.Close()
	other.Close()
	nothingLeft(t)
}

// With Sentinels the primary is listened to, whoever that is.
func TestNearSentinel(t *testing.T) {
	group := redistest.StartSentinel(t, redistest.SentinelOptions{})
	opts := redisstore.Options{Addresses: group.Addrs(), Sentinel: &redisstore.Sentinel{Master: group.Name}, Timeout: patient}
	s := near(t, opts, redisstore.NearOptions{MaxAge: time.Hour})
	other := open(t, opts)
	s.Get(t.Context(), newID())
	eventually(t, "the near-cache is on", func() bool { return s.NearCacheStats().On })
	heard(t, s, other)
	listened(t, group.Primary())

	id := created(t, other)
	keep(t, s, id)
	old := group.KillPrimary()
	off(t, s, id, "the primary has died")
	group.AwaitFailover(old)
	eventually(t, "the near-cache is on", func() bool { return works(s.Store) && works(other) && s.NearCacheStats().On })
	heard(t, s, other)
	listened(t, group.Primary())

	group.Rejoin(old)
	group.AwaitReplicas()
	primary := group.PlannedFailover()
	eventually(t, "the near-cache is on after a planned failover", func() bool {
		c := admin(t, primary.Addr)
		defer c.Close()
		return works(s.Store) && works(other) && s.NearCacheStats().On && len(trackers(t, c)) == 1
	})
	heard(t, s, other)
	if slices.Contains(group.Replicas(), primary) {
		t.Error("the test is wrong: the primary is a replica")
	}
	s.Close()
	other.Close()
	nothingLeft(t)
}
