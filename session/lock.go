package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ErrLocked says that somebody else has the lock of a session, and did not give it
// back in time.
var ErrLocked = errors.New("somebody else has the lock of the session")

const (
	// leaseFor is how long a lock outlives the process that has it, and leaseEvery
	// how often that tells that it is alive: so that two attempts may fail.
	leaseFor   = 10 * time.Second
	leaseEvery = leaseFor / 4
)

// locks are those of sessions in this process, which wait here rather than at the
// store.
type locks struct {
	mu   sync.Mutex
	byID map[string]*processLock
}

type processLock struct {
	held  chan struct{}
	users int // who has it or waits
}

func (l *locks) lock(ctx context.Context, id string) (unlock func(), err error) {
	l.mu.Lock()
	p := l.byID[id]
	if p == nil {
		if l.byID == nil {
			l.byID = map[string]*processLock{}
		}
		p = &processLock{held: make(chan struct{}, 1)}
		l.byID[id] = p
	}
	p.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(l.byID, id)
		}
	}
	select {
	case p.held <- struct{}{}:
		return func() { <-p.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ErrLocked
	}
}

// leasesOf returns the stores in which a lock is taken: those that a [Store] of several
// names, in their order.
func leasesOf(store Store) (all []certain) {
	stores := []Store{store}
	if several, ok := As[interface{ Leases() []Store }](store); ok {
		stores = several.Leases()
	}
	for _, s := range stores {
		all = append(all, certain{s})
	}
	return all
}

// Lock is the lock of a session, among all who ask for it. It keeps nobody from the
// session who does not ask.
//
// In the store, or in each of those between which sessions are moved, it is a lease:
// an entry that nobody sees, of another id that is made of the session's, and of a
// version by which only who has made it extends and removes it. So a process that dies, or hangs, loses it after leaseFor.
type Lock struct {
	m       *Manager
	id      string
	version uint64
	until   atomic.Int64 // when the lease ends for sure, in Unix milliseconds
	over    chan struct{}
	unlock  func()
}

// Lock waits for the lock of a session until ctx ends, which is [ErrLocked]. Other
// errors mean that the store could not tell.
func (m *Manager) Lock(ctx context.Context, s *Session) (*Lock, error) {
	sum := sha256.Sum256([]byte("lock of " + s.ID()))
	l := &Lock{m: m, id: base64.RawURLEncoding.EncodeToString(sum[:16]), over: make(chan struct{})}
	unlock, err := m.sessionLocks.lock(ctx, l.id)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		now := time.Now()
		switch err := l.take(ctx, s, now); {
		case err == nil:
			l.unlock = unlock
			l.until.Store(now.Add(leaseFor).UnixMilli())
			go l.extend()
			return l, nil
		case !errors.Is(err, ErrConflict) && (ctx.Err() == nil || !errors.Is(err, ctx.Err())):
			unlock()
			return nil, fmt.Errorf("locking session %s: %w", s.ID(), err)
		}
		if pause(ctx, attempt) != nil {
			unlock()
			return nil, ErrLocked
		}
	}
}

// take makes the lease, unless there is one. A late answer of a store may leave one
// that nobody has, which ends by itself.
func (l *Lock) take(ctx context.Context, s *Session, now time.Time) error {
	var random [8]byte
	rand.Read(random[:])
	l.version = binary.BigEndian.Uint64(random[:])>>2 + 1
	of := record{version: l.version - 1, created: now, realm: s.realm, scope: s.scope}
	e := of.tombstone(NewToken(), now) // which nobody lists
	e.TTL, e.Durable = leaseFor, false
	for i, store := range l.m.leases {
		if err := store.put(ctx, l.id, 0, e); err != nil {
			l.giveBack(l.m.leases[:i])
			return err
		}
	}
	return nil
}

// giveBack removes the lease from stores.
func (l *Lock) giveBack(stores []certain) {
	ctx, cancel := context.WithTimeout(context.Background(), backgroundTimeout)
	defer cancel()
	for _, store := range stores {
		if err := store.Delete(ctx, l.id, l.version); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
			l.m.log.Debug("giving back the lock of a session", zap.Error(err))
		}
	}
}

// extend keeps the lease until Unlock, or until it is lost.
func (l *Lock) extend() {
	for ticker := time.NewTicker(leaseEvery); ; {
		select {
		case <-l.over:
			ticker.Stop()
			return
		case now := <-ticker.C:
			ctx, cancel := context.WithTimeout(context.Background(), leaseEvery)
			var err error
			for _, store := range l.m.leases {
				if err = store.Touch(ctx, l.id, l.version, leaseFor); err != nil {
					break
				}
			}
			cancel()
			switch {
			case err == nil:
				l.until.Store(now.Add(leaseFor).UnixMilli())
			case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
				l.until.Store(0)
				ticker.Stop()
				return
			default:
				l.m.log.Debug("extending the lock of a session", zap.Error(err))
			}
		}
	}
}

// Lost reports whether somebody else may have the lock before a commit is done that
// begins now: the store could not be told in time that it is still held.
func (l *Lock) Lost() bool { return time.Now().Add(commitTimeout).UnixMilli() >= l.until.Load() }

// Unlock gives the lock back. It is called once.
func (l *Lock) Unlock() {
	close(l.over)
	l.giveBack(l.m.leases)
	l.unlock()
}
