package session

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Site is where a request happens.
type Site struct {
	Scope Scope
	Realm string // the set of users that subjects belong to

	// Client is recorded when a session is created and when a subject
	// appears, unless it is zero.
	Client Client
}

// Manager loads and commits sessions. Absent, expired and forged sessions are
// no errors but nil sessions; an error always means "can't tell" or "could not
// do it", and the caller fails closed.
//
// The fields are set before first use and not changed after. All methods are
// safe for concurrent use.
type Manager struct {
	Store    Store
	Policy   Policy
	Protocol *Protocol
	Log      *zap.Logger // required
	Count    func(Event) // may be nil

	// Notify is told what becomes of sessions, when it has been done and
	// before the response goes out, so it must not block. It may be nil.
	Notify func(Notice)

	near       NearCache // of Store, nil if it has none
	locks      stripes
	background chan struct{} // bounds goroutines
	forged     rate.Sometimes
}

const (
	// commitTimeout bounds a commit with all its retries.
	commitTimeout = 2 * time.Second
	// decideTimeout bounds the read after a write that may or may not have
	// been done, on top of commitTimeout.
	decideTimeout = 500 * time.Millisecond
	// backgroundTimeout bounds work that no client waits for.
	backgroundTimeout = 2 * time.Second
	// backgroundLimit bounds how much of it runs at once.
	backgroundLimit = 256
	// staleFor is how long the verifier before a renewal is told from a
	// forged one: parallel requests are still on their way with it.
	staleFor = time.Minute
)

// NewManager returns a manager on a store.
func NewManager(store Store, policy Policy, protocol *Protocol, log *zap.Logger, count func(Event)) *Manager {
	near, _ := As[NearCache](store)
	return &Manager{
		near:  near,
		Store: store, Policy: policy, Protocol: protocol, Log: log, Count: count,
		locks:      newStripes(),
		background: make(chan struct{}, backgroundLimit),
		forged:     rate.Sometimes{First: 1, Interval: time.Second},
	}
}

func (m *Manager) count(e Event) {
	if m.Count != nil {
		m.Count(e)
	}
}

// Open returns the live session among the tokens that a request presents, or
// nil. If several are live, somebody has planted a cookie: all of them are
// ended, since each was presented with its secret, and the request is
// anonymous.
func (m *Manager) Open(ctx context.Context, site Site, tokens []Token, now time.Time) (*Session, error) {
	return m.open(ctx, site, tokens, now, false)
}

// open is Open, where near allows sessions out of the near-cache.
func (m *Manager) open(ctx context.Context, site Site, tokens []Token, now time.Time, near bool) (*Session, error) {
	var found *Session
	var more []*Session
	for _, t := range tokens {
		var s *Session
		var err error
		if near {
			s = m.cached(site.Scope, t, now)
		}
		if s == nil {
			s, err = m.load(ctx, site.Scope, t, now)
		}
		switch {
		case err != nil:
			return nil, err
		case s == nil:
		case found == nil:
			found = s
		default:
			more = append(more, s)
		}
	}
	if more == nil {
		if found != nil {
			m.count(EventLive)
		}
		return found, nil
	}
	if near {
		// One of them may have ended elsewhere: no reason to end the other.
		return m.open(ctx, site, tokens, now, false)
	}
	m.count(EventAmbiguous)
	for _, s := range append(more, found) {
		m.Log.Warn("request presents several live sessions; ending all of them",
			zap.String("session", s.ID()), zap.String("host", site.Scope.Host))
		if err := m.end(ctx, s.ID(), s.indexKey()); err != nil {
			return nil, err
		}
		m.notice(EventAmbiguous, s.ID(), "")
	}
	return nil, nil
}

// load returns the session of one token, or nil if there is none.
func (m *Manager) load(ctx context.Context, scope Scope, t Token, now time.Time) (*Session, error) {
	e, err := m.Store.Get(ctx, t.ID)
	if errors.Is(err, ErrNotFound) {
		m.count(EventExpired)
		return nil, nil
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) { // that is the client's own doing
			m.count(EventStoreError)
		}
		return nil, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	s, err := m.decode(e, scope, t, now)
	if errors.Is(err, errCorrupt) {
		m.corrupt(t.ID, e, err)
		return nil, nil
	}
	if err != nil {
		m.count(EventStoreError)
		return nil, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	return s, nil
}

func (m *Manager) corrupt(id string, e Entry, err error) {
	m.count(EventCorrupt)
	m.Log.Error("ignoring a stored value that is no session of ours",
		zap.String("session", id), zap.Int("bytes", len(e.Value)), zap.Error(err))
}

// decode returns the session in e, or nil if the token does not open it.
func (m *Manager) decode(e Entry, scope Scope, t Token, now time.Time) (*Session, error) {
	r, header, body, err := decodeRecord(e.Value)
	if err != nil {
		return nil, err
	}
	verifier := t.verifier(scope)
	if subtle.ConstantTimeCompare(verifier[:], r.verifier[:]) != 1 {
		m.wrongSecret(&r, verifier[:], t.ID, now)
		return nil, nil
	}
	if !now.Before(r.deadline) {
		m.count(EventExpired)
		return nil, nil
	}
	if err := r.open(t, header, body); err != nil {
		return nil, err
	}
	return &Session{token: t, record: r, expires: now.Add(e.TTL)}, nil
}

func (m *Manager) wrongSecret(r *record, verifier []byte, id string, now time.Time) {
	if now.Sub(r.renewed) < staleFor && subtle.ConstantTimeCompare(verifier, r.oldVerifier[:]) == 1 {
		m.count(EventStale)
		if c := m.Log.Check(zap.DebugLevel, "token from before the last renewal"); c != nil {
			c.Write(zap.String("session", id))
		}
		return
	}
	m.count(EventForged)
	m.forged.Do(func() {
		m.Log.Warn("token with a wrong secret: forged, stolen before a renewal, or of another site; at most one such line a second",
			zap.String("session", id))
		m.notice(EventForged, id, "")
	})
}

// Touch extends the store's TTL if that is due, without making the caller
// wait. It fails silently but for the count: the session is alive anyway.
func (m *Manager) Touch(s *Session, now time.Time) {
	if s == nil || !m.Policy.TouchDue(now, s.deadline, s.remembered, s.expires.Sub(now)) {
		return
	}
	ok := m.inBackground(func(ctx context.Context) {
		err := m.Store.Touch(ctx, s.ID(), s.version, m.Policy.TTL(now, s.deadline, s.remembered))
		switch {
		case err == nil:
			m.count(EventTouched)
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
			// It ended, or a commit has set a newer TTL.
		default:
			m.count(EventTouchError)
			m.Log.Debug("touching session", zap.String("session", s.ID()), zap.Error(err))
		}
	})
	if !ok {
		m.count(EventTouchError)
	}
}

// inBackground runs f on a goroutine of its own, and reports false if there
// are too many already, as when the store hangs.
func (m *Manager) inBackground(f func(context.Context)) bool {
	select {
	case m.background <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-m.background }()
		ctx, cancel := context.WithTimeout(context.Background(), backgroundTimeout)
		defer cancel()
		f(ctx)
	}()
	return true
}

