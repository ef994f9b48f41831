//go:build unix

package redisstore_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A write whose answer got lost, and which no replica has, is not confirmed by
// seeing that it was done.
func TestLostAnswerIsNoConfirmation(t *testing.T) {
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := redistest.Start(t, "--replicaof", host, port)
	network := redistest.NewProxy(t, primary.Addr)
	s := open(t, redisstore.Options{
		Addresses: []string{network.Addr}, Timeout: patient,
		Wait: redisstore.Wait{Replicas: 1, Timeout: 100 * time.Millisecond},
	})
	m, site := manager(t, s)

	for name, patch := range map[string]*session.Patch{"destroy": {Destroy: true}, "renew": {Renew: true}} {
		t.Run(name, func(t *testing.T) {
			replica.Do("REPLICAOF", host, port)
			eventually(t, "the replica is linked", func() bool { return replica.Info("replication", "master_link_status") == "up" })
			var live *session.Session
			eventually(t, "a session with a replica", func() bool {
				r, err := m.Commit(t.Context(), site, nil, &session.Patch{Set: []map[string]any{{"a": "1"}}}, time.Now())
				if err == nil {
					r, err = m.Commit(t.Context(), site, r.Session, &session.Patch{Renew: true}, time.Now())
				}
				live = r.Session
				return err == nil
			})
			replica.Do("REPLICAOF", "127.0.0.1", "1")

			// The server gets it after 100 ms and has waited after 200; the
			// connection is lost between that and 300, when the answer is due.
			network.Delay(100 * time.Millisecond)
			cut := time.AfterFunc(250*time.Millisecond, func() { network.Cut(); network.Restore() })
			defer cut.Stop()
			if _, err := m.Commit(t.Context(), site, live, patch, time.Now()); err == nil {
				t.Error("a failover can undo it, and nobody said so")
			}
			network.Restore()

			// Nor by finding it gone.
			if name == "destroy" {
				var err error
				eventually(t, "an answer", func() bool {
					err = s.Delete(t.Context(), live.ID(), live.Version())
					return errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrNotReplicated)
				})
				if !errors.Is(err, session.ErrNotReplicated) {
					t.Errorf("deleted again: %v", err)
				}
			}
		})
	}
}

// manager is a manager on a store, and the site of its sessions.
func manager(t *testing.T, s session.Store) (*session.Manager, session.Site) {
	t.Helper()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(s, policy, protocol, session.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	return m, session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com"}
}

// A commit that meets a frozen server is a success if the server goes on within
// the time to find out, whatever the commit was.
func TestServerFrozenForAMoment(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}})
	m, site := manager(t, s)
	set := func(key string) *session.Patch { return &session.Patch{Set: []map[string]any{{key: "1"}}} }
	eventually(t, "the store works", func() bool { return works(s) })
	var live *session.Session
	eventually(t, "a session", func() bool {
		r, err := m.Commit(t.Context(), site, nil, set("a"), time.Now())
		live = r.Session
		return err == nil
	})
	for name, patch := range map[string]*session.Patch{"update": set("b"), "renew": {Renew: true}, "create": set("user")} {
		t.Run(name, func(t *testing.T) {
			freezeAMoment(t, server, s)
			was := live
			if name == "create" {
				was = nil
			}
			r, err := m.Commit(t.Context(), site, was, patch, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the store works", func() bool { return works(s) })
			got, _, err := m.Load(t.Context(), site, []session.Token{r.Session.Token()}, time.Now())
			if err != nil || got == nil || got.Version() != r.Session.Version() {
				t.Errorf("what was committed as %+v is %+v, error %v", r.Session, got, err)
			}
			if name != "create" {
				live = r.Session
			}
		})
	}
	freezeAMoment(t, server, s)
	if _, err := m.Commit(t.Context(), site, live, &session.Patch{Destroy: true}, time.Now()); err != nil {
		t.Error(err)
	}
	eventually(t, "the store works", func() bool { return works(s) })
	if got, _, err := m.Load(t.Context(), site, []session.Token{live.Token()}, time.Now()); got != nil || err != nil {
		t.Errorf("the session lives on: %v, error %v", got, err)
	}
}

// freezeAMoment freezes a server for a moment longer than a call may take.
func freezeAMoment(t *testing.T, server *redistest.Server, s *redisstore.Store) {
	eventually(t, "the store works", func() bool { return works(s) })
	server.Pause()
	resume := time.AfterFunc(redisstore.DefaultTimeout+100*time.Millisecond, server.Resume)
	t.Cleanup(func() {
		if resume.Stop() {
			server.Resume()
		}
	})
}

// The first sign-in on a connection that is dead, and nobody knows it yet,
// succeeds: after a restart behind a firewall, say.
func TestSignInOnAStaleConnection(t *testing.T) {
	server := redistest.Start(t)
	network := redistest.NewProxy(t, server.Addr)
	s := open(t, redisstore.Options{Addresses: []string{network.Addr}})
	m, site := manager(t, s)
	eventually(t, "the store works", func() bool { return works(s) })
	network.Drop() // what is sent now is lost, and the connection with it
	restore := time.AfterFunc(redisstore.DefaultTimeout/2, network.Restore)
	defer restore.Stop()
	r, err := m.Commit(t.Context(), site, nil, &session.Patch{Set: []map[string]any{{"user": "alice"}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := m.Load(t.Context(), site, []session.Token{r.Session.Token()}, time.Now())
	if err != nil || got == nil || got.Subject() != "alice" {
		t.Errorf("got %v, error %v", got, err)
	}
}

// While a server is known to be down, a commit fails at once: nothing was sent,
// so there is nothing to find out.
func TestNothingIsDoneWhileTheServerIsDown(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}})
	m, site := manager(t, s)
	eventually(t, "the store works", func() bool { return works(s) })
	server.Stop()
	eventually(t, "it is known", func() bool { return !works(s) })
	e := entry(1, "")
	for name, err := range map[string]error{
		"create": s.Put(t.Context(), newID(), 0, e),
		"update": s.Put(t.Context(), newID(), 1, e),
		"delete": s.Delete(t.Context(), newID(), 1),
		"remove": s.Delete(t.Context(), newID(), 0),
		"many":   s.DeleteMany(t.Context(), "k", []string{newID()}),
	} {
		if !errors.Is(err, session.ErrNotDone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	start := time.Now()
	_, err := m.Commit(t.Context(), site, nil, &session.Patch{Set: []map[string]any{{"a": "1"}}}, time.Now())
	if took := time.Since(start); !errors.Is(err, session.ErrNotDone) || busy.Exceeds(took, redisstore.DefaultTimeout) {
		t.Errorf("it took %v, error %v", took, err)
	}
}
