package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// A visitor's session whose cookie does not come back ends soon. All others
// live as long as they did.
func TestUnclaimed(t *testing.T) {
	for name, test := range map[string]struct {
		patch func(*env) *session.Patch
		use   bool // the cookie comes back after nine minutes
		lives time.Duration
	}{
		"visitor":            {set(`{"lang":"fr"}`), false, 10 * time.Minute},
		"visitor, back":      {set(`{"lang":"fr"}`), true, 39 * time.Minute},
		"remembered":         {setControl(`{"lang":"fr"}`, "max-age=864000"), false, 10 * time.Minute},
		"remembered, back":   {setControl(`{"lang":"fr"}`, "max-age=864000"), true, 10 * 24 * time.Hour},
		"user":               {set(`{"user":"alice"}`), false, 30 * time.Minute},
		"user, back":         {set(`{"user":"alice"}`), true, 39 * time.Minute},
		"user, remembered":   {setControl(`{"user":"alice"}`, "max-age=864000"), false, 10 * 24 * time.Hour},
		"visitor, back soon": {setControl(`{}`, "max-age=60"), false, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(e *env) {
				r, err := e.Commit(context.Background(), e.site, nil, test.patch(e), time.Now())
				if err != nil {
					e.Fatal(err)
				}
				end := time.Now().Add(test.lives)
				if test.use {
					time.Sleep(9 * time.Minute)
					e.Touch(e.live(r.Session), time.Now())
					synctest.Wait()
				} else if got := r.Session.Expires(); !got.Equal(end) {
					e.Errorf("it says that it ends at %v, want %v", got, end)
				}
				time.Sleep(time.Until(end) - time.Second)
				e.live(r.Session)
				time.Sleep(2 * time.Second)
				e.dead(r.Session)
			})
		})
	}
}

// entries is a store that notes what is put.
type entries struct {
	session.Store
	put []session.Entry
}

func (s *entries) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	s.put = append(s.put, e)
	return s.Store.Put(ctx, id, expect, e)
}

// The store learns who may have to make room.
func TestWhatTheStoreLearnsOfUsers(t *testing.T) {
	bubble(t, nil, func(e *env) {
		notes := &entries{Store: e.store.Store}
		e.store.Store = notes
		s, err := e.Commit(context.Background(), e.site, nil, set(`{}`)(e), time.Now())
		if err != nil {
			e.Fatal(err)
		}
		visitor := s.Session
		alice := e.commit(visitor, set(`{"user":"alice"}`)).Session
		alice = e.commit(alice, set(`{"a":1}`)).Session
		gone := e.commit(alice, set(`{"user":null}`)).Session
		e.commit(gone, set(`{"a":2}`))
		e.create(`{"user":"bob"}`)
		type about struct{ unclaimed, signedIn bool }
		want := []about{{true, false}, {false, true}, {false, true}, {false, false}, {false, true}, {false, false}, {false, true}}
		// The fourth is a tombstone, and the fifth what a user goes on with who signs out.
		if len(notes.put) != len(want) {
			e.Fatalf("%d entries were put, want %d", len(notes.put), len(want))
		}
		for i, entry := range notes.put {
			if got := (about{entry.Unclaimed, entry.SignedIn}); got != want[i] {
				e.Errorf("step %d: got %+v, want %+v", i, got, want[i])
			}
		}
	})
}
