//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/internal/busy"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// slack is what a call may take on top of its timeout.
const slack = 100 * time.Millisecond

// failing asserts that every call fails, within a time, and says where.
func failing(t *testing.T, s *pgstore.Store, within time.Duration, addr string) {
	t.Helper()
	var all sync.WaitGroup
	for name, call := range storetest.Calls(s, newID()) {
		all.Go(func() {
			start := time.Now()
			err := call(context.Background())
			if took := time.Since(start); busy.Exceeds(took, within+slack) {
				t.Errorf("%s took %v", name, took)
			}
			if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got error %v", name, err)
			}
			if strings.Contains(err.Error(), pgtest.Password) {
				t.Errorf("%s: the password is in the error %v", name, err)
			}
		})
	}
	all.Wait()
}

// watched is a store whose log is kept.
func watched(t *testing.T, opts pgstore.Options) (*pgstore.Store, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	opts.Logger = zap.New(core)
	return open(t, opts), logs
}

// Whatever happens to the server or the network: no call takes longer than it may,
// once it is known calls fail at once with nothing done, what was stored is there
// afterwards, the log has a line for each, and nothing is left over.
func TestOutages(t *testing.T) {
	server := pgtest.Shared(t)
	network := redistest.NewProxy(t, server.Addr)
	table := newTable()
	server.Do(t, pgstore.Schema(table))
	url := strings.Replace(server.URL("postgres", pgtest.Password), server.Addr, network.Addr, 1)
	s, logs := watched(t, pgstore.Options{URL: url, Table: table})
	listening, stop := context.WithCancel(t.Context())
	heard := make(chan string, 1000)
	var listener sync.WaitGroup
	listener.Go(func() {
		for listening.Err() == nil {
			_ = s.Listen(listening, func(id string) { heard <- id })
			time.Sleep(10 * time.Millisecond)
		}
	})
	eventually(t, "the store works", func() bool { return works(s) })
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "kept")); err != nil {
		t.Fatal(err)
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"stopped", func() { server.Stop(t) }, func() { server.Restart(t) }},
		{"frozen", func() { server.Pause(t) }, server.Resume},
		{"cut off", network.Cut, network.Restore},
		{"out of reach", network.Drop, network.Restore},
		{"slow", func() { network.Delay(time.Second) }, network.Restore},
	} {
		t.Run(outage.name, func(t *testing.T) {
			logs.TakeAll()
			outage.begin()
			failing(t, s, pgstore.DefaultTimeout, network.Addr)
			eventually(t, "it is known", func() bool { return logs.FilterMessage("postgres is down").Len() > 0 })
			failing(t, s, 0, network.Addr)
			for name, err := range map[string]error{
				"create": s.Put(t.Context(), newID(), 0, entry(1, "")), "update": s.Put(t.Context(), id, 1, entry(2, "")),
				"delete": s.Delete(t.Context(), id, 1), "many": s.DeleteMany(t.Context(), "k", []string{id}),
			} {
				if !errors.Is(err, session.ErrNotDone) {
					t.Errorf("%s: %v", name, err)
				}
			}
			outage.end()
			eventually(t, "the store works", func() bool { return works(s) })
			eventually(t, "the log says so", func() bool { return logs.FilterMessage("postgres is back").Len() == 1 })
			if n := logs.FilterMessage("postgres is down").Len(); n != 1 {
				t.Errorf("it was logged %d times", n)
			}
			if e, err := s.Get(t.Context(), id); err != nil || string(e.Value[session.HeadSize:]) != "kept" {
				t.Errorf("what was stored is %q, error %v", e.Value, err)
			}
			eventually(t, "what is told is heard", func() bool {
				told := newID()
				if s.Notify(t.Context(), told) != nil {
					return false
				}
				for {
					select {
					case id := <-heard:
						if id == told {
							return true
						}
					case <-time.After(100 * time.Millisecond):
						return false
					}
				}
			})
		})
	}

	// Closed while the server does not answer.
	server.Pause(t)
	start := time.Now()
	go s.Get(t.Context(), id)
	s.Close()
	if took := time.Since(start); busy.Exceeds(took, 2*pgstore.DefaultTimeout) {
		t.Errorf("closing took %v", took)
	}
	stop()
	listener.Wait()
	nothingLeft(t)
	eventually(t, "no connection is left", func() bool { open, _ := network.Connections(); return open == 0 })
}

// A server that is not there, or does not let the user in, keeps nobody waiting.
func TestNotThere(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	for _, tt := range []struct{ url, want string }{
		{"postgres://u:" + pgtest.Password + "@127.0.0.1:1/db", "refused"},
		{strings.Replace(server.URL("postgres", "wrong"), "disable", "prefer", 1), "password authentication failed"},
		{strings.Replace(server.URL("postgres", pgtest.Password), "/postgres?", "/nowhere?", 1), "does not exist"},
		{strings.Replace(server.URL("postgres", pgtest.Password), "disable", "require", 1), "TLS"},
	} {
		s, logs := watched(t, pgstore.Options{URL: tt.url, Table: table, Timeout: time.Second})
		s.Open(t.Context())
		eventually(t, "the log says so", func() bool { return logs.FilterMessage("postgres is down").Len() == 1 })
		line := logs.All()[0]
		if text, _ := line.ContextMap()["error"].(string); !strings.Contains(text, tt.want) || strings.Contains(text, pgtest.Password) || strings.Contains(text, "wrong") {
			t.Errorf("the log says %q, want %q", text, tt.want)
		}
		failing(t, s, 0, strings.Split(tt.url, "@")[1][:9])
		s.Close()
	}
	nothingLeft(t)
}

