package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/logging"
)

// Site is where a request happens.
type Site struct {
	Scope Scope
	Realm string // the set of users that subjects belong to

	// Client is recorded when a session is created and when a subject
	// appears, unless it is zero.
	Client Client

	// NoAnonymous keeps sessions without a subject from beginning here: the
	// browser may have a session although the request came without it, and a
	// new cookie would take the place of that one. See [Manager.Load].
	NoAnonymous bool

	// NewID is the id that a session gets which begins here, "" for any. See
	// [Protocol.NewID].
	NewID string
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

	nearCache NearCache    // of the store, nil if it has none
	prefixes  PrefixReader // of the store, nil if it has none, or the data is always needed
	prefix    int          // how much of a record is read at first, in bytes
	locks     stripes

	sessionLocks locks         // of [Manager.Lock]
	leases       []certain     // the stores that these are in
	background   chan struct{} // bounds goroutines
	lines        repeatedLines
}

// repeatedLines are the log lines of a manager that visitors or an application can
// have repeated.
type repeatedLines struct {
	forged, realms, ambiguous, corrupt, noSubject, oddSubject, destroyWins, dropped, maxAge, uncounted, unevicted logging.Repeated
}

const (
	// commitTimeout bounds a commit with all its retries.
	commitTimeout = 2 * time.Second
	// backgroundTimeout bounds work that no client waits for.
	backgroundTimeout = 2 * time.Second
	// backgroundLimit bounds how much of it runs at once.
	backgroundLimit = 256
)

// prefixRoom is how many bytes most header lines and private objects have at most,
// as they are stored. Records that have more are read in two steps if the data is
// more than exposed.
const prefixRoom = 4 << 10

// commitBound is commitTimeout, but in tests that are about something else.
var commitBound = commitTimeout

// NewManager returns a manager of sessions in a store. The protocol must be made
// from the same policy. The error is that of [Policy.Validate].
func NewManager(store Store, policy Policy, protocol *Protocol, observer Observer) (*Manager, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		ender:  newEnder(store, observer),
		policy: policy, protocol: protocol,
		prefix:     math.MaxInt,
		locks:      newStripes(),
		leases:     leasesOf(store),
		background: make(chan struct{}, backgroundLimit),
	}
	m.nearCache, _ = As[NearCache](store)
	if prefixes, ok := As[PrefixReader](store); ok && !protocol.needsData() {
		m.prefixes, m.prefix = prefixes, policy.Exposed+prefixRoom
	}
	return m, nil
}

// Policy returns the policy that the manager was made with.
func (m *Manager) Policy() Policy { return m.policy }

// Count counts an event that the caller has seen, as the manager counts its own.
func (m *Manager) Count(e Event) { m.count(e) }

// Load returns the live session among the tokens that a request presents, or
// nil. If several are live, somebody has planted a cookie: all of them are
// ended, since each was presented with its secret, and the request is
// anonymous.
//
// stale tells that there is none, but that one of the tokens was good until a
// moment ago: the browser has another one by now, or is about to get it. Commit
// for such a request at a site with NoAnonymous.
//
// Data that is too large to be forwarded may be left in the store: see
// [Session.Unread].
func (m *Manager) Load(ctx context.Context, site Site, tokens []Token, now time.Time) (s *Session, stale bool, err error) {
	return m.load(ctx, site, tokens, now, false)
}

