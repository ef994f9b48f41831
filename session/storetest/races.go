package storetest

import (
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/caddy-session/caddy-session/session"
)

// No update is lost: everybody reads, adds one, and writes what was read back
// at the version that was read.
func testRaceIncrement(t *env) {
	const workers, each = 8, 25
	id := newID()
	t.ok(t.Put(t.ctx, id, 0, entry(1, number(0), hour)))
	parallel(workers, func(int) {
		for done := 0; done < each; {
			e, err := t.Get(t.ctx, id)
			if err != nil {
				t.Error(err)
				return
			}
			n, err := strconv.Atoi(string(e.Value[session.HeadSize:]))
			if err != nil {
				t.Error(err)
				return
			}
			switch err := t.Put(t.ctx, id, e.Version, entry(e.Version+1, number(n+1), hour)); {
			case err == nil:
				done++
			case !errors.Is(err, session.ErrConflict):
				t.Error(err)
				return
			}
		}
	})
	t.holds(id, entry(1+workers*each, number(workers*each), hour))
}

func testRaceCreate(t *env) {
	for range 20 {
		id := newID()
		var winner atomic.Int64
		var winners atomic.Int64
		parallel(16, func(i int) {
			switch err := t.Put(t.ctx, id, 0, entry(1, number(i), hour)); {
			case err == nil:
				winners.Add(1)
				winner.Store(int64(i))
			case !errors.Is(err, session.ErrConflict):
				t.Error(err)
			}
		})
		if n := winners.Load(); n != 1 {
			t.Fatalf("%d creations of one id succeeded, want 1", n)
		}
		t.holds(id, entry(1, number(int(winner.Load())), hour))
	}
}

// Dead stays dead: once Delete has returned, no update or touch that was on
// its way brings the entry back.
func testRaceUpdateDelete(t *env) {
	for range 20 {
		id := t.create(hour)
		var dead atomic.Bool
		parallel(4, func(i int) {
			if i == 0 {
				if err := t.Delete(t.ctx, id, 0); err != nil {
					t.Error(err)
				}
				dead.Store(true)
				return
			}
			for {
				dead := dead.Load()
				e, err := t.Get(t.ctx, id)
				if dead && !errors.Is(err, session.ErrNotFound) {
					t.Errorf("after Delete: got error %v, want ErrNotFound", err)
					return
				}
				if err == nil && i == 1 {
					err = t.Touch(t.ctx, id, e.Version, 2*hour)
				} else if err == nil {
					err = t.Put(t.ctx, id, e.Version, entry(e.Version+1, "", hour))
				}
				if errors.Is(err, session.ErrNotFound) {
					return
				}
				if err != nil && !errors.Is(err, session.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
		t.gone(id)
	}
}

// Of an update and a deletion at one version, one wins.
func testRaceVersionedDelete(t *env) {
	for range 20 {
		id := t.create(hour)
		var errs [2]error
		parallel(2, func(i int) {
			if i == 0 {
				errs[0] = t.Delete(t.ctx, id, 1)
			} else {
				errs[1] = t.Put(t.ctx, id, 1, entry(2, "two", hour))
			}
		})
		switch {
		case errs[0] == nil && errors.Is(errs[1], session.ErrNotFound):
			t.gone(id)
		case errors.Is(errs[0], session.ErrConflict) && errs[1] == nil:
			t.holds(id, entry(2, "two", hour))
		default:
			t.Fatalf("Delete: %v, Put: %v; want exactly one to win", errs[0], errs[1])
		}
	}
}

// The TTL that a commit sets is not cut short by touches of the version before.
func testRaceTouch(t *env) {
	for range 20 {
		id := t.create(hour)
		parallel(4, func(i int) {
			if i == 0 {
				if err := t.Put(t.ctx, id, 1, entry(2, "two", 8*hour)); err != nil {
					t.Error(err)
				}
				return
			}
			for {
				err := t.Touch(t.ctx, id, 1, hour)
				if errors.Is(err, session.ErrConflict) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		t.holds(id, entry(2, "two", 8*hour))
	}
}
