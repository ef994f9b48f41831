package storetest_test

import (
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// What the tests of a store have: one call for the contract, and one for the
// benchmarks.
func ExampleRun() {
	TestConformance := func(t *testing.T) {
		var store *memstore.Store
		open := func(*testing.T) session.Store {
			store = memstore.New()
			return store
		}
		foreign := func(id string, value []byte) { // puts what is no record, past the checks that a store may have
			if err := store.Put(t.Context(), id, 0, session.Entry{Value: value, TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		storetest.Run(t, open, storetest.Options{PutRaw: foreign})
	}
	BenchmarkStore := func(b *testing.B) {
		storetest.Bench(b, memstore.New())
	}
	_, _ = TestConformance, BenchmarkStore // functions of their own, there
}