// load is Load, where near allows sessions out of the near-cache.
func (m *Manager) load(ctx context.Context, site Site, tokens []Token, now time.Time, near bool) (found *Session, stale bool, err error) {
	var more []*Session
	for _, t := range tokens {
		var s *Session
		var old bool
		if near {
			s = m.cached(site, t, now)
		}
		if s == nil {
			s, old, err = m.loadOne(ctx, site, t, now, false)
		}
		switch {
		case err != nil:
			return nil, false, err
		case s == nil:
			stale = stale || old
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
		return found, stale && found == nil, nil
	}
	if near {
		// One of them may have ended elsewhere: no reason to end the other.
		return m.load(ctx, site, tokens, now, false)
	}
	m.count(EventAmbiguous)
	more = append(more, found)
	ids := make([]string, len(more))
	for i, s := range more {
		ids[i] = s.ID()
	}
	m.lines.ambiguous.Log(m.log.Warn, "request presents several live sessions; ending all of them", "",
		zap.Strings("sessions", ids), zap.String("host", site.Scope.Host))
	for _, s := range more {
		if err := m.endIndexed(ctx, s.ID(), s.indexKey()); err != nil {
			return nil, false, err
		}
		m.notify(Notice{Event: EventAmbiguous, ID: s.ID()})
	}
	return nil, false, nil
}

// read reads a record, or its beginning unless it is to be whole.
func (m *Manager) read(ctx context.Context, id string, whole bool) (Entry, error) {
	if whole || m.prefixes == nil {
		e, err := m.store.Get(ctx, id)
		e.Cut = false
		return e, err
	}
	return m.prefixes.GetPrefix(ctx, id, m.prefix)
}

// loadOne is load for one token.
func (m *Manager) loadOne(ctx context.Context, site Site, t Token, now time.Time, whole bool) (s *Session, stale bool, err error) {
	e, err := m.read(ctx, t.ID, whole)
	if errors.Is(err, ErrNotFound) {
		m.count(EventExpired)
		return nil, false, nil
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) { // that is the client's own doing
			m.count(EventStoreError)
		}
		return nil, false, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	s, v, err := m.open(e, t, site, now)
	switch v {
	case verdictLive:
		s.expires = now.Add(e.TTL)
		return s, false, nil
	case verdictCut:
		return m.loadOne(ctx, site, t, now, true)
	case verdictExpired:
		m.count(EventExpired)
	case verdictElsewhere:
		m.count(EventElsewhere)
		if s.scope == site.Scope {
			m.lines.realms.Log(m.log.Warn, "request presents a session of another realm, which is none here: sites that share a host need cookies of different names, or the same realm", "",
				zap.String("session", t.ID), zap.String("host", site.Scope.Host), zap.String("cookie", site.Scope.Name),
				zap.String("realm", site.Realm), zap.String("session_realm", s.realm))
		}
	case verdictStale, verdictReplaced:
		m.count(EventStale)
		if line := m.log.Check(zap.DebugLevel, "token from before the last renewal"); line != nil {
			line.Write(zap.String("session", t.ID))
		}
		return nil, true, nil
	case verdictForged:
		m.count(EventForged)
		m.lines.forged.Log(func(message string, fields ...zap.Field) {
			m.log.Warn(message, fields...)
			m.notify(Notice{Event: EventForged, ID: t.ID})
		}, "token with a wrong secret: forged, stolen before a renewal, or of another site; at most one such line a second", "", zap.String("session", t.ID))
	case verdictCorrupt:
		m.corrupt(t.ID, e, err)
	case verdictNewer:
		m.count(EventStoreError)
		return nil, false, fmt.Errorf("loading session %s: %w", t.ID, err)
	}
	return nil, false, nil
}

// Whole returns a session with its data, which is read if it is [Session.Unread]. Then
// it is the session as it is now: nil if it has ended or was renewed since it was
// loaded, or its data can't be read. The error means that the store could not tell.
func (m *Manager) Whole(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	if !s.Unread() {
		return s, nil
	}
	return m.Reload(ctx, s, now)
}

func (m *Manager) corrupt(id string, e Entry, err error) {
	m.count(EventCorrupt)
	m.lines.corrupt.Log(m.log.Error, "ignoring a stored value that is no session of ours", id,
		zap.String("session", id), zap.Int("bytes", len(e.Value)), zap.Error(err))
}

// Inject sets the request headers that show s to the application, nil for no
// session, and the site's NewID. If they would be more than the policy allows to be
// exposed, the error says so and nothing is set. The caller has removed all managed
// names before.
func (m *Manager) Inject(h http.Header, site Site, s *Session, now time.Time) error {
	var expires time.Time
	if s != nil && m.protocol.expires != "" {
		expires = m.UsedUntil(s, now)
	}
	return m.protocol.inject(h, s, expires, site.NewID)
}

// UsedUntil returns when a session ends whose last use is now.
func (m *Manager) UsedUntil(s *Session, now time.Time) time.Time {
	since, end, remembered := m.policy.limits(s, now)
	if left := s.expires.Sub(now); !m.policy.touchDue(now, since, end, remembered, left) {
		return earlier(s.expires, end)
	}
	return earlier(now.Add(m.policy.ttl(now, since, end, remembered)), end)
}

// Touch extends the store's TTL if that is due, without making the caller
// wait. It fails silently but for the count: the session is alive anyway.
func (m *Manager) Touch(s *Session, now time.Time) {
	if s == nil || !m.TouchDue(s, now) {
		return
	}
	if !m.inBackground(func(ctx context.Context) { m.touch(ctx, s, now) }) {
		m.count(EventTouchError)
	}
}

// TouchDue reports whether [Manager.Touch] would extend the TTL.
func (m *Manager) TouchDue(s *Session, now time.Time) bool {
	since, end, remembered := m.policy.limits(s, now)
	return m.policy.touchDue(now, since, end, remembered, s.expires.Sub(now))
}

func (m *Manager) touch(ctx context.Context, s *Session, now time.Time) {
	since, end, remembered := m.policy.limits(s, now)
	err := m.store.Touch(ctx, s.ID(), s.version, m.policy.ttl(now, since, end, remembered))
	switch {
	case err == nil:
		m.count(EventTouched)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		// It ended, or a commit has set a newer TTL.
	default:
		m.count(EventTouchError)
		m.log.Debug("touching session", zap.String("session", s.ID()), zap.Error(err))
	}
}

// Use is [Manager.Touch] for who waits for it. It returns the session as it is now:
// nil if it has ended or was renewed since it was loaded. It may be [Session.Unread].
func (m *Manager) Use(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	current, err := m.Refresh(ctx, s, now)
	if err != nil || current == nil || !m.TouchDue(current, now) {
		return current, err
	}
	since, end, remembered := m.policy.limits(current, now)
	ttl := m.policy.ttl(now, since, end, remembered)
	switch err := m.store.Touch(ctx, current.ID(), current.version, ttl); {
	case err == nil:
		m.count(EventTouched)
		current.expires = now.Add(ttl)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		return m.Refresh(ctx, s, now)
	default:
		m.count(EventTouchError)
		return nil, fmt.Errorf("touching session %s: %w", s.ID(), err)
	}
	return current, nil
}

// KeepAlive is [Manager.Touch] for a request that lasts: other ones may have changed
// the session since it was loaded or committed. If it has ended or was renewed,
// there is nothing to do. It asks the store, in the background too.
func (m *Manager) KeepAlive(s *Session, now time.Time) {
	ok := m.inBackground(func(ctx context.Context) {
		current, err := m.reload(ctx, s, now, false)
		switch {
		case err == nil && current != nil && m.TouchDue(current, now):
			m.touch(ctx, current, now)
		case err != nil && !errors.Is(err, ErrNotFound):
			m.count(EventTouchError)
			m.log.Debug("keeping session alive", zap.Error(err))
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
