package redisstore_test

import (
	"errors"
	"net"
	"testing"
	"time"

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
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(s, policy, protocol, session.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	site := session.Site{Scope: session.Scope{Name: "sid", Host: "example.com", Path: "/"}, Realm: "example.com"}

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
