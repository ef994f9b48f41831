//go:build unix

package movestore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/session/movestore"
)

// hooked is a store whose calls are seen, and may be refused.
type hooked struct {
	session.Store
	before func(call string, e session.Entry) error // nil: nothing
}

func (h *hooked) hook(call string, e session.Entry) error {
	if h.before == nil {
		return nil
	}
	return h.before(call, e)
}

func (h *hooked) Get(ctx context.Context, id string) (session.Entry, error) {
	if err := h.hook("Get", session.Entry{}); err != nil {
		return session.Entry{}, err
	}
	return h.Store.Get(ctx, id)
}

func (h *hooked) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if err := h.hook("Put", e); err != nil {
		return err
	}
	return h.Store.Put(ctx, id, expect, e)
}

// replicated is a store whose writes reach its replica with the next one that has to
// survive a failover.
type replicated struct {
	session.Store
	done  []func(session.Store)
	safe  int  // how many of these the replica has
	alone bool // no replica is there
	lax   bool // nothing waits for the replica
}

func newReplicated() *replicated { return &replicated{Store: memstore.New()} }

func (r *replicated) write(durable bool, do func(session.Store) error) error {
	if err := do(r.Store); err != nil {
		return err
	}
	r.done = append(r.done, func(s session.Store) { do(s) })
	if r.lax {
		return nil
	}
	if durable && r.alone {
		return session.ErrNotReplicated
	}
	if durable {
		r.safe = len(r.done)
	}
	return nil
}

func (r *replicated) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	return r.write(e.Durable, func(s session.Store) error { return s.Put(ctx, id, expect, e) })
}

func (r *replicated) Delete(ctx context.Context, id string, expect uint64) error {
	return r.write(true, func(s session.Store) error { return s.Delete(ctx, id, expect) })
}

func (r *replicated) failOver() {
	r.Store = memstore.New()
	r.done = r.done[:r.safe]
	for _, do := range r.done {
		do(r.Store)
	}
}

// plain is an entry of a store's own test: version 1.
func plain(ttl time.Duration) session.Entry {
	return session.Entry{Version: 1, Value: append(session.AppendHead(nil, 1), "its record"...), TTL: ttl}
}

// moving returns a store that is open, of an old one which has the session.
func moving(t *testing.T, to, old session.Store) *movestore.Store {
	t.Helper()
	if err := old.Put(t.Context(), "session", 0, plain(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := movestore.New(to, movestore.NewSource(old))
	s.Open(t.Context())
	return s
}

func there(t *testing.T, when string, s session.Store) {
	t.Helper()
	if e, err := s.Get(t.Context(), "session"); err != nil || e.Version != 1 {
		t.Errorf("%s: version %d, error %v", when, e.Version, err)
	}
}

// A failover of the new store at any moment loses no session, nor does one that was
// moved while no replica was there.
func TestFailoverOfTheNewStore(t *testing.T) {
	for _, alone := range []bool{false, true} {
		to, old := newReplicated(), memstore.New()
		s := moving(t, to, old)
		if to.alone = alone; alone {
			for range 5 { // whatever has to be told that, is
				s.Get(t.Context(), "session")
			}
			to.failOver()
			to.alone = false
		}
		there(t, "moved", s)
		to.failOver()
		there(t, fmt.Sprintf("after a failover, alone %v", alone), s)
	}
}

// A failover of the old store brings nothing back that has ended in the new one.
func TestFailoverOfTheOldStore(t *testing.T) {
	for name, begin := range map[string]func(old *replicated){
		"with a replica": func(*replicated) {}, "alone": func(old *replicated) { old.alone = true }, "without waiting": func(old *replicated) { old.lax = true },
	} {
		to, old := memstore.New(), newReplicated()
		s := moving(t, to, old)
		old.safe = len(old.done)
		if begin(old); old.alone {
			s.Get(t.Context(), "session")
			old.alone = false
		}
		there(t, "moved", s)
		old.failOver()
		if err := s.Delete(t.Context(), "session", 1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "session"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: it has ended, and is found: error %v", name, err)
		}
	}
}

// A move that was left off, and goes on when its copy is old, takes the time with it
// that others have given the session since.
func TestTouchedWhileItIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &hooked{Store: memstore.New()}
		s := moving(t, memstore.New(), old)
		down := true
		old.before = func(call string, _ session.Entry) error {
			if down && call == "Put" {
				return errTrouble
			}
			return nil
		}
		if _, err := s.Get(t.Context(), "session"); !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		if err := old.Touch(t.Context(), "session", 1, time.Hour); err != nil { // by who has the old configuration
			t.Fatal(err)
		}
		down = false
		if e, err := s.Get(t.Context(), "session"); err != nil || e.TTL < 59*time.Minute {
			t.Errorf("%v are left, error %v", e.TTL, err)
		}
	})
}

