//go:build unix

package session_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// stores runs f on every store. passes says whether f may let time pass, which
// only the store in memory notices without waiting.
func stores(t *testing.T, f func(t *testing.T, store session.Store, passes bool)) {
	session.StretchCommits(t) // what f is about holds on a slow disk as well
	t.Run("memory", func(t *testing.T) { f(t, memstore.New(), true) })
	t.Run("embedded", func(t *testing.T) {
		store := boltstore.New(boltstore.Options{Path: filepath.Join(t.TempDir(), "sessions.db")})
		defer store.Close()
		f(t, store, false)
	})
	inRedis := func(t *testing.T, addresses ...string) {
		store, err := redisstore.New(redisstore.Options{Addresses: addresses, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		f(t, store, false)
	}
	t.Run("redis", func(t *testing.T) { inRedis(t, redistest.Start(t).Addr) })
	t.Run("cluster", func(t *testing.T) { inRedis(t, redistest.StartCluster(t, "").Addrs()...) })
	t.Run("postgres", func(t *testing.T) {
		server := pgtest.Shared(t)
		table := "t_" + strings.ToLower(rand.Text())
		store, err := pgstore.New(pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: table, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		f(t, store, false)
	})
	t.Run("redis near-cache", func(t *testing.T) {
		server := redistest.Start(t)
		store, err := redisstore.NewNear(redisstore.Options{Addresses: []string{server.Addr}, Timeout: 5 * time.Second}, redisstore.NearOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		store.Get(t.Context(), session.NewToken().ID)
		for start := time.Now(); !store.NearCacheStats().On; time.Sleep(time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatal("the near-cache stays off")
			}
		}
		f(t, store, false)
		if s := store.NearCacheStats(); s.Hits+s.Misses == 0 {
			t.Errorf("the near-cache had no part in it: %+v", s)
		} else {
			t.Logf("near-cache: %+v", s)
		}
	})
}

func TestEveryStoreKeepsParallelPatches(t *testing.T) {
	stores(t, func(t *testing.T, store session.Store, _ bool) {
		nodes := []*env{newEnv(t, session.DefaultPolicy(), store), newEnv(t, session.DefaultPolicy(), store)}
		s := nodes[0].create("{}")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { nodes[i%2].commit(s, set(fmt.Sprintf(`{"k%d":%d}`, i, i))) })
		}
		wg.Wait()
		var data map[string]int
		if err := json.Unmarshal(nodes[0].live(s).Data(), &data); err != nil || len(data) != 20 {
			t.Errorf("got %v, error %v", data, err)
		}
	})
}

func TestEveryStoreHasOneWinner(t *testing.T) {
	ctx := context.Background()
	stores(t, func(t *testing.T, store session.Store, _ bool) {
		nodes := []*env{newEnv(t, session.DefaultPolicy(), store), newEnv(t, session.DefaultPolicy(), store)}
		for range 5 {
			s := nodes[0].create(`{"user":"alice"}`)
			var wg sync.WaitGroup
			results := make([]session.Result, 8)
			for i, p := range []func(*env) *session.Patch{control("destroy"), control("clear"), set(`{"user":"bob"}`), set(`{"user":null}`)} {
				for j := range 2 {
					wg.Go(func() { results[2*i+j] = nodes[j].commit(s, p) })
				}
			}
			wg.Wait()
			won := 0
			for i, r := range results {
				if r.Session != nil {
					nodes[0].live(r.Session)
				}
				if r.Committed {
					won++
					t.Logf("winner %d", i)
				}
			}
			if won != 1 {
				t.Errorf("%d of them won", won)
			}
			nodes[0].dead(s)
			if old, err := store.Get(ctx, s.ID()); err != session.ErrNotFound && !session.Replaced(old.Value) {
				t.Errorf("the old record: %q, error %v", old.Value, err)
			}
		}
	})
}

// What fails says once what it was doing, and a request that is called off is
// no failure of the store.
func TestLoadingThatFails(t *testing.T) {
	stores(t, func(t *testing.T, store session.Store, _ bool) {
		e := newEnv(t, session.DefaultPolicy(), store)
		s := e.create("{}")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := e.Load(ctx, e.site, []session.Token{s.Token()}, time.Now())
		if err == nil || strings.Count(err.Error(), "loading session") != 1 || strings.Count(err.Error(), s.ID()) > 2 {
			t.Errorf("got error %v", err)
		}
		if n := e.events[session.EventStoreError]; n != 0 {
			t.Errorf("a request that was called off counts as %d errors of the store", n)
		}
		e.live(s)
	})
}
