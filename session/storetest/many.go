package storetest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// With an id comes what its entry begins with, as it is now.
func testIndexHeaders(t *env) {
	key := "key " + newID()
	long := strings.Repeat("header ", 1000) + "\n" + strings.Repeat("body ", 10000)
	want := map[string]string{}
	for _, body := range []string{"", "header\nbody", strings.Repeat("x", 1<<10) + "\nbody", long} {
		e := indexed(1, key, hour)
		e.Value = append(e.Value, body...)
		id := newID()
		t.ok(t.Put(t.ctx, id, 0, e))
		want[id] = string(e.Value)
	}
	deleted, ended, updated := newID(), newID(), newID()
	for id, ttl := range map[string]time.Duration{deleted: hour, ended: short, updated: hour} {
		t.ok(t.Put(t.ctx, id, 0, indexed(1, key, ttl)))
	}
	t.ok(t.Delete(t.ctx, deleted, 1))
	two := entry(2, "two\n", hour)
	t.ok(t.Put(t.ctx, updated, 1, two))
	want[updated] = string(two.Value)
	want[deleted], want[ended] = "", ""
	t.outlive()

	seen := map[string]bool{}
	for cursor := ""; ; {
		page, next, err := t.Indexed(t.ctx, key, cursor, 2)
		t.ok(err)
		for _, i := range page {
			seen[i.ID] = true
			value := want[i.ID]
			header, _, _ := strings.Cut(value, "\n")
			switch {
			case value == "" && i.Header != nil:
				t.Errorf("an entry that is no more has the header %q", i.Header)
			case value != "" && (!strings.HasPrefix(value, string(i.Header)) || !bytes.HasPrefix(i.Header, []byte(header))):
				t.Errorf("the header has %d bytes and does not cover the %d of the first line", len(i.Header), len(header))
			}
			clear(i.Header) // it is the caller's
		}
		if cursor = next; next == "" {
			break
		}
	}
	for id, value := range want {
		if value != "" && !seen[id] {
			t.Errorf("%s is not listed", id)
		}
	}
	t.holds(updated, two)
}

func testDeleteMany(t *env) {
	key, other := "key "+newID(), "key "+newID()
	ids := make([]string, 10)
	t.fill(ids, func(int) session.Entry { return indexed(1, key, hour) })
	t.ok(t.Touch(t.ctx, ids[0], 1, 2*hour)) // which a store may have in memory only
	t.ok(t.Put(t.ctx, ids[1], 1, entry(2, "", hour)))
	ended := newID()
	t.ok(t.Put(t.ctx, ended, 0, indexed(1, key, short)))
	t.outlive()
	elsewhere := newID()
	t.ok(t.Put(t.ctx, elsewhere, 0, indexed(1, other, hour)))

	// Some that are no more or have never been, and one twice.
	many := append([]string{newID(), ended, ids[5]}, ids[:8]...)
	kept := bytes.Clone([]byte(strings.Join(many, " ")))
	for range 2 {
		t.ok(t.DeleteMany(t.ctx, key, many))
		for _, id := range many {
			t.gone(id)
		}
		t.lists(key, ids[8:], many)
		for _, id := range ids[8:] {
			t.holds(id, entry(1, "", hour))
		}
	}
	if strings.Join(many, " ") != string(kept) {
		t.Error("DeleteMany changed the slice it was given")
	}
	t.ok(t.DeleteMany(t.ctx, key, nil))

	// Dead stays dead.
	t.is(t.Touch(t.ctx, ids[0], 1, hour), session.ErrNotFound)
	t.is(t.Put(t.ctx, ids[1], 2, entry(3, "", hour)), session.ErrNotFound)

	// Without a key the index stays as it is, and others' keys always do.
	t.ok(t.DeleteMany(t.ctx, "", ids[8:9]))
	t.gone(ids[8])
	t.ok(t.DeleteMany(t.ctx, key, []string{elsewhere}))
	t.gone(elsewhere)
	t.lists(other, []string{elsewhere}, nil)
	t.lists(key, ids[9:], nil)
}

