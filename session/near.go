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

	// Expires is when the store forgets the entry.
	Expires time.Time

	// session is what Value says, once somebody came with the secret for it:
	// further ones need not derive the key, decrypt and parse again.
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
	if c == nil {
		return nil
	}
	if s := c.session.Load(); s != nil {
		// The secret that has opened the record before need not be hashed again.
		same := subtle.ConstantTimeCompare(t.secret[:], s.token.secret[:]) == 1 && site.Scope == s.scope && site.Realm == s.realm
		if !same {
			return nil
		}
		if ends := m.policy.deadline(&s.record); !ends.Equal(s.ends) { // of a handler with other settings
			s = &Session{token: s.token, record: s.record, ends: ends, expires: s.expires, text: s.text}
		}
		if !now.Before(s.ends) {
			return nil
		}
		return s
	}
	s, v, _ := openRecord(c.Value, t, site, m.policy, now)
	if v != verdictLive {
		return nil
	}
	s.expires = c.Expires
	s.token.ID = strings.Clone(t.ID) // it is a part of a Cookie line, which may be long
	if m.protocol.data != "" {
		s.text = string(s.data)
	}
	c.session.Store(s)
	return s
}
