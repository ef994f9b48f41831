package storetest

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

func testIndex(t *env) {
	key := "key " + newID()
	t.lists(key, nil, nil)

	id := newID()
	t.ok(t.Put(t.ctx, id, 0, indexed(1, key, hour)))
	t.lists(key, []string{id}, nil)
	t.holds(id, entry(1, "", hour))

	// An update may file, too, and again.
	other := t.create(hour)
	t.ok(t.Put(t.ctx, other, 1, indexed(2, key, hour)))
	t.ok(t.Put(t.ctx, other, 2, indexed(3, key, hour)))
	t.lists(key, []string{id, other}, nil)

	// What does not name the key leaves the index alone.
	t.ok(t.Put(t.ctx, other, 3, entry(4, "", hour)))
	t.ok(t.Touch(t.ctx, other, 4, hour))
	t.lists(key, []string{id, other}, nil)

	t.ok(t.Delete(t.ctx, id, 0))
	t.ok(t.Unindex(t.ctx, key, id))
	t.ok(t.Unindex(t.ctx, key, id))
	t.ok(t.Unindex(t.ctx, "key "+newID(), id))
	t.lists(key, []string{other}, []string{id})
}

// A Put that fails may leave an index entry, but never takes one away.
func testIndexIsFiledWithTheRecord(t *env) {
	key := "key " + newID()
	id := newID()
	t.ok(t.Put(t.ctx, id, 0, indexed(1, key, hour)))
	t.is(t.Put(t.ctx, id, 0, indexed(1, key, hour)), session.ErrConflict)
	t.is(t.Put(t.ctx, id, 7, indexed(8, key, hour)), session.ErrConflict)
	t.lists(key, []string{id}, nil)

	absent := newID()
	t.is(t.Put(t.ctx, absent, 1, indexed(2, key, hour)), session.ErrNotFound)
	t.gone(absent)
	t.lists(key, []string{id}, nil)
}

func testIndexKeysAreApart(t *env) {
	base := newID()
	keys := []string{base, base + "\x00", base + "a", base + "\xff", base + "\x00" + newID(), base[:21]}
	var ids []string
	for _, key := range keys {
		id := newID()
		t.ok(t.Put(t.ctx, id, 0, indexed(1, key, hour)))
		ids = append(ids, id)
	}
	for i, key := range keys {
		got := t.pages(func(cursor string) ([]string, string, error) {
			return t.indexed(key, cursor, 100)
		})
		if len(got) != 1 || !got[ids[i]] {
			t.Errorf("key %q has %q, want %s only", key, slices.Collect(maps.Keys(got)), ids[i])
		}
	}
}

// Filing an id again, perhaps by a Put that fails, must not make it be
// forgotten while the record that an earlier Put filed may be alive.
func testIndexKeepsTheLaterDeadline(t *env) {
	key := "key " + newID()
	id := newID()
	t.ok(t.Put(t.ctx, id, 0, indexed(1, key, hour)))
	soon := indexed(2, key, hour)
	soon.Deadline = time.Now().Add(short / 2)
	t.is(t.Put(t.ctx, id, 7, soon), session.ErrConflict)
	t.ok(t.Put(t.ctx, id, 1, soon))
	t.outlive()
	// Time and work, for stores that sweep after some of it.
	if t.opts.Bubble {
		time.Sleep(hour / 2)
	}
	t.fill(make([]string, 200), func(i int) session.Entry { return entry(1, number(i), hour) })
	t.lists(key, []string{id}, nil)
}

func testIndexPages(t *env) {
	key := "key " + newID()
	ids := make([]string, 300)
	t.fill(ids, func(int) session.Entry { return indexed(1, key, hour) })
	for _, limit := range []int{1000, 300, 100, 7} {
		t.names(ids, nil, t.pages(func(cursor string) ([]string, string, error) {
			return t.indexed(key, cursor, limit)
		}))
	}
}

func testListPages(t *env) {
	ids := make([]string, 500)
	t.fill(ids, func(i int) session.Entry { return entry(1, number(i), hour) })
	for _, id := range ids[:100] {
		t.ok(t.Delete(t.ctx, id, 1))
	}
	for _, limit := range []int{10000, 100, 11} {
		t.names(ids[100:], ids[:100], t.pages(func(cursor string) ([]string, string, error) {
			return t.List(t.ctx, cursor, limit)
		}))
	}
}

// What was there before the first page is listed, whatever comes and goes.
func testListWhileOthersChange(t *env) {
	key := "key " + newID()
	ids := make([]string, 200)
	t.fill(ids, func(int) session.Entry { return indexed(1, key, hour) })

	var stop atomic.Bool
	parallel(3, func(i int) {
		if i > 0 {
			for !stop.Load() {
				id := newID()
				err := t.Put(t.ctx, id, 0, indexed(1, key, hour))
				err = errors.Join(err, t.Delete(t.ctx, id, 1), t.Unindex(t.ctx, key, id))
				if err != nil {
					t.Error(err)
					return
				}
			}
			return
		}
		defer stop.Store(true)
		for range 3 {
			t.names(ids, nil, t.pages(func(cursor string) ([]string, string, error) {
				return t.indexed(key, cursor, 9)
			}))
			t.names(ids, nil, t.pages(func(cursor string) ([]string, string, error) {
				return t.List(t.ctx, cursor, 50)
			}))
		}
	})
}

// fill gives every element of ids an id of its own and stores an entry there.
func (t *env) fill(ids []string, e func(i int) session.Entry) {
	t.Helper()
	const workers = 20
	parallel(workers, func(w int) {
		for i := w; i < len(ids); i += workers {
			ids[i] = newID()
			if err := t.Put(t.ctx, ids[i], 0, e(i)); err != nil {
				t.Error(err)
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// indexed is Indexed without the headers.
func (t *env) indexed(key, cursor string, limit int) (ids []string, next string, err error) {
	page, next, err := t.Indexed(t.ctx, key, cursor, limit)
	for _, i := range page {
		ids = append(ids, i.ID)
	}
	return ids, next, err
}

// lists asserts what is indexed under a key.
func (t *env) lists(key string, want, not []string) {
	t.Helper()
	t.names(want, not, t.pages(func(cursor string) ([]string, string, error) {
		return t.indexed(key, cursor, 100)
	}))
}

// pages reads a listing to its end. It may run on any goroutine.
func (t *env) pages(page func(cursor string) ([]string, string, error)) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	cursors := map[string]bool{}
	cursor := ""
	for !cursors[cursor] {
		cursors[cursor] = true
		ids, next, err := page(cursor)
		if err != nil {
			t.Error(err)
			return all
		}
		for _, id := range ids {
			all[id] = true
		}
		if next == "" {
			return all
		}
		cursor = next
	}
	t.Errorf("the cursor %q came twice: the listing does not end", cursor)
	return all
}

// names asserts that a listing has all of want, and none of not. It may run on
// any goroutine.
func (t *env) names(want, not []string, got map[string]bool) {
	t.Helper()
	for _, id := range want {
		if !got[id] {
			t.Errorf("%s is not among the %d ids listed", id, len(got))
			return
		}
	}
	for _, id := range not {
		if got[id] {
			t.Errorf("%s is listed, but should not be", id)
			return
		}
	}
}
