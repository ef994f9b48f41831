//go:build unix

package redistest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"
)

// topologyTimeout is how long a change of roles may take.
const topologyTimeout = time.Minute

// SentinelOptions are what a Sentinel may have besides the defaults.
type SentinelOptions struct {
	// Password is that of the servers, and SentinelPassword that of the
	// sentinels; empty means none.
	Password, SentinelPassword string

	// Args are added to the configuration of each server.
	Args []string
}

// The sentinels fail over a primary that has been silent for downAfter. One that
// was not killed may be silent for as long as a change of roles may take: on a
// busy machine it would be failed over unasked, and lose what it has confirmed.
const (
	downAfter  = time.Second
	quietAfter = topologyTimeout
)

// Sentinel is one primary with two replicas, watched by three sentinels that
// fail it over a second after KillPrimary, and not without. Like Server it is
// for one goroutine at a time.
type Sentinel struct {
	// Name is what the sentinels call the group.
	Name string

	// Servers are those that hold data; the first one starts as primary.
	Servers []*Server

	// Sentinels are the others.
	Sentinels []*Server

	t testing.TB
}

// StartSentinel starts six processes that end with the test, and waits until
// the replicas are linked and the sentinels know everybody. It skips or fails
// as Start does.
func StartSentinel(t testing.TB, opts SentinelOptions) *Sentinel {
	t.Helper()
	g := &Sentinel{Name: "sessions", t: t}
	for i := range 3 {
		args := []string{"--repl-diskless-sync-delay", "0", "--repl-timeout", "5"}
		if opts.Password != "" {
			args = append(args, "--requirepass", opts.Password, "--masterauth", opts.Password)
		}
		if i > 0 {
			host, port, _ := net.SplitHostPort(g.Servers[0].Addr)
			args = append(args, "--replicaof", host, port)
		}
		s := configure(t, FreePort(t), append(args, opts.Args...)...)
		s.password = opts.Password
		g.Servers = append(g.Servers, s)
	}
	g.addSentinels(opts)
	for _, s := range append(g.Servers, g.Sentinels...) {
		s.launch()
	}
	for _, s := range append(g.Servers, g.Sentinels...) {
		s.await()
	}
	g.AwaitReplicas()
	eventually(g.t, "the sentinels see each other", func() bool {
		for _, s := range g.Sentinels {
			// A sentinel that was slow for two seconds, on a machine that is
			// busy with tests, does nothing for the next thirty. Servers before
			// 7.0 don't know the command.
			s.Try("SENTINEL", "DEBUG", "tilt-period", "1000")
			if _, err := s.Try("SENTINEL", "CKQUORUM", g.Name); err != nil {
				return false
			}
		}
		return true
	})
	return g
}

// addSentinels configures the sentinels. They are told of each other and of
// the replicas, which to find out takes them ten seconds.
func (g *Sentinel) addSentinels(opts SentinelOptions) {
	host, port, _ := net.SplitHostPort(g.Servers[0].Addr)
	ids := make([]string, 3)
	for i := range ids {
		b := make([]byte, 20)
		rand.Read(b)
		ids[i] = hex.EncodeToString(b)
		s := prepare(g.t, FreePort(g.t))
		s.password = opts.SentinelPassword
		g.Sentinels = append(g.Sentinels, s)
	}
	for i, s := range g.Sentinels {
		_, own, _ := net.SplitHostPort(s.Addr)
		args := []string{
			"--bind", "127.0.0.1", "--port", own, "--unixsocket", s.Socket, "--dir", s.dir,
			"--sentinel", "myid", ids[i],
			"--sentinel", "monitor", g.Name, host, port, "2",
			"--sentinel", "down-after-milliseconds", g.Name, millis(quietAfter),
			"--sentinel", "failover-timeout", g.Name, "2500",
		}
		if opts.Password != "" {
			args = append(args, "--sentinel", "auth-pass", g.Name, opts.Password)
		}
		if opts.SentinelPassword != "" {
			args = append(args, "--requirepass", opts.SentinelPassword, "--sentinel", "sentinel-pass", opts.SentinelPassword)
		}
		for _, replica := range g.Servers[1:] {
			host, port, _ := net.SplitHostPort(replica.Addr)
			args = append(args, "--sentinel", "known-replica", g.Name, host, port)
		}
		for j, other := range g.Sentinels {
			if j != i {
				host, port, _ := net.SplitHostPort(other.Addr)
				args = append(args, "--sentinel", "known-sentinel", g.Name, host, port, ids[j])
			}
		}
		s.write("sentinel.conf", args)
		s.args = append(s.args, "--sentinel")
	}
}

