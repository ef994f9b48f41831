//go:build unix

package pgstore_test

import (
	"testing"

	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// The server does not wait for its disk.
func BenchmarkStore(b *testing.B) {
	server := pgtest.Shared(b)
	s := open(b, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: newTable(), Timeout: patient})
	storetest.Bench(b, s)
	b.Run("DeleteMany", func(b *testing.B) { storetest.BenchMany(b, s, 10000) })
}

func BenchmarkPages(b *testing.B) {
	server := pgtest.Shared(b)
	storetest.BenchPages(b, open(b, pgstore.Options{URL: server.URL("postgres", pgtest.Password), Table: newTable(), Timeout: patient}))
}
