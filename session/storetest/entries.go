package storetest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

func testCreate(t *env) {
	id := newID()
	t.gone(id)
	first := entry(1, "first", hour)
	t.ok(t.Put(t.ctx, id, 0, first))
	t.holds(id, first)

	t.is(t.Put(t.ctx, id, 0, entry(1, "second", 2*hour)), session.ErrConflict)
	t.holds(id, first)

	// A session that takes a former one's data may start at any version.
	high := entry(1<<63+5, "high", hour)
	id = newID()
	t.ok(t.Put(t.ctx, id, 0, high))
	t.holds(id, high)
}

func testUpdate(t *env) {
	id := newID()
	t.is(t.Put(t.ctx, id, 1, entry(2, "no upsert", hour)), session.ErrNotFound)
	t.gone(id)

	t.ok(t.Put(t.ctx, id, 0, entry(1, "one", hour)))
	two := entry(2, "two", 2*hour)
	t.ok(t.Put(t.ctx, id, 1, two))
	t.holds(id, two)

	t.is(t.Put(t.ctx, id, 1, entry(2, "late", hour)), session.ErrConflict)
	t.is(t.Put(t.ctx, id, 3, entry(4, "early", hour)), session.ErrConflict)
	t.holds(id, two)

	// The new TTL holds even if it is less.
	three := entry(3, "", hour/2)
	t.ok(t.Put(t.ctx, id, 2, three))
	t.holds(id, three)

	// Versions may be left out.
	twenty := entry(20, "", hour)
	t.ok(t.Put(t.ctx, id, 3, twenty))
	t.holds(id, twenty)
	t.is(t.Put(t.ctx, id, 4, entry(5, "", hour)), session.ErrConflict)
	t.holds(id, twenty)
}

func testDelete(t *env) {
	id := newID()
	t.ok(t.Delete(t.ctx, id, 0))
	t.is(t.Delete(t.ctx, id, 1), session.ErrNotFound)

	id = t.create(hour)
	t.is(t.Delete(t.ctx, id, 2), session.ErrConflict)
	t.holds(id, entry(1, "body", hour))
	t.ok(t.Delete(t.ctx, id, 1))
	t.gone(id)
	t.is(t.Delete(t.ctx, id, 1), session.ErrNotFound)

	id = t.create(hour)
	t.ok(t.Put(t.ctx, id, 1, entry(2, "", hour)))
	t.ok(t.Delete(t.ctx, id, 0))
	t.gone(id)
	t.ok(t.Delete(t.ctx, id, 0))

	// Dead stays dead.
	t.is(t.Put(t.ctx, id, 2, entry(3, "", hour)), session.ErrNotFound)
	t.is(t.Touch(t.ctx, id, 2, hour), session.ErrNotFound)
	t.gone(id)
}

func testTouch(t *env) {
	t.is(t.Touch(t.ctx, newID(), 1, hour), session.ErrNotFound)

	id := t.create(hour)
	for _, ttl := range []time.Duration{4 * hour, hour / 2, 3 * hour} {
		t.ok(t.Touch(t.ctx, id, 1, ttl))
		t.holds(id, entry(1, "body", ttl))
	}

	// A touch that comes after a commit must not undo the TTL the commit set.
	two := entry(2, "two", hour)
	t.ok(t.Put(t.ctx, id, 1, two))
	t.holds(id, two)
	t.is(t.Touch(t.ctx, id, 1, hour/2), session.ErrConflict)
	t.is(t.Touch(t.ctx, id, 3, hour/2), session.ErrConflict)
	t.is(t.Touch(t.ctx, id, 0, hour/2), session.ErrConflict)
	t.holds(id, two)

	// A touched entry can be updated and deleted like any other.
	t.ok(t.Touch(t.ctx, id, 2, 2*hour))
	three := entry(3, "three", hour)
	t.ok(t.Put(t.ctx, id, 2, three))
	t.holds(id, three)
	t.ok(t.Touch(t.ctx, id, 3, 2*hour))
	t.ok(t.Delete(t.ctx, id, 3))
	t.gone(id)

	// What was extended is alive after the time it would have ended at. Where
	// the clock is real, the entry may have ended before the touch: once more.
	for {
		start := time.Now()
		id = t.create(short)
		err := t.Touch(t.ctx, id, 1, hour)
		if errors.Is(err, session.ErrNotFound) && time.Since(start) >= short {
			continue
		}
		t.ok(err)
		break
	}
	t.outlive()
	t.holds(id, entry(1, "body", hour))
}

