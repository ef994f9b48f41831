package storetest

import (
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session"
)

// Bench measures the calls that requests make, one at a time, on a record of
// about 600 bytes. It leaves the store open.
func Bench(b *testing.B, store session.Store) {
	body := strings.Repeat("0123456789", 58)
	create := func(b *testing.B) string {
		b.ReportAllocs()
		id := newID()
		if err := store.Put(b.Context(), id, 0, entry(1, body, hour)); err != nil {
			b.Fatal(err)
		}
		return id
	}
	b.Run("Get", func(b *testing.B) {
		id := create(b)
		for b.Loop() {
			if _, err := store.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("PutUpdate", func(b *testing.B) {
		id := create(b)
		version := uint64(1)
		e := entry(version, body, hour)
		for b.Loop() {
			e.Version = version + 1
			session.AppendHead(e.Value[:0], e.Version)
			if err := store.Put(b.Context(), id, version, e); err != nil {
				b.Fatal(err)
			}
			version++
		}
	})
	b.Run("Touch", func(b *testing.B) {
		id := create(b)
		for b.Loop() {
			if err := store.Touch(b.Context(), id, 1, hour); err != nil {
				b.Fatal(err)
			}
		}
	})
}
