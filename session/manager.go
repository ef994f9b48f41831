package session

import (
	"context"
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

// Manager loads and commits sessions under one policy. Absent, expired and forged
// sessions are no errors but nil sessions; an error always means "can't tell" or
// "could not do it", and the caller fails closed.
//
// All methods are safe for concurrent use.
type Manager struct {
	ender
	policy   Policy
	protocol *Protocol

	nearCache  NearCache // of the store, nil if it has none
	locks      stripes
	background chan struct{}  // bounds goroutines
	forgeries  rate.Sometimes // of telling of them
}

const (
	// commitTimeout bounds a commit with all its retries.
	commitTimeout = 2 * time.Second
	// backgroundTimeout bounds work that no client waits for.
	backgroundTimeout = 2 * time.Second
	// backgroundLimit bounds how much of it runs at once.
	backgroundLimit = 256
)

// NewManager returns a manager of sessions in a store. The protocol must be made
// from the same policy. The error is that of [Policy.Validate].
func NewManager(store Store, policy Policy, protocol *Protocol, observer Observer) (*Manager, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	nearCache, _ := As[NearCache](store)
	return &Manager{
		ender:  newEnder(store, observer),
		policy: policy, protocol: protocol,
		nearCache:  nearCache,
		locks:      newStripes(),
		background: make(chan struct{}, backgroundLimit),
		forgeries:  rate.Sometimes{First: 1, Interval: time.Second},
	}, nil
}

// Policy returns the policy that the manager was made with.
func (m *Manager) Policy() Policy { return m.policy }

// Count counts an event that the caller has seen, as the manager counts its own.
func (m *Manager) Count(e Event) { m.count(e) }

// Load returns the live session among the tokens that a request presents, or
// nil. If several are live, somebody has planted a cookie: all of them are
// ended, since each was presented with its secret, and the request is
// anonymous.
func (m *Manager) Load(ctx context.Context, site Site, tokens []Token, now time.Time) (*Session, error) {
	return m.load(ctx, site, tokens, now, false)
}

// load is Load, where near allows sessions out of the near-cache.
func (m *Manager) load(ctx context.Context, site Site, tokens []Token, now time.Time, near bool) (*Session, error) {
	var found *Session
	var more []*Session
	for _, t := range tokens {
		var s *Session
		var err error
		if near {
			s = m.cached(site.Scope, t, now)
		}
		if s == nil {
			s, err = m.loadOne(ctx, site.Scope, t, now)
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
		return m.load(ctx, site, tokens, now, false)
	}
	m.count(EventAmbiguous)
	for _, s := range append(more, found) {
		m.log.Warn("request presents several live sessions; ending all of them",
			zap.String("session", s.ID()), zap.String("host", site.Scope.Host))
		if err := m.endIndexed(ctx, s.ID(), s.indexKey()); err != nil {
			return nil, err
		}
		m.notify(Notice{Event: EventAmbiguous, ID: s.ID()})
	}
	return nil, nil
}

// loadOne returns the session of one token, or nil if there is none.
func (m *Manager) loadOne(ctx context.Context, scope Scope, t Token, now time.Time) (*Session, error) {
	e, err := m.store.Get(ctx, t.ID)
	if errors.Is(err, ErrNotFound) {
		m.count(EventExpired)
		return nil, nil
	}
	if err != nil {
		m.count(EventStoreError)
		return nil, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	s, v, err := openRecord(e.Value, t, t.verifier(scope), now)
	switch v {
	case verdictLive:
		s.expires = now.Add(e.TTL)
		return s, nil
	case verdictExpired:
		m.count(EventExpired)
	case verdictStale:
		m.count(EventStale)
		if line := m.log.Check(zap.DebugLevel, "token from before the last renewal"); line != nil {
			line.Write(zap.String("session", t.ID))
		}
	case verdictForged:
		m.count(EventForged)
		m.forgeries.Do(func() {
			m.log.Warn("token with a wrong secret: forged, stolen before a renewal, or of another site; at most one such line a second",
				zap.String("session", t.ID))
			m.notify(Notice{Event: EventForged, ID: t.ID})
		})
	case verdictCorrupt:
		m.corrupt(t.ID, e, err)
	case verdictNewer:
		m.count(EventStoreError)
		return nil, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	return nil, nil
}

func (m *Manager) corrupt(id string, e Entry, err error) {
	m.count(EventCorrupt)
	m.log.Error("ignoring a stored value that is no session of ours",
		zap.String("session", id), zap.Int("bytes", len(e.Value)), zap.Error(err))
}

// Touch extends the store's TTL if that is due, without making the caller
// wait. It fails silently but for the count: the session is alive anyway.
func (m *Manager) Touch(s *Session, now time.Time) {
	if s == nil {
		return
	}
	end, remembered := m.policy.limits(s, now)
	if !m.policy.touchDue(now, end, remembered, s.expires.Sub(now)) {
		return
	}
	ok := m.inBackground(func(ctx context.Context) {
		err := m.store.Touch(ctx, s.ID(), s.version, m.policy.ttl(now, end, remembered))
		switch {
		case err == nil:
			m.count(EventTouched)
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
			// It ended, or a commit has set a newer TTL.
		default:
			m.count(EventTouchError)
			m.log.Debug("touching session", zap.String("session", s.ID()), zap.Error(err))
		}
	})
	if !ok {
		m.count(EventTouchError)
	}
}

// Persistent reports whether a session is to outlive the browser's closing: the
// application asked for max-age, or the private object asks for it.
func (m *Manager) Persistent(s *Session, now time.Time) bool {
	return s.remembered || !m.policy.rememberedUntil(s.private, now).IsZero()
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

// endIndexed ends a session and removes its index entry in the background.
func (m *Manager) endIndexed(ctx context.Context, id, indexKey string) error {
	if err := m.end(ctx, id); err != nil {
		return err
	}
	m.unindexLater(id, indexKey)
	return nil
}

// unindexLater is unindex in the background. Without a key there is no entry.
func (m *Manager) unindexLater(id, key string) {
	if key == "" {
		return
	}
	m.inBackground(func(ctx context.Context) { m.unindex(ctx, id, key) })
}