// A server that is read-only serves reads; writes are refused and not done, and work
// again when it takes them.
func TestReadOnly(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, pgstore.Schema(table)+"CREATE ROLE "+table+" LOGIN PASSWORD 'p'; GRANT ALL ON "+table+", "+table+"_user TO "+table)
	s, logs := watched(t, pgstore.Options{URL: server.URL(table, "p"), Table: table, Timeout: patient})
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "kept")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ begin, end string }{
		{"ALTER ROLE " + table + " SET default_transaction_read_only = on", "ALTER ROLE " + table + " RESET default_transaction_read_only"},
		{"REVOKE INSERT, UPDATE, DELETE ON " + table + " FROM " + table, "GRANT ALL ON " + table + " TO " + table},
	} {
		logs.TakeAll()
		server.Do(t, tt.begin+"; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+table+"'")
		eventually(t, "the store can be read", func() bool { _, err := s.Get(t.Context(), id); return err == nil })
		for name, err := range map[string]error{
			"create": s.Put(t.Context(), newID(), 0, entry(1, "")), "update": s.Put(t.Context(), id, 1, entry(2, "")),
			"delete": s.Delete(t.Context(), id, 1), "many": s.DeleteMany(t.Context(), "k", []string{id}),
		} {
			if !errors.Is(err, session.ErrNotDone) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := logs.FilterMessage("postgres refuses to write sessions").Len(); n != 1 {
			t.Errorf("it was logged %d times", n)
		}
		server.Do(t, tt.end+"; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+table+"'")
		eventually(t, "the store can be written", func() bool { return s.Touch(t.Context(), id, 1, time.Hour) == nil })
		if n := logs.FilterMessage("postgres writes sessions again").Len(); n != 1 {
			t.Errorf("that it works again was logged %d times", n)
		}
	}
}

// What no standby has, if one is to have it, was not done for certain: also when it
// is seen to be gone after the server was restarted.
func TestNoStandby(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, pgstore.Schema(table))
	s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table})
	id := newID()
	eventually(t, "a session", func() bool { return s.Put(t.Context(), id, 0, entry(1, "")) == nil })
	configure := func(standbys string) {
		conn := server.Connect(t)
		for _, sql := range []string{"SET synchronous_commit = local", "ALTER SYSTEM SET synchronous_standby_names = '" + standbys + "'", "SELECT pg_reload_conf()"} {
			if _, err := conn.Exec(context.Background(), sql); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "it is configured", func() bool {
			var is string
			return conn.QueryRow(context.Background(), "SHOW synchronous_standby_names").Scan(&is) == nil && is == standbys
		})
	}
	configure("nobody")
	t.Cleanup(func() { configure("") })
	eventually(t, "it holds", func() bool {
		return s.Touch(t.Context(), newID(), 1, time.Hour) != nil && s.Delete(t.Context(), id, 0) != nil
	})
	server.Restart(t) // it was committed there
	eventually(t, "the session is gone", func() bool {
		_, err := s.Get(t.Context(), id)
		return errors.Is(err, session.ErrNotFound)
	})
	for name, err := range map[string]error{
		"Delete":     s.Delete(t.Context(), id, 0),
		"by version": s.Delete(t.Context(), id, 1),
		"DeleteMany": s.DeleteMany(t.Context(), "k", []string{id}),
		"nobody":     s.DeleteMany(t.Context(), "k", nil),
	} {
		if !errors.Is(err, session.ErrNotReplicated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A lost connection costs a read nothing. Each time it is another store: one that asks
// the server how it is, since a connection was lost, may lose that one, too.
func TestReadOnAStaleConnection(t *testing.T) {
	server := pgtest.Shared(t)
	network := redistest.NewProxy(t, server.Addr)
	table := newTable()
	server.Do(t, pgstore.Schema(table))
	url := strings.Replace(server.URL("postgres", pgtest.Password), server.Addr, network.Addr, 1)
	for range 5 {
		s := open(t, pgstore.Options{URL: url, Table: table, Timeout: patient})
		for _, when := range []string{"before", "after"} {
			if _, err := s.Get(t.Context(), newID()); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s the connection is lost: %v", when, err)
			}
			network.Cut()
			network.Restore()
		}
	}
}

// Of several hosts the one that works is used, also when another one takes whatever
// it is sent and says nothing.
func TestSeveralHosts(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, pgstore.Schema(table))
	one, two := redistest.NewProxy(t, server.Addr), redistest.NewProxy(t, server.Addr)
	url := strings.Replace(server.URL("postgres", pgtest.Password), server.Addr, one.Addr+","+two.Addr, 1)
	s, logs := watched(t, pgstore.Options{URL: url, Table: table, Timeout: time.Second})
	id := newID()
	eventually(t, "a session", func() bool { return s.Put(t.Context(), id, 0, entry(1, "")) == nil })
	for _, broken := range []*redistest.Proxy{one, two, one} {
		broken.Drop()
		eventually(t, "the store is at the other host", func() bool { return s.Touch(t.Context(), id, 1, time.Hour) == nil })
		logs.TakeAll()
		var all sync.WaitGroup
		for range 20 { // more than there are connections
			all.Go(func() {
				if err := s.Touch(t.Context(), id, 1, time.Hour); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := logs.FilterMessage("postgres is down").Len(); n != 0 {
			t.Errorf("it went down again: %v", logs.All())
		}
		broken.Restore()
	}
}