func testDeleteThousands(t *env) {
	key := "key " + newID()
	ids := make([]string, 2500)
	t.fill(ids, func(int) session.Entry { return indexed(1, key, hour) })
	survivor := ids[1234]
	ids = append(ids[:1234:1234], ids[1235:]...)
	t.ok(t.DeleteMany(t.ctx, key, ids))
	t.lists(key, []string{survivor}, ids)
	t.holds(survivor, entry(1, "", hour))
}

// Whoever ends all that is listed ends what was filed before, and loses nothing
// that is filed meanwhile: it either ends, or is listed the next time.
func testRaceDeleteMany(t *env) {
	const workers, each = 4, 50
	key := "key " + newID()
	survivor := newID()
	t.ok(t.Put(t.ctx, survivor, 0, indexed(1, key, hour)))
	var mu sync.Mutex
	var filedIDs []string // whose Put has returned
	var left atomic.Int64
	left.Store(workers)
	end := func() {
		mu.Lock()
		before := len(filedIDs)
		mu.Unlock()
		var ids []string
		for cursor := ""; ; {
			page, next, err := t.Indexed(t.ctx, key, cursor, 20)
			if err != nil {
				t.Error(err)
				return
			}
			for _, i := range page {
				if i.Header != nil && i.ID != survivor {
					ids = append(ids, i.ID)
				}
			}
			if cursor = next; next == "" {
				break
			}
		}
		if err := t.DeleteMany(t.ctx, key, ids); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, id := range filedIDs[:before] {
			if _, err := t.Get(t.ctx, id); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s was filed before and lives on: error %v", id, err)
			}
		}
	}
	parallel(workers+1, func(w int) {
		if w == workers {
			for left.Load() > 0 {
				end()
			}
			return
		}
		defer left.Add(-1)
		for range each {
			id := newID()
			if err := t.Put(t.ctx, id, 0, indexed(1, key, hour)); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			filedIDs = append(filedIDs, id)
			mu.Unlock()
			// An update of what may have ended does not bring it back.
			if err := t.Put(t.ctx, id, 1, indexed(2, key, hour)); err != nil && !errors.Is(err, session.ErrNotFound) {
				t.Error(err)
				return
			}
		}
	})
	end()
	for _, id := range filedIDs {
		t.gone(id)
	}
	t.holds(survivor, entry(1, "", hour))
	t.lists(key, []string{survivor}, nil)
}

// BenchMany measures how long it takes to find and end all sessions of a
// subject but one, of so many. Each has about 600 bytes. It leaves the store
// open.
func BenchMany(b *testing.B, store session.Store, sessions int) {
	b.ReportAllocs()
	body := "header\n" + strings.Repeat("0123456789", 57)
	for b.Loop() {
		b.StopTimer()
		key := "key " + newID()
		ids := make([]string, sessions)
		const workers = 64
		parallel(workers, func(w int) {
			for i := w; i < len(ids); i += workers {
				ids[i] = newID()
				e := indexed(1, key, hour)
				e.Value = append(e.Value, body...)
				if err := store.Put(b.Context(), ids[i], 0, e); err != nil {
					b.Error(err)
				}
			}
		})
		b.StartTimer()
		var found []string
		for cursor := ""; ; {
			page, next, err := store.Indexed(b.Context(), key, cursor, 1000)
			if err != nil {
				b.Fatal(err)
			}
			for _, i := range page {
				if i.Header != nil && i.ID != ids[0] {
					found = append(found, i.ID)
				}
			}
			if cursor = next; next == "" {
				break
			}
		}
		if err := store.DeleteMany(b.Context(), key, found); err != nil || len(found) != sessions-1 {
			b.Fatalf("%d of %d sessions: error %v", len(found), sessions, err)
		}
	}
}