// end deletes a session whatever its version, and forgets its index entry.
func (m *Manager) end(ctx context.Context, id, indexKey string) error {
	if err := m.remove(ctx, id, 0); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("ending session %s: %w", id, err)
	}
	m.unindex(id, indexKey)
	return nil
}

// unindex forgets the index entry of a deleted session in the background: a
// dangling entry costs a look-up until its deadline and nothing else.
func (m *Manager) unindex(id, key string) {
	if key == "" {
		return
	}
	m.inBackground(func(ctx context.Context) {
		if err := m.Store.Unindex(ctx, key, id); err != nil {
			m.Log.Debug("removing index entry", zap.String("session", id), zap.Error(err))
		}
	})
}

// put is Store.Put, but finds out by one read whether a write that got lost or
// timed out was done. An update that was not is tried once more: whichever of
// the two comes first, the other one finds another version. (A creation that
// comes late could revive a session that has ended already.)
func (m *Manager) put(ctx context.Context, id string, expect uint64, e Entry) error {
	err := m.Store.Put(ctx, id, expect, e)
	if err == nil || isVerdict(err) {
		return err
	}
	// done repeats what was done if it has to survive a failover: the answer
	// that got lost would have told whether it does.
	done := func() error {
		if !e.Durable {
			return nil
		}
		return m.confirm(ctx, func(ctx context.Context) error { return m.Store.Put(ctx, id, e.Version, e) })
	}
	got, readErr := m.decide(ctx, id)
	if readErr == nil && bytes.Equal(got.Value, e.Value) {
		return done()
	}
	if readErr != nil || expect == 0 || got.Version != expect || ctx.Err() != nil {
		return err
	}
	if err = m.Store.Put(ctx, id, expect, e); err == nil || errors.Is(err, ErrNotReplicated) {
		return err
	}
	if got, readErr := m.decide(ctx, id); readErr == nil && bytes.Equal(got.Value, e.Value) {
		return done()
	}
	return err
}

// remove is Store.Delete with the same read and second try. Deletions always
// have to survive a failover.
func (m *Manager) remove(ctx context.Context, id string, expect uint64) error {
	err := m.Store.Delete(ctx, id, expect)
	if err == nil || isVerdict(err) {
		return err
	}
	got, readErr := m.decide(ctx, id)
	if errors.Is(readErr, ErrNotFound) {
		return m.confirm(ctx, func(ctx context.Context) error { return m.Store.Delete(ctx, id, 0) })
	}
	if readErr != nil || expect != 0 && got.Version != expect || ctx.Err() != nil {
		return err
	}
	if err = m.Store.Delete(ctx, id, expect); errors.Is(err, ErrNotFound) {
		return nil // the first one was done, late
	}
	return err
}

// claim is remove for a session that another one is to take the place of. Only
// one may do so: who can't tell whether it was its own deletion that worked must
// not go on from data that somebody else has ended.
func (m *Manager) claim(ctx context.Context, id string, expect uint64) error {
	err := m.Store.Delete(ctx, id, expect)
	if err == nil || isVerdict(err) {
		return err
	}
	if got, readErr := m.decide(ctx, id); readErr != nil || got.Version != expect || ctx.Err() != nil {
		return err
	}
	if again := m.Store.Delete(ctx, id, expect); !errors.Is(again, ErrNotFound) {
		return again
	}
	return err
}

// confirm does a write again that was done already. Whatever goes wrong with
// it, the first one stands.
func (m *Manager) confirm(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
	defer cancel()
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w: %v", ErrNotReplicated, err) // no verdict on the entry
	}
	return nil
}

// decide is the read that decides about a lost write. It has time of its own:
// it may be the end of ctx that cut the write short. A store that can't be read
// is asked until that time is up: what cut the write short may be over soon.
func (m *Manager) decide(ctx context.Context, id string) (Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		e, err := m.Store.Get(ctx, id)
		if err == nil || errors.Is(err, ErrNotFound) || pause(ctx, attempt) != nil {
			return e, err
		}
	}
}

// isVerdict reports whether the store knows what it has done.
func isVerdict(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotReplicated) || errors.Is(err, ErrNotDone)
}
