//go:build unix

package pgstore_test

import (
	"errors"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
)

func TestManualHasTheScript(t *testing.T) {
	manual, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := pgstore.Script(pgstore.Options{URL: "postgres://caddy@db.internal/sessions"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manual), "```sql\n"+script+"```\n") {
		t.Error("the manual has another script")
	}
}

// runScript makes the tables as their owner does.
func runScript(t *testing.T, server *pgtest.Server, opts pgstore.Options) {
	t.Helper()
	script, err := pgstore.Script(opts)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := server.Psql(script); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
}

// The script makes what the first use makes, in whatever schema and for whatever role,
// as often as it is run.
func TestScriptMakesWhatFirstUseMakes(t *testing.T) {
	server := pgtest.Shared(t)
	admin := server.Connect(t)
	// made describes all that is in a schema.
	made := func(schema string) (text string) {
		t.Helper()
		err := admin.QueryRow(t.Context(), `SELECT string_agg(line, E'\n' ORDER BY line) FROM (
			SELECT concat_ws(' ', c.relname, c.relkind, obj_description(c.oid), a.attname, format_type(a.atttypid, a.atttypmod),
				a.attnotnull, a.attstorage, collname, pg_get_indexdef(c.oid), pg_get_constraintdef(k.oid)) AS line
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_constraint k ON k.conrelid = c.oid
			WHERE c.relnamespace = $1::regnamespace) lines`, `"`+schema+`"`).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(text, schema, "SCHEMA")
	}
	first := newTable()
	server.Do(t, "CREATE SCHEMA "+first)
	s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: first + ".sessions", Timeout: patient})
	if err := s.Put(t.Context(), newID(), 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	want := made(first)
	if strings.Count(want, "\n") < 10 {
		t.Fatalf("the first use has made\n%s", want)
	}
	for name, script := range map[string]func(schema string, role string) pgstore.Options{
		"table": func(schema, role string) pgstore.Options {
			return pgstore.Options{URL: server.URL(url.PathEscape(role), "p"), Table: schema + ".sessions"}
		},
		"search_path": func(schema, role string) pgstore.Options {
			return pgstore.Options{URL: server.URL(url.PathEscape(role), "p") + "&search_path=" + schema + ",public", Table: "sessions"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			schema := newTable()
			role := "O'Neill \"" + schema
			server.Do(t, "CREATE SCHEMA "+schema+"; CREATE ROLE "+pgx.Identifier{role}.Sanitize()+" LOGIN PASSWORD 'p'")
			opts := script(schema, role)
			opts.Timeout = patient
			runScript(t, server, opts)
			runScript(t, server, opts)
			if got := made(schema); got != want {
				t.Errorf("the script has made\n%s\nand the first use makes\n%s", got, want)
			}
			s := open(t, opts)
			if err := s.Put(t.Context(), newID(), 0, entry(1, "")); err != nil {
				t.Error(err)
			}
			if _, err := s.Sweep(); err != nil {
				t.Error(err)
			}
			if err := s.Notify(t.Context(), newID()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The script leaves a table alone that is somebody else's, or of another version.
func TestScriptAndOtherTables(t *testing.T) {
	server := pgtest.Shared(t)
	for _, comment := range []string{"NULL", "'caddy-session 99'"} {
		table := newTable()
		server.Do(t, "CREATE ROLE "+table+"; CREATE TABLE "+table+" (id int); COMMENT ON TABLE "+table+" IS "+comment)
		script, err := pgstore.Script(pgstore.Options{URL: server.URL(table, "p"), Table: table})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := server.Psql(script); err == nil || !strings.Contains(out, "somebody else's, or of another version") {
			t.Errorf("%s: error %v\n%s", comment, err, out)
		}
		server.Do(t, "DO $$ BEGIN ASSERT to_regclass('"+table+"_user') IS NULL, 'it has made the other one'; END $$")
	}
}

// A user who may not make the tables learns what does.
func TestMayNotMakeTables(t *testing.T) {
	server := pgtest.Shared(t)
	table := newTable()
	server.Do(t, "CREATE ROLE "+table+" LOGIN PASSWORD 'p'")
	s, logs := watched(t, pgstore.Options{URL: server.URL(table, "p"), Table: table, Timeout: patient})
	const hint = "have its owner run what caddy session schema prints"
	if err := s.Put(t.Context(), newID(), 0, entry(1, "")); !errors.Is(err, session.ErrNotDone) || !strings.Contains(err.Error(), hint) {
		t.Errorf("error %v", err)
	}
	if said := logs.FilterMessage("postgres is down").All(); len(said) != 1 || !strings.Contains(said[0].ContextMap()["error"].(string), hint) {
		t.Errorf("the log has %v", said)
	}
	runScript(t, server, pgstore.Options{URL: server.URL(table, "p"), Table: table})
	eventually(t, "the store works", func() bool { return s.Put(t.Context(), newID(), 0, entry(1, "")) == nil })
}

// The script names whom the URL names, and no password.
func TestScriptForWhom(t *testing.T) {
	for given, want := range map[string]string{
		"":                                  `"caddy"`,
		"postgres://db/x":                   `"caddy"`,
		"postgres://web:hidden@one,two:5/x": `"web"`,
		"postgres:///x?user=w%22eb&password=hidden": `"w""eb"`,
	} {
		script, err := pgstore.Script(pgstore.Options{URL: given})
		if err != nil || !strings.Contains(script, "TO "+want+";\n") || strings.Contains(script, "hidden") {
			t.Errorf("%q: error %v\n%s", given, err, script)
		}
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