// A write that comes upon a mark is no conflict, also if the session has arrived when it
// looks why.
func TestArrivedWhileItIsWritten(t *testing.T) {
	to, old := &hooked{Store: memstore.New()}, &hooked{Store: memstore.New()}
	s := moving(t, to, old)
	old.before = func(call string, _ session.Entry) error {
		if call == "Put" {
			return errTrouble
		}
		return nil
	}
	if _, err := s.Get(t.Context(), "session"); !errors.Is(err, errTrouble) {
		t.Fatal(err)
	}
	old.before = nil
	other := movestore.New(to.Store, movestore.NewSource(old))
	to.before = func(call string, _ session.Entry) error {
		if call == "Get" {
			to.before = nil
			there(t, "moved by another", other)
		}
		return nil
	}
	next := session.Entry{Version: 2, Value: append(session.AppendHead(nil, 2), "changed"...), TTL: time.Hour}
	if err := s.Put(t.Context(), "session", 1, next); err != nil {
		t.Error(err)
	}
}

// Sessions go out of a store that is full, which may be why it is changed.
func TestOldStoreIsFull(t *testing.T) {
	old := &hooked{Store: memstore.New()}
	s := moving(t, memstore.New(), old)
	old.before = func(call string, _ session.Entry) error {
		if call == "Put" {
			return session.NotDone(errors.New("it is full"))
		}
		return nil
	}
	there(t, "moved", s)
	if _, err := old.Store.Get(t.Context(), "session"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("in the old store: %v", err)
	}
}

// Who goes back to the old store finds what was moved, also if a claim was left there.
func TestBackAgain(t *testing.T) {
	a, b := &refusing{Store: memstore.New()}, memstore.New()
	s := moving(t, b, a)
	a.refused = true
	there(t, "moved", s)
	s.Close()
	back := movestore.New(a, movestore.NewSource(b))
	back.Open(t.Context())
	a.refused = false
	there(t, "moved back", back)
	if err := back.Delete(t.Context(), "session", 1); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]session.Store{"back": back, "again": movestore.New(b, movestore.NewSource(a))} {
		if _, err := store.Get(t.Context(), "session"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: it has ended, error %v", name, err)
		}
	}
}

// refusing is a store that may refuse to delete.
type refusing struct {
	session.Store
	refused bool
}

func (r *refusing) Delete(ctx context.Context, id string, expect uint64) error {
	if r.refused {
		return errTrouble
	}
	return r.Store.Delete(ctx, id, expect)
}

