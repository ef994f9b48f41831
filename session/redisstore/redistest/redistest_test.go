//go:build unix

package redistest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"
)

func TestRestart(t *testing.T) {
	s := Start(t, "--requirepass", "a b\"c")
	s.password = "a b\"c"
	s.Do("SET", "k", "v")
	s.Stop()
	if _, err := s.Try("PING"); err == nil {
		t.Error("a stopped server answers")
	}
	s.Restart()
	if got := s.Do("GET", "k"); got != "v" {
		t.Errorf("after a restart the value is %v", got)
	}
	if got := fmt.Sprint(s.Do("EVAL", "return {1, {'a', false}, {err='X'}}", "0")); got != "[1 [a <nil>] X]" {
		t.Errorf("got %s", got)
	}
	if _, err := s.Try("NO"); err == nil {
		t.Error("an unknown command is no error")
	}
}

// A server that loads its data asks for the password rather than to wait.
func TestRestartWithPassword(t *testing.T) {
	s := configure(t, FreePort(t), "--requirepass", "p", "--key-load-delay", "200")
	s.password = "p"
	s.Restart()
	s.Do("EVAL", "for i = 1, 4000 do redis.call('SET', 'k', i) end", "0")
	s.Restart()
	if got := s.Do("GET", "k"); got != "4000" {
		t.Errorf("after a restart the value is %v", got)
	}
}

func TestSentinel(t *testing.T) {
	g := StartSentinel(t, SentinelOptions{Password: "p", SentinelPassword: "q"})
	first := g.Primary()
	if first != g.Servers[0] || len(g.Replicas()) != 2 || len(g.Addrs()) != 3 {
		t.Fatalf("primary %v, replicas %v, sentinels %v", first.Addr, g.Replicas(), g.Addrs())
	}
	first.Do("SET", "k", "1")

	second := g.PlannedFailover()
	if second == first || g.Primary() != second || second.Do("GET", "k") != "1" {
		t.Error("not failed over as planned")
	}
	if first.Info("replication", "role") != "slave" {
		t.Error("the old primary is one still")
	}
	second.Do("SET", "k", "2")
	g.AwaitReplicas()

	if killed := g.KillPrimary(); killed != second {
		t.Error("killed another")
	}
	third := g.AwaitFailover(second)
	if third == second || third.Do("GET", "k") != "2" {
		t.Error("not failed over")
	}
	g.Rejoin(second)
	g.AwaitReplicas()
	if second.Info("replication", "role") != "slave" {
		t.Error("the killed primary is one again")
	}
}

func TestCluster(t *testing.T) {
	c := StartCluster(t, "p")
	if len(c.Primaries()) != 3 || len(c.Addrs()) != 6 {
		t.Fatalf("%d primaries", len(c.Primaries()))
	}
	const key = "session:1"
	first := c.PrimaryOf(key)
	first.Do("SET", key, "1")

	second := c.PlannedFailover(first)
	if second == first || c.PrimaryOf(key) != second || second.Do("GET", key) != "1" {
		t.Error("not failed over as planned")
	}
	second.Do("SET", key, "2")
	c.AwaitReplicas()

	second.Stop()
	third := c.AwaitFailover(second)
	if third != first || c.PrimaryOf(key) != third || third.Do("GET", key) != "2" {
		t.Error("not failed over")
	}
	second.Restart()
	c.AwaitReplicas()
	if second.Info("replication", "role") != "slave" {
		t.Error("the killed primary is one again")
	}
}

func TestProxy(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	// ping returns how long an answer took, or an error.
	ping := func(c net.Conn) (time.Duration, error) {
		start := time.Now()
		c.SetDeadline(start.Add(300 * time.Millisecond))
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			return 0, err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && line != "+PONG\r\n" {
			err = fmt.Errorf("got %q", line)
		}
		return time.Since(start), err
	}
	timedOut := func(err error) bool {
		e, ok := err.(net.Error)
		return ok && e.Timeout()
	}

	a, b := dial(), dial()
	for _, c := range []net.Conn{a, b} {
		if _, err := ping(c); err != nil {
			t.Fatal(err)
		}
	}
	if open, total := p.Connections(); open != 2 || total != 2 {
		t.Errorf("%d of %d connections", open, total)
	}

	p.Delay(50 * time.Millisecond)
	if took, err := ping(a); err != nil || took < 100*time.Millisecond {
		t.Errorf("delayed: %v, %v", took, err)
	}
	p.Delay(0)

	p.Drop()
	if _, err := ping(a); !timedOut(err) {
		t.Errorf("dropped: %v", err)
	}
	if _, err := ping(dial()); !timedOut(err) {
		t.Errorf("dropped on a new connection: %v", err)
	}
	p.Restore()
	if _, err := ping(a); err == nil || timedOut(err) {
		t.Errorf("a stream with a hole in it goes on: %v", err)
	}
	if _, err := ping(b); err != nil {
		t.Errorf("restored: %v", err)
	}

	p.Cut()
	if _, err := ping(b); err == nil || timedOut(err) {
		t.Errorf("cut: %v", err)
	}
	if c, err := net.Dial("tcp", p.Addr); err == nil { // it may be reset that soon
		if _, err := ping(c); err == nil || timedOut(err) {
			t.Errorf("cut, on a new connection: %v", err)
		}
	}
	p.Restore()
	if _, err := ping(dial()); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	c := Certify(t)
	port := FreePort(t)
	Start(t, c.Args(port, true)...)
	for _, certificates := range [][]tls.Certificate{{c.Client}, nil} {
		conn, err := tls.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)), &tls.Config{RootCAs: c.Roots, Certificates: certificates})
		var line string
		if err == nil {
			conn.Write([]byte("PING\r\n"))
			line, err = bufio.NewReader(conn).ReadString('\n')
			conn.Close()
		}
		if good := err == nil && line == "+PONG\r\n"; good != (certificates != nil) {
			t.Errorf("with %d certificates: %q, %v", len(certificates), line, err)
		}
	}
}
