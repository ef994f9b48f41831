//go:build unix

package pgstore_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
)

func TestManualHasTheSchema(t *testing.T) {
	manual, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manual), "```sql\n"+strings.TrimPrefix(pgstore.Schema(pgstore.DefaultTable), "\n")+"```\n") {
		t.Error("the manual has another schema")
	}
}

// Many stores make the tables at once, also after somebody has dropped them.
func TestTablesAreMade(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, "CREATE SCHEMA "+table)
	table += ".sessions"
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := pgstore.New(pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table, Timeout: patient})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.Put(t.Context(), newID(), 0, entry(1, "")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table, Timeout: patient})
	if ids, _, err := s.List(t.Context(), "", 100); err != nil || len(ids) != 8 {
		t.Errorf("%d sessions, error %v", len(ids), err)
	}
	server.Do(t, "DROP TABLE "+table+", "+table+"_user")
	eventually(t, "the tables are there again", func() bool { return s.Put(t.Context(), newID(), 0, entry(1, "")) == nil })
}

// A table that is somebody else's, or of another version, is left alone.
func TestOtherTables(t *testing.T) {
	server := pgtest.Shared(t)
	for comment, want := range map[string]string{"": "somebody else's", "caddy-session 99": `of "caddy-session 99"`} {
		table := newTable()
		server.Do(t, pgstore.Schema(table)+"COMMENT ON TABLE "+table+" IS '"+comment+"'")
		s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table, Timeout: patient})
		if err := s.Put(t.Context(), newID(), 0, entry(1, "")); !errors.Is(err, session.ErrNotDone) || !strings.Contains(err.Error(), want) {
			t.Errorf("comment %q: %v", comment, err)
		}
	}
}

// What has expired goes, a slice at a time, by one at a time, and nothing else does.
func TestSweep(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, pgstore.Schema(table))
	s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table, Timeout: patient})
	kept := newID()
	e := entry(1, "")
	e.IndexKey, e.Deadline = "alice", time.Now().Add(time.Hour)
	if err := s.Put(t.Context(), kept, 0, e); err != nil {
		t.Fatal(err)
	}
	server.Do(t, `INSERT INTO `+table+` SELECT 'old' || n, 1, '', now() - interval '1 second' FROM generate_series(1, 1500) n;
		INSERT INTO `+table+`_user SELECT 'bob', 'old' || n, now() - interval '1 second' FROM generate_series(1, 1200) n`)
	conn := server.Connect(t)
	count := func() (sessions, places int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM "+table+"), (SELECT count(*) FROM "+table+"_user)").Scan(&sessions, &places); err != nil {
			t.Fatal(err)
		}
		return
	}
	expect := func(more bool, sessions, places int) {
		t.Helper()
		is, err := s.Sweep()
		if err != nil || is != more {
			t.Errorf("more %v, error %v", is, err)
		}
		if n, m := count(); n != sessions || m != places {
			t.Errorf("%d sessions and %d places are left, want %d and %d", n, m, sessions, places)
		}
	}
	other := server.Connect(t)
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock(hashtextextended($1, 0))", "sweep of "+table); err != nil {
		t.Fatal(err)
	}
	expect(false, 1501, 1201) // while another one is at it
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_unlock_all()"); err != nil {
		t.Fatal(err)
	}
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM "+table+" WHERE id = 'old7' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	expect(true, 501, 201)
	expect(false, 2, 1) // without waiting for who has the lock
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(false, 1, 1)
	if _, err := s.Get(t.Context(), kept); err != nil {
		t.Error(err)
	}
}