// The source knows where its sessions go from the first one on: requests may come
// before a configuration has started as a whole.
func TestMovedBeforeItIsOpen(t *testing.T) {
	old := memstore.New()
	if err := old.Put(t.Context(), "session", 0, plain(time.Hour)); err != nil {
		t.Fatal(err)
	}
	source := movestore.NewSource(old)
	s := movestore.New(memstore.New(), source)
	there(t, "moved", s)
	there(t, "by the source", source)
	s.Close()
	if _, err := s.Get(t.Context(), "another"); !errors.Is(err, session.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := source.Get(t.Context(), "session"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("the source asks a store that is closed: %v", err)
	}
}

// site is where the sessions of this test are.
var site = session.Site{Scope: session.Scope{Name: "cookie", Host: "example.com", Path: "/"}, Realm: "example.com"}

func manager(t *testing.T, store session.Store) *session.Manager {
	t.Helper()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(store, policy, protocol, session.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// signIn begins a session.
func signIn(t *testing.T, m *session.Manager, user string) *session.Session {
	t.Helper()
	result, err := m.Commit(t.Context(), site, nil, &session.Patch{Set: []map[string]any{{"user": user}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return result.Session
}

// One at a time has the lock of a session, whether it has the old configuration, both
// stores, or comes from the configuration before in the same process.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, old := memstore.New(), memstore.New()
		shared := movestore.NewSource(old)
		first, second := movestore.New(to, shared), movestore.New(to, movestore.NewSource(old))
		first.Open(t.Context())
		second.Open(t.Context())
		all := map[string]*session.Manager{
			"first": manager(t, first), "second": manager(t, second), "before": manager(t, shared), "old": manager(t, old), "new": manager(t, to),
		}
		s := signIn(t, all["old"], "alice")
		lock := func(name string) (*session.Lock, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return all[name].Lock(ctx, s)
		}
		for holder := range all {
			l, err := lock(holder)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // it is kept
			for other := range all {
				if holder == "new" && other != "first" && other != "second" || other == "new" && holder != "first" && holder != "second" {
					continue // one of them has the new store alone, and the other one the old one
				}
				if second, err := lock(other); !errors.Is(err, session.ErrLocked) {
					t.Errorf("%s and %s have it, error %v", holder, other, err)
					if err == nil {
						second.Unlock()
					}
				}
			}
			if l.Lost() {
				t.Errorf("%s has lost it", holder)
			}
			l.Unlock()
		}
	})
}

// An operator sees each session once, and a list moves none.
func TestListedOnce(t *testing.T) {
	to, old := memstore.New(), memstore.New()
	s := movestore.New(to, movestore.NewSource(old))
	s.Open(t.Context())
	before, now := manager(t, old), manager(t, s)
	const each = 3
	var moved []string
	for range each {
		signIn(t, before, "alice")
		moved = append(moved, signIn(t, before, "alice").ID())
		signIn(t, now, "alice")
	}
	for _, id := range moved {
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	o := session.NewOperator(s, session.Observer{})
	for name, list := range map[string]func(cursor string) ([]session.Info, string, error){
		"all": func(cursor string) ([]session.Info, string, error) { return o.List(t.Context(), cursor, 2) },
		"of the user": func(cursor string) ([]session.Info, string, error) {
			return o.ListSubject(t.Context(), site.Realm, "alice", cursor, 2)
		},
	} {
		seen, n := map[string]bool{}, 0
		for cursor := ""; ; {
			page, next, err := list(cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range page {
				seen[i.ID] = true
				n++
			}
			if cursor = next; next == "" {
				break
			}
		}
		if len(seen) != 3*each || n != 3*each {
			t.Errorf("%s: %d sessions, listed %d times, want %d", name, len(seen), n, 3*each)
		}
	}
	if ids, _, err := old.List(t.Context(), "", 100); err != nil || len(ids) != each {
		t.Errorf("%d sessions are left in the old store, want %d, error %v", len(ids), each, err)
	}
	if n, err := o.EndSubject(t.Context(), site.Realm, "alice", ""); err != nil || n != 3*each {
		t.Errorf("%d ended, want %d, error %v", n, 3*each, err)
	}
}

// A user with thousands of sessions, half of which were moved, can sign out of the others
// in the time of a commit.
func TestManyOfOneUser(t *testing.T) {
	const many = 10000
	synctest.Test(t, func(t *testing.T) {
		to, old := &hooked{Store: memstore.New()}, &hooked{Store: memstore.New()}
		s := movestore.New(to, movestore.NewSource(old))
		s.Open(t.Context())
		before := manager(t, old)
		var own *session.Session
		for i := range many {
			own = signIn(t, before, "alice")
			if i%2 == 0 {
				continue
			}
			if _, err := s.Get(t.Context(), own.ID()); err != nil {
				t.Fatal(err)
			}
		}
		slow := func(string, session.Entry) error { time.Sleep(time.Millisecond); return nil }
		to.before, old.before = slow, slow
		_, err := manager(t, s).Commit(t.Context(), site, own, &session.Patch{RevokeOthers: true, Renew: true}, time.Now())
		if err != nil {
			t.Error(err)
		}
		to.before, old.before = nil, nil
		page, _, err := session.NewOperator(s, session.Observer{}).List(t.Context(), "+", 2*many)
		if err != nil || len(page) != 1 || page[0].ID != own.ID() {
			t.Errorf("%d sessions are left, error %v", len(page), err)
		}
	})
}

// A session of a user is moved into the room that a store with limits keeps for users.
func TestRoomForUsers(t *testing.T) {
	to, old := &hooked{Store: memstore.New()}, memstore.New()
	to.before = func(call string, e session.Entry) error {
		if call == "Put" && !e.SignedIn {
			return session.NotDone(errors.New("it is full"))
		}
		return nil
	}
	s := movestore.New(to, movestore.NewSource(old))
	s.Open(t.Context())
	its := signIn(t, manager(t, old), "alice")
	if _, err := s.Get(t.Context(), its.ID()); err != nil {
		t.Error(err)
	}
}
