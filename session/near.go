package session

import (
	"context"
	"crypto/subtle"
	"strings"
	"sync/atomic"
	"time"
)

// NearCache is what a [Store] may offer besides: entries that it has read lately
// and still holds in the memory of this process.
//
// Only [Manager.LoadCached] asks for them. Every other path of the manager, above
// all each one that decides about a write, calls Get, which always asks the store
// itself.
type NearCache interface {
	// Cached returns the entry in memory, or nil: not there, too old at now, or
	// perhaps out of date. nil means that Get has to be asked and nothing else.
	//
	// An entry shows what the store held when it was read. It must be gone
	// before a Put, Touch, Delete or DeleteMany of this process that has changed it
	// returns, and as soon as the store hears of any other change.
	Cached(id string, now time.Time) *CachedEntry
}

// CachedEntry is an entry of a [NearCache], shared by all that ask for it. It
// must not be copied.
type CachedEntry struct {
	// Value is as in [Entry]. Nobody changes it.
	Value []byte

	// Cut is as in [Entry].
	Cut bool

	// Expires is when the store forgets the entry.
	Expires time.Time

	// session is what Value says, once somebody came with the secret for it:
	// further ones need not derive the key, decrypt and parse again. It is
	// given out again to this secret, scope and realm only; all else that
	// Session tells is either a function of these and Value, or the time.
	session atomic.Pointer[Session]
}

// LoadCached is [Manager.Load] for requests with a safe method (RFC 9110, section
// 9.2.1), which change nothing. If the store has a [NearCache], a session may be
// as it was some time ago, within the bounds of the store.
//
// From memory come live sessions only. Whatever looks wrong there (a secret
// that does not fit, a deadline that is past) may have become right elsewhere,
// so the store itself decides, and events are counted as by Load.
func (m *Manager) LoadCached(ctx context.Context, site Site, tokens []Token, now time.Time) (s *Session, stale bool, err error) {
	return m.load(ctx, site, tokens, now, m.nearCache != nil)
}

// cached returns the session of a token if it is in memory and live, else nil.
func (m *Manager) cached(site Site, t Token, now time.Time) *Session {
	c := m.nearCache.Cached(t.ID, now)
	if c == nil || c.Cut && len(c.Value) < m.prefix {
		return nil
	}
	if c.session.Load() != nil {
		return m.opened(c, site, t, now)
	}
	s, v, _ := openPrefix(c.Value, c.Cut, t, site, m.policy, now)
	if v != verdictLive {
		return nil
	}
	return m.keep(c, s)
}

// opened returns the session that c was opened as if it is this token's, of this
// site and live, else nil.
func (m *Manager) opened(c *CachedEntry, site Site, t Token, now time.Time) *Session {
	s := c.session.Load()
	if s == nil {
		return nil
	}
	// The secret that has opened the record before need not be hashed again.
	same := subtle.ConstantTimeCompare(t.secret[:], s.token.secret[:]) == 1 && site.Scope == s.scope && site.Realm == s.realm
	if !same {
		return nil
	}
	if ends := m.policy.deadline(&s.record); !ends.Equal(s.ends) { // of a handler with other settings
		s = &Session{token: s.token, record: s.record, ends: ends, expires: s.expires, text: s.text, unread: s.unread}
	}
	if !now.Before(s.ends) {
		return nil
	}
	return s
}

// keep notes that c was opened as s, and returns it as the next ones get it.
func (m *Manager) keep(c *CachedEntry, s *Session) *Session {
	kept := *s
	kept.expires = c.Expires
	kept.token.ID = strings.Clone(s.token.ID) // it is a part of a Cookie line, which may be long
	if m.protocol.data != "" {
		kept.text = string(s.data)
	}
	c.session.Store(&kept)
	return &kept
}

// open is openRecord for what the store has just returned. Nothing outdated comes
// of entries in memory here: the store was asked, the entry has the bytes of its
// answer, and what they mean depends on nothing else.
func (m *Manager) open(e Entry, t Token, site Site, now time.Time) (*Session, verdict, error) {
	if e.Cached != nil {
		if s := m.opened(e.Cached, site, t, now); s != nil {
			own := *s
			return &own, verdictLive, nil
		}
	}
	s, v, err := openPrefix(e.Value, e.Cut, t, site, m.policy, now)
	if v == verdictLive && e.Cached != nil {
		m.keep(e.Cached, s)
	}
	return s, v, err
}
