//go:build unix

package pgstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// patient is a timeout for tests that are about something else.
const patient = 10 * time.Second

func newID() string { return rand.Text()[:22] }

// newTable returns the name of a table that is not there.
func newTable() string { return "t_" + strings.ToLower(newID()) }

func entry(version uint64, body string) session.Entry {
	return session.Entry{Version: version, Value: append(session.AppendHead(nil, version), body...), TTL: time.Hour}
}

func open(t testing.TB, opts pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := pgstore.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eventually polls until ok, which it must become soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// works reports whether the store can be read.
func works(s *pgstore.Store) bool {
	_, err := s.Get(context.Background(), newID())
	return errors.Is(err, session.ErrNotFound)
}

// nothingLeft asserts that closed stores have left no goroutine.
func nothingLeft(t testing.TB) {
	t.Helper()
	var left string
	eventually(t, "no goroutine is left", func() bool {
		buf := make([]byte, 1<<20)
		left = ""
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "jackc/") || strings.Contains(g, "pgstore.(") {
				left += g + "\n\n"
			}
		}
		return left == ""
	})
}

// The whole contract, as a user who may do no more than the script for the owner says,
// run by psql.
func TestStore(t *testing.T) {
	server := pgtest.Shared(t)
	role := newTable()
	table := role + ".sessions"
	server.Do(t, "CREATE ROLE "+role+" LOGIN PASSWORD 'p'; CREATE SCHEMA "+role)
	opts := pgstore.Options{URL: server.URL(role, "p"), Table: table, Timeout: patient}
	runScript(t, server, opts)
	admin := server.Connect(t)
	storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{PutRaw: func(id string, value []byte) {
		_, err := admin.Exec(t.Context(), "INSERT INTO "+table+" VALUES ($1, 0, $2, now() + interval '1 hour')", id, value)
		if err != nil {
			t.Fatal(err)
		}
	}})
	nothingLeft(t)
}

// Without prepared statements, as behind PgBouncer, all works too.
func TestWithoutPreparedStatements(t *testing.T) {
	server := pgtest.Shared(t)
	s := open(t, pgstore.Options{URL: server.URL("postgres", pgtest.Password) + "&default_query_exec_mode=exec", Table: newTable(), Timeout: patient})
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	for name, call := range storetest.Calls(s, id) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
