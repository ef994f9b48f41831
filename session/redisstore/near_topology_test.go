//go:build unix

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

// listened reports whether each of these servers has one tracking connection. One
// may be missing for a moment, while the cache is off: the client closes the
// connections to a server that an answer about a changing topology has left out,
// five seconds later, and by then the server may be back in it.
func listened(t *testing.T, servers ...*redistest.Server) bool {
	t.Helper()
	return !slices.ContainsFunc(servers, func(server *redistest.Server) bool {
		c := admin(t, server.Addr)
		defer c.Close()
		return len(trackers(t, c)) != 1
	})
}

// In a Cluster all primaries are listened to, or nothing is cached; also after
// one of them has become another. Who they are the servers are asked each time:
// on a busy machine one may have taken over from a primary that lives.
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
	listens := func() bool {
		primaries := cluster.Primaries()
		return isOn() && worksEverywhere(other) && len(primaries) == 3 && listened(t, primaries...)
	}
	busy("the near-cache is on", listens)
	heard(t, s, other)
	busy("each primary is listened to as before", listens)

	// One dies, and its replica takes over.
	id := created(t, other)
	keep(t, s, id)
	old := cluster.Primaries()[0]
	old.Stop()
	off(t, s, id, "a primary has died")
	cluster.AwaitFailover(old)
	busy("the near-cache is on with the new primary", listens)
	heard(t, s, other)
	busy("the new primary is listened to as before", listens)

	// A planned change of roles.
	old.Restart()
	cluster.PlannedFailover(cluster.Primaries()[1])
	busy("the near-cache is on after a planned failover", listens)
	heard(t, s, other)

	// A replica that dies is soon forgotten.
	cluster.Partner(cluster.Primaries()[2]).Stop()
	time.Sleep(2 * time.Second)
	busy("the near-cache is on without a replica", isOn)
	heard(t, s, other)
	s.Close()
	other.Close()
	nothingLeft(t)
}

// With Sentinels the primary is listened to, whoever they say that is.
func TestNearSentinel(t *testing.T) {
	group := redistest.StartSentinel(t, redistest.SentinelOptions{})
	opts := redisstore.Options{Addresses: group.Addrs(), Sentinel: &redisstore.Sentinel{Master: group.Name}, Timeout: patient}
	s := near(t, opts, redisstore.NearOptions{MaxAge: time.Hour})
	other := open(t, opts)
	listens := func(when string) {
		t.Helper()
		eventually(t, "the primary is listened to "+when, func() bool {
			return works(s.Store) && works(other) && s.NearCacheStats().On && listened(t, group.Primary())
		})
	}
	s.Get(t.Context(), newID())
	listens("at first")
	heard(t, s, other)
	listens("as before")

	id := created(t, other)
	keep(t, s, id)
	old := group.KillPrimary()
	off(t, s, id, "the primary has died")
	group.AwaitFailover(old)
	listens("after a failover")
	heard(t, s, other)
	listens("as before")

	group.Rejoin(old)
	group.AwaitReplicas()
	group.PlannedFailover()
	listens("after a planned failover")
	heard(t, s, other)
	listens("as before")
	s.Close()
	other.Close()
	nothingLeft(t)
}
