package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

// lock is Lock with a time to wait.
func (e *env) lock(m *session.Manager, s *session.Session, wait time.Duration) (*session.Lock, error) {
	ctx, cancel := context.WithTimeout(e.Context(), wait)
	defer cancel()
	return m.Lock(ctx, s)
}

// One at a time has the lock of a session, among the requests of one process and
// those of two, which have managers of their own on one store.
func TestLock(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s, other := e.create(`{"user":"alice"}`), e.create(`{"user":"alice"}`)
		second := newManager(e.T, e.store, e.policy, session.Observer{})
		var mu sync.Mutex
		var all sync.WaitGroup
		holders, most, n := 0, 0, 0
		for i := range 50 {
			all.Go(func() {
				m := e.Manager
				if i%2 == 1 {
					m = second
				}
				l, err := e.lock(m, s, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				holders++
				most = max(most, holders)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				holders--
				n++
				mu.Unlock()
				if l.Lost() {
					t.Error("lost")
				}
				l.Unlock()
			})
		}
		all.Wait()
		if most != 1 || n != 50 {
			t.Errorf("%d had it, %d at once", n, most)
		}

		l, err := e.lock(e.Manager, s, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*session.Manager{e.Manager, second} {
			start := time.Now()
			if _, err := e.lock(m, s, 3*time.Second); !errors.Is(err, session.ErrLocked) || time.Since(start) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			free, err := e.lock(m, other, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			free.Unlock()
		}
		list, _, err := e.operator.List(e.Context(), "", 100)
		if err != nil || len(list) != 2 {
			t.Errorf("the operator sees %v, %v", list, err)
		}
		time.Sleep(time.Hour) // it is kept
		if _, err := e.lock(second, s, time.Second); !errors.Is(err, session.ErrLocked) || l.Lost() {
			t.Errorf("after an hour: %v, lost: %v", err, l.Lost())
		}
		l.Unlock()
	})
}

// A process that can't tell the store that it is there loses the lock, and knows it
// before somebody else has it.
func TestLockIsLost(t *testing.T) {
	bubble(t, nil, func(e *env) {
		s := e.create(`{"user":"alice"}`)
		broken := &flaky{Store: e.store, calls: map[string]int{}, before: failing("Touch")}
		l, err := e.lock(newManager(e.T, broken, e.policy, session.Observer{}), s, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		next, err := e.lock(e.Manager, s, time.Minute)
		if took := time.Since(start); err != nil || took < 9*time.Second || took > 11*time.Second || !l.Lost() || next.Lost() {
			t.Errorf("%v, after %v", err, took)
		}
		l.Unlock() // of what somebody else has by now
		if _, err := e.lock(newManager(e.T, e.store, e.policy, session.Observer{}), s, time.Second); !errors.Is(err, session.ErrLocked) {
			t.Errorf("the other one's lock is gone: %v", err)
		}
		next.Unlock()

		down := &flaky{Store: memstore.New(), calls: map[string]int{}, before: failing("Put")}
		if _, err := e.lock(newManager(e.T, down, e.policy, session.Observer{}), s, time.Minute); !errors.Is(err, errBroken) {
			t.Errorf("the store is down: %v", err)
		}
	})
}
