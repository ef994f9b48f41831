//go:build unix

package movestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/movestore"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// begun is a store in which all sessions begin in the old one, so that each test of
// the contract is about sessions that are moved by what it does first.
type begun struct {
	session.Store
	old, to session.Store
	from    *movestore.Source
}

func (b *begun) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if expect != 0 {
		return b.Store.Put(ctx, id, expect, e)
	}
	if _, err := b.to.Get(ctx, id); err == nil { // what was moved is there, too
		return session.ErrConflict
	}
	return b.old.Put(ctx, id, expect, e)
}

func (b *begun) Unwrap() session.Store { return b.Store }

func (b *begun) Close() error { return errors.Join(b.to.Close(), b.from.Close()) }

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// The contract, races included, for sessions that are in the new store, and for those
// that every test finds in the old one.
func TestConformance(t *testing.T) {
	memory := func(*testing.T) session.Store { return memstore.New() }
	embedded := func(t *testing.T) session.Store {
		return boltstore.New(boltstore.Options{Path: filepath.Join(t.TempDir(), "sessions.db")})
	}
	for _, tt := range []struct {
		name, where string // the sessions are
		to, from    func(*testing.T) session.Store
	}{
		{"memory new", "new", memory, memory},
		{"memory old", "old", memory, memory},
		{"embedded new", "new", embedded, embedded},
		{"embedded old", "old", embedded, embedded},
		{"redis to postgres", "old", inPostgres, inRedis},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var store *begun
			storetest.Run(t, func(t *testing.T) session.Store {
				to, from := tt.to(t), movestore.NewSource(tt.from(t))
				store = &begun{movestore.New(to, from), from.Store, to, from}
				if tt.where == "new" {
					store.old = to
				}
				return store
			}, storetest.Options{Bubble: strings.HasPrefix(tt.name, "memory"), PutRaw: func(id string, value []byte) {
				if err := store.old.Put(t.Context(), id, 0, session.Entry{Value: value, TTL: time.Hour}); err != nil {
					t.Fatal(err)
				}
			}})
		})
	}
}

// patient is the timeout of servers.
const patient = 10 * time.Second

func inPostgres(t *testing.T) session.Store {
	server := pgtest.Shared(t)
	s, err := pgstore.New(pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: "moved", Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inRedis(t *testing.T) session.Store {
	s, err := redisstore.New(redisstore.Options{Addresses: []string{redistest.Start(t).Addr}, Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// faulty is a store whose calls fail now and then, before or after they have done
// their work, and during which other things happen.
type faulty struct {
	session.Store
	trouble func() (before, after error)
}

var errTrouble = errors.New("no answer")

func (f *faulty) call(do func() error) error {
	before, after := f.trouble()
	if before != nil {
		return before
	}
	if err := do(); err != nil || after == nil {
		return err
	}
	return after
}

func (f *faulty) Get(ctx context.Context, id string) (e session.Entry, err error) {
	err = f.call(func() error { e, err = f.Store.Get(ctx, id); return err })
	return e, err
}

func (f *faulty) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	return f.call(func() error { return f.Store.Put(ctx, id, expect, e) })
}

func (f *faulty) Delete(ctx context.Context, id string, expect uint64) error {
	return f.call(func() error { return f.Store.Delete(ctx, id, expect) })
}

// One session is read, changed and ended by two processes that move it, by one that
// still has the old configuration, and by a process that has both, while calls of both
// stores fail before or after they were done, and what others do comes between any two
// of them. Then: what was confirmed to be ended stays ended, no confirmed change is
// lost, each version was written once, and nothing is lost unless somebody has tried to end it.
func TestModel(t *testing.T) {
	const id = "session"
	ctx := context.Background()
	value := func(version uint64, by int) []byte {
		return append(session.AppendHead(nil, version), fmt.Sprint("by ", by)...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var (
			dead, ending bool   // its end was confirmed, was tried
			confirmed    uint64 = 1
			written             = map[uint64]bool{1: true}
			depth, calls int
			act          func()
			calm         bool
		)
		trouble := func() (before, after error) {
			if calm {
				return nil, nil
			}
			switch rapid.IntRange(0, 9).Draw(rt, "call") {
			case 0:
				before = errTrouble
			case 1:
				after = errTrouble
			case 2, 3:
				if depth < 3 {
					act()
				}
			}
			return before, after
		}
		to, old := &faulty{memstore.New(), trouble}, &faulty{memstore.New(), trouble}
		shared := movestore.NewSource(old)
		one, two := movestore.New(to, shared), movestore.New(to, movestore.NewSource(old))
		one.Open(ctx)
		two.Open(ctx)
		if err := old.Store.Put(ctx, id, 0, session.Entry{Version: 1, Value: value(1, 0), TTL: time.Hour}); err != nil {
			rt.Fatal(err)
		}
		// check says whether what was found may be, by what was certain before.
		check := func(what string, e session.Entry, err error, wasDead bool, least uint64) {
			switch {
			case err == nil && wasDead:
				rt.Fatalf("%s: it is alive again at version %d", what, e.Version)
			case err == nil && e.Version < least:
				rt.Fatalf("%s: version %d, after version %d was confirmed", what, e.Version, least)
			case errors.Is(err, session.ErrNotFound) && !ending:
				rt.Fatalf("%s: it is lost", what)
			}
		}
		by := func(name string) session.Store {
			return map[string]session.Store{"one": one, "two": two, "shared": shared, "old": old}[name]
		}
		act = func() {
			depth++
			defer func() { depth-- }()
			calls++
			n := calls
			name := rapid.SampledFrom([]string{"one", "two", "shared", "old"}).Draw(rt, "by")
			store := by(name)
			what := rapid.IntRange(0, 9).Draw(rt, "what")
			if what == 0 && name != "old" { // for whom the old store is not all there is
				ending = true // without a look, which would have moved it
				if err := store.Delete(ctx, id, 0); err == nil {
					dead = true
				}
				return
			}
			wasDead, least := dead, confirmed
			e, err := store.Get(ctx, id)
			if name != "old" { // to which what was moved is gone
				check(name+" reads", e, err, wasDead, least)
			}
			if err != nil || !written[e.Version] { // a mark, in the old store
				return
			}
			switch what {
			case 1:
				ending = true
				if err := store.Delete(ctx, id, e.Version); err == nil {
					dead = true
				}
			case 2, 3, 4, 5:
				wasDead := dead
				next := e.Version + 1
				err := store.Put(ctx, id, e.Version, session.Entry{Version: next, Value: value(next, n), TTL: time.Hour})
				if err != nil {
					return
				}
				if wasDead {
					rt.Fatalf("%s: changed after its end", name)
				}
				if written[next] && next <= confirmed {
					rt.Fatalf("%s: version %d was written twice", name, next)
				}
				written[next], confirmed = true, max(confirmed, next)
			case 6:
				store.Touch(ctx, id, e.Version, time.Hour)
			}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "acts") {
			act()
		}
		calm = true
		for _, name := range []string{"one", "two", "shared"} {
			e, err := by(name).Get(ctx, id)
			if err != nil && !errors.Is(err, session.ErrNotFound) {
				rt.Fatal(err)
			}
			check("in the end, "+name, e, err, dead, confirmed)
		}
	})
}