// Addrs are the addresses of the sentinels, host:port.
func (g *Sentinel) Addrs() (addrs []string) {
	for _, s := range g.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// Primary returns the server that most sentinels take for the primary. In the
// middle of a failover it waits until there is one.
func (g *Sentinel) Primary() (primary *Server) {
	g.t.Helper()
	eventually(g.t, "most sentinels agree on a primary", func() bool {
		votes := g.votes()
		for _, s := range g.Servers {
			if votes[s] > len(g.Sentinels)/2 {
				primary = s
				return true
			}
		}
		return false
	})
	return primary
}

// votes counts the sentinels that take a server for the primary.
func (g *Sentinel) votes() map[*Server]int {
	votes := map[*Server]int{}
	for _, sentinel := range g.Sentinels {
		answer, _ := sentinel.Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", g.Name)
		for _, s := range g.Servers {
			if host, port, _ := net.SplitHostPort(s.Addr); fmt.Sprint(answer) == fmt.Sprint([]any{host, port}) {
				votes[s]++
			}
		}
	}
	return votes
}

// Replicas returns the servers that run and are not the primary.
func (g *Sentinel) Replicas() (replicas []*Server) {
	primary := g.Primary()
	for _, s := range g.Servers {
		if s != primary && s.cmd != nil {
			replicas = append(replicas, s)
		}
	}
	return replicas
}

// AwaitReplicas waits until all servers that run and are not the primary are
// linked to it and have what it has.
func (g *Sentinel) AwaitReplicas() {
	g.t.Helper()
	eventually(g.t, "the replicas are up to date", func() bool {
		primary := g.Primary()
		for _, s := range g.Replicas() {
			if !s.follows(primary) {
				return false
			}
		}
		return true
	})
}

// follows reports whether s is a replica of primary that has what it has.
func (s *Server) follows(primary *Server) bool {
	has := primary.Info("replication", "master_repl_offset")
	info, _ := s.Try("INFO", "replication")
	return net.JoinHostPort(field(info, "master_host"), field(info, "master_port")) == primary.Addr &&
		field(info, "master_link_status") == "up" && field(info, "slave_repl_offset") == has
}

// KillPrimary kills the primary and returns it. That takes the sentinels a
// second or two to notice, see AwaitFailover. What the replicas had not got is
// lost.
func (g *Sentinel) KillPrimary() *Server {
	g.t.Helper()
	old := g.Primary()
	old.Stop()
	g.failOverAfter(downAfter)
	return old
}

// failOverAfter says for how long a primary may be silent.
func (g *Sentinel) failOverAfter(silence time.Duration) {
	for _, s := range g.Sentinels {
		s.Try("SENTINEL", "SET", g.Name, "down-after-milliseconds", millis(silence))
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// AwaitFailover waits until the sentinels agree on another primary than old,
// it takes writes, and none of them is busy with the failover any more: another
// one would find them in disagreement for good. It returns the new primary.
func (g *Sentinel) AwaitFailover(old *Server) (primary *Server) {
	g.t.Helper()
	eventually(g.t, "failed over", func() bool {
		votes := g.votes()
		for _, s := range g.Servers {
			if s != old && votes[s] == len(g.Sentinels) && g.settled() {
				primary = s
				return true
			}
		}
		return false
	})
	g.failOverAfter(quietAfter)
	return primary
}

// settled reports whether all sentinels find the primary well and have nothing
// to do.
func (g *Sentinel) settled() bool {
	for _, s := range g.Sentinels {
		answer, _ := s.Try("SENTINEL", "MASTER", g.Name)
		pairs, _ := answer.([]any)
		if i := slices.Index(pairs, "flags"); i < 0 || i+1 == len(pairs) || pairs[i+1] != "master" {
			return false
		}
	}
	return true
}

// Rejoin starts a server that was killed as a replica of the primary, as the
// sentinels would in the end.
func (g *Sentinel) Rejoin(s *Server) {
	g.t.Helper()
	s.Restart()
	if primary := g.Primary(); primary != s {
		host, port, _ := net.SplitHostPort(primary.Addr)
		s.Do("REPLICAOF", host, port)
	}
}

// PlannedFailover makes a replica the primary and returns it. No write is
// lost, and nobody reads from the old primary what the new one knows better:
// writes wait until the replicas have all, and the clients are sent away before
// they can learn of the new primary.
func (g *Sentinel) PlannedFailover() *Server {
	g.t.Helper()
	old := g.Primary()
	old.Do("CLIENT", "PAUSE", millis(topologyTimeout), "WRITE")
	g.AwaitReplicas()
	var primary *Server
	eventually(g.t, "a replica is promoted", func() bool {
		// Refused while a failover is under way.
		g.Sentinels[0].Try("SENTINEL", "FAILOVER", g.Name)
		for _, s := range g.Servers {
			if s != old && s.Info("replication", "role") == "master" {
				primary = s
				return true
			}
		}
		return false
	})
	host, port, _ := net.SplitHostPort(primary.Addr)
	old.transaction([]string{"REPLICAOF", host, port}, []string{"CLIENT", "KILL", "TYPE", "normal"})
	old.Do("CLIENT", "UNPAUSE")
	g.AwaitFailover(old)
	g.AwaitReplicas()
	return primary
}

// eventually waits until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(topologyTimeout); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", topologyTimeout, what)
		}
	}
}
