package storetest

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/caddy-session/caddy-session/session"
)

// begins asserts that the beginning of id, read alone, is that of e. It does nothing
// if the store can't do that.
func (t *env) begins(id string, e session.Entry) {
	t.Helper()
	prefixes, ok := session.As[session.PrefixReader](t.Store)
	if !ok {
		return
	}
	for _, size := range []int{session.HeadSize + 1, len(e.Value) - 1, len(e.Value), len(e.Value) + 1, 100} {
		if size <= session.HeadSize {
			continue
		}
		got, err := prefixes.GetPrefix(t.ctx, id, size)
		t.ok(err)
		want := e.Value[:min(len(e.Value), size)]
		if got.Version != e.Version || !bytes.Equal(got.Value, want) {
			t.Fatalf("the first %d bytes: got version %d and %d bytes, want version %d and %d bytes", size, got.Version, len(got.Value), e.Version, len(want))
		}
		if size < len(e.Value) && !got.Cut || size > len(e.Value) && got.Cut {
			t.Fatalf("the first %d of %d bytes: Cut is %v", size, len(e.Value), got.Cut)
		}
		if got.TTL <= 0 || got.TTL > e.TTL {
			t.Fatalf("the first %d bytes: got TTL %v, want at most %v", size, got.TTL, e.TTL)
		}
		if c := got.Cached; c != nil && (c.Cut != got.Cut || !bytes.Equal(c.Value, got.Value)) {
			t.Fatal("the entry in memory has not the value that GetPrefix returns")
		}
	}
}

// What is read of the beginning is of one version, and never of one before a write
// that has returned; and it does not take the place of the whole.
func testRacePrefix(t *env) {
	prefixes, ok := session.As[session.PrefixReader](t.Store)
	if !ok {
		return
	}
	const updates, size = 50, 5000
	body := func(version uint64) string { return strings.Repeat(string('a'+rune(version%26)), 4*size) }
	id := newID()
	t.ok(t.Put(t.ctx, id, 0, entry(1, body(1), hour)))
	var written atomic.Uint64
	written.Store(1)
	var over atomic.Bool
	parallel(5, func(i int) {
		if i == 0 {
			defer over.Store(true)
			for version := uint64(1); version <= updates; version++ {
				if err := t.Put(t.ctx, id, version, entry(version+1, body(version+1), hour)); err != nil {
					t.Error(err)
					return
				}
				written.Store(version + 1)
			}
			return
		}
		for !over.Load() {
			least := written.Load()
			length := 4*size + session.HeadSize
			get := func() (session.Entry, error) { return t.Get(t.ctx, id) }
			if i%2 == 0 {
				length = size
				get = func() (session.Entry, error) { return prefixes.GetPrefix(t.ctx, id, size) }
			}
			got, err := get()
			want := entry(got.Version, body(got.Version), hour).Value[:length]
			if err != nil || got.Version < least || got.Cut != (length == size) || !bytes.Equal(got.Value, want) {
				t.Errorf("after version %d: got version %d, %d bytes, cut %v, error %v", least, got.Version, len(got.Value), got.Cut, err)
				return
			}
			if c := got.Cached; c != nil && (c.Cut != got.Cut || !bytes.Equal(c.Value, got.Value)) {
				t.Error("the entry in memory has another value")
			}
		}
	})
	if t.Failed() {
		return
	}
	t.ok(t.Delete(t.ctx, id, 0))
	if _, err := prefixes.GetPrefix(t.ctx, id, size); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("after Delete: got error %v, want ErrNotFound", err)
	}
}
