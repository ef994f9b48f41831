//go:build unix

package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clusterSlots is how many hash slots a cluster shares out.
const clusterSlots = 16384

// Cluster is three primaries with one replica each. A replica takes over from
// a primary that has been silent for a second and a half. Like Server it is for
// one goroutine at a time.
type Cluster struct {
	// Servers are the three that start as primaries, then their replicas in
	// the same order.
	Servers []*Server

	t   testing.TB
	ids []string // of Servers
}

// StartCluster starts six processes that end with the test, and waits until
// all agree that the cluster works and the replicas are linked. args are as for
// Start, password is that of every server if it is not empty. It skips or fails
// as Start does.
func StartCluster(t testing.TB, password string, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	common := []string{
		"--cluster-enabled", "yes",
		"--cluster-node-timeout", "1500",
		"--cluster-replica-validity-factor", "0",
		"--cluster-migration-barrier", "10", // each replica stays with its primary
		"--repl-diskless-sync-delay", "0",
		"--repl-timeout", "5",
	}
	if password != "" {
		common = append(common, "--requirepass", password, "--masterauth", password)
	}
	for range 6 {
		// The bus has a port that is higher by 10000.
		s := configure(t, freePort(t, 12000, 22767, 10000), append(common, args...)...)
		s.password = password
		c.Servers = append(c.Servers, s)
	}
	for _, s := range c.Servers {
		s.launch()
	}
	for i, s := range c.Servers {
		s.await()
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		id, _ := s.Do("CLUSTER", "MYID").(string)
		c.ids = append(c.ids, id)
	}
	c.join()
	return c
}

// join makes a cluster of the servers.
func (c *Cluster) join() {
	c.t.Helper()
	// Everybody meets everybody, rather than to wait for rumours.
	for _, s := range c.Servers {
		for _, other := range c.Servers {
			if host, port, _ := net.SplitHostPort(other.Addr); other != s {
				s.Do("CLUSTER", "MEET", host, port)
			}
		}
	}
	for i, s := range c.Servers[:3] {
		for slot := i * clusterSlots / 3; slot < (i+1)*clusterSlots/3; {
			// Redis 6.2 has no ADDSLOTSRANGE.
			words := []string{"CLUSTER", "ADDSLOTS"}
			for ; slot < (i+1)*clusterSlots/3; slot++ {
				words = append(words, strconv.Itoa(slot))
			}
			s.Do(words...)
		}
	}
	for i, s := range c.Servers[3:] {
		eventually(c.t, "the replicas know their primaries", func() bool {
			_, err := s.Try("CLUSTER", "REPLICATE", c.ids[i])
			return err == nil
		})
	}
	c.AwaitReplicas()
	// Valkey 8.0 refuses to start again with a file that was written before it
	// knew to which primary's shard a replica belongs. Redis 6.2 has no shards.
	eventually(c.t, "all know who belongs together", func() bool {
		for _, s := range c.Servers {
			if shards, err := s.Try("CLUSTER", "SHARDS"); err == nil && len(shards.([]any)) != 3 {
				return false
			}
			s.Do("CLUSTER", "SAVECONFIG")
		}
		return true
	})
}

// Addrs are the addresses of all servers, host:port.
func (c *Cluster) Addrs() (addrs []string) {
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// PrimaryOf returns the server that has the key.
func (c *Cluster) PrimaryOf(key string) *Server {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.cmd == nil {
			continue
		}
		// The primary answers, the others say where it is.
		_, err := s.Try("TYPE", key)
		if err == nil {
			return s
		}
		if moved := strings.Fields(err.Error()); len(moved) == 3 && moved[0] == "MOVED" {
			if i := c.index(moved[2]); i >= 0 {
				return c.Servers[i]
			}
		}
	}
	c.t.Fatalf("nobody knows who has %s", key)
	return nil
}

// Primaries returns the servers that have slots, in the order of Servers.
func (c *Cluster) Primaries() (primaries []*Server) {
	for _, s := range c.Servers {
		if s.cmd != nil && s.Info("replication", "role") == "master" {
			primaries = append(primaries, s)
		}
	}
	return primaries
}

// Partner returns the server that has the same slots: the replica of a primary,
// and the primary of a replica.
func (c *Cluster) Partner(s *Server) *Server {
	return c.Servers[(c.index(s.Addr)+len(c.Servers)/2)%len(c.Servers)]
}

// AwaitReplicas waits until the cluster works for all servers that run and the
// replicas among them have what their primaries have.
func (c *Cluster) AwaitReplicas() {
	c.t.Helper()
	eventually(c.t, "the cluster works and the replicas are up to date", func() bool {
		for _, s := range c.Servers {
			if s.cmd == nil {
				continue
			}
			info, err := s.Try("CLUSTER", "INFO")
			if err != nil || field(info, "cluster_state") != "ok" || field(info, "cluster_known_nodes") != "6" {
				return false
			}
			info, _ = s.Try("INFO", "replication")
			if field(info, "role") == "master" {
				continue
			}
			i := c.index(net.JoinHostPort(field(info, "master_host"), field(info, "master_port")))
			if i < 0 || !s.follows(c.Servers[i]) {
				return false
			}
		}
		return true
	})
}

// AwaitFailover waits until the partner of old has its slots and all servers
// that run know it, and returns the partner.
func (c *Cluster) AwaitFailover(old *Server) *Server {
	c.t.Helper()
	primary := c.Partner(old)
	eventually(c.t, "failed over", func() bool { return c.follow(primary) })
	return primary
}

// PlannedFailover makes the replica of a primary the primary and returns it. No
// write is lost: the primary holds its clients until the replica has all.
func (c *Cluster) PlannedFailover(old *Server) *Server {
	c.t.Helper()
	c.AwaitReplicas()
	replica := c.Partner(old)
	var asked time.Time
	eventually(c.t, "failed over", func() bool {
		// It gives up after five seconds, as it does when the other primaries
		// have just voted for somebody else.
		if done := c.follow(replica); done || time.Since(asked) < 6*time.Second {
			return done
		}
		replica.Do("CLUSTER", "FAILOVER")
		asked = time.Now()
		return false
	})
	c.AwaitReplicas()
	return replica
}

// follow reports whether the cluster works for all servers that run, and they take
// primary for the one that has slots: what one of them knows, the others hear a
// moment later.
func (c *Cluster) follow(primary *Server) bool {
	for _, s := range c.Servers {
		if s.cmd == nil {
			continue
		}
		info, err := s.Try("CLUSTER", "INFO")
		if err != nil || field(info, "cluster_state") != "ok" || !c.leads(s, primary) {
			return false
		}
	}
	return true
}

// leads reports whether server s takes primary for the one that has slots.
func (c *Cluster) leads(s, primary *Server) bool {
	answer, _ := s.Try("CLUSTER", "NODES")
	text, _ := answer.(string)
	for line := range strings.Lines(text) {
		// id address flags primary ping pong epoch link slots...
		words := strings.Fields(line)
		if len(words) > 8 && words[0] == c.ids[c.index(primary.Addr)] {
			return strings.Contains(words[2], "master")
		}
	}
	return false
}

func (c *Cluster) index(addr string) int {
	for i, s := range c.Servers {
		if s.Addr == addr {
			return i
		}
	}
	return -1
}