func testExpired(t *env) {
	var ids [6]string
	for i := range ids {
		ids[i] = t.create(short)
	}
	t.outlive()
	t.gone(ids[0])
	t.is(t.Put(t.ctx, ids[1], 1, entry(2, "", hour)), session.ErrNotFound)
	t.is(t.Touch(t.ctx, ids[2], 1, hour), session.ErrNotFound)
	t.is(t.Delete(t.ctx, ids[3], 1), session.ErrNotFound)
	t.ok(t.Delete(t.ctx, ids[4], 0))
	again := entry(1, "again", hour)
	t.ok(t.Put(t.ctx, ids[5], 0, again))
	t.holds(ids[5], again)
	for _, id := range ids[:5] {
		t.gone(id)
	}
}

// The same for entries whose end was moved by a touch, which a store may still
// have in memory only.
func testExpiredByTouch(t *env) {
	var ids [6]string
	for i := range ids {
		ids[i] = t.create(hour)
	}
	for _, id := range ids {
		t.ok(t.Touch(t.ctx, id, 1, short))
	}
	t.outlive()
	// First, because a store may write the touches with whatever comes first.
	again := entry(1, "again", hour)
	t.ok(t.Put(t.ctx, ids[5], 0, again))
	t.holds(ids[5], again)
	t.gone(ids[0])
	t.is(t.Put(t.ctx, ids[1], 1, entry(2, "", hour)), session.ErrNotFound)
	t.is(t.Touch(t.ctx, ids[2], 1, hour), session.ErrNotFound)
	t.is(t.Delete(t.ctx, ids[3], 1), session.ErrNotFound)
	t.ok(t.Delete(t.ctx, ids[4], 0))
	t.holds(ids[5], again)
	for _, id := range ids[:5] {
		t.gone(id)
	}
}

func testValuesAreExact(t *env) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, body := range []string{
		"", "\x00", "\n", "\r\n", "\xff\xfe", " leading and trailing ",
		string(every), string(bytes.Repeat(every, 64<<10/len(every))),
	} {
		id := newID()
		e := entry(1, body, hour)
		t.ok(t.Put(t.ctx, id, 0, e))
		t.holds(id, e)
		e = entry(2, body+"\x00", hour)
		t.ok(t.Put(t.ctx, id, 1, e))
		t.holds(id, e)
		t.ok(t.Touch(t.ctx, id, 2, hour))
		t.holds(id, e)
	}
}

func testSlicesAreNotShared(t *env) {
	want := entry(1, "the value as it was put", hour)
	id, e := newID(), want
	e.Value = bytes.Clone(want.Value)
	t.ok(t.Put(t.ctx, id, 0, e))
	if !bytes.Equal(e.Value, want.Value) {
		t.Fatal("Put changed the slice it was given")
	}
	clear(e.Value)
	t.holds(id, want)

	got, err := t.Get(t.ctx, id)
	t.ok(err)
	clear(got.Value)
	clear(got.Value[:cap(got.Value)])
	t.holds(id, want)
}

func testForeignValue(t *env) {
	for _, value := range []string{
		"somebody else's", "x", "cs1 000000000000000G body", "cs2 0000000000000001 body",
	} {
		id := newID()
		t.opts.PutRaw(id, []byte(value))
		got, err := t.Get(t.ctx, id)
		t.ok(err)
		if got.Version != 0 || string(got.Value) != value {
			t.Fatalf("got version %d, value %q; want 0, %q", got.Version, got.Value, value)
		}
		t.begins(id, session.Entry{Value: []byte(value), TTL: 1<<63 - 1})
		t.is(t.Put(t.ctx, id, 0, entry(1, "", hour)), session.ErrConflict)
		t.is(t.Put(t.ctx, id, 1, entry(2, "", hour)), session.ErrConflict)
		t.is(t.Touch(t.ctx, id, 1, hour), session.ErrConflict)
		t.is(t.Delete(t.ctx, id, 1), session.ErrConflict)
		t.ok(t.Delete(t.ctx, id, 0))
		t.gone(id)
	}
}

func testContextDone(t *env) {
	id := t.create(hour)
	cancelled, cancel := context.WithCancel(t.ctx)
	cancel()
	late, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
	defer cancel()
	t.callAll(cancelled, id)
	t.callAll(late, id)
}

func testClosed(t *env) {
	id := t.create(hour)
	t.ok(t.Close())
	t.callAll(t.ctx, id)
}

// callAll calls every method, each of which has to fail.
func (t *env) callAll(ctx context.Context, id string) {
	t.Helper()
	for name, call := range Calls(t.Store, id) {
		t.broken(name, call(ctx))
	}
	t.broken("Delete at a version", t.Delete(ctx, id, 1))
}
