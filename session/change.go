package session

import (
	"time"

	"go.uber.org/zap"
)

// change is one step from a session to the next.
type change struct {
	was, next *Session // was is nil for a new session
	replaced  bool     // next has another id
	renewed   bool     // next has another secret
	signedIn  bool     // a subject appeared
	cookie    bool     // the browser has to learn of it
	again     bool     // it has to know that the cookie lasts for another time
	index     bool     // the index entry has to be written
	noTouch   bool     // the store's TTL stays as it is
	edited    any      // what Patch.Edit has returned
}

// change computes what a patch makes of a session. It does no I/O.
func (m *Manager) change(site Site, s *Session, p *Patch, now time.Time) (change, error) {
	var was content
	if s != nil {
		if s.unread {
			return change{}, errUnread
		}
		was = s.content
	}
	content, edited, err := p.apply(was, m.policy)
	if err != nil {
		return change{}, err
	}
	if err := m.protocol.exposure(content); err != nil {
		return change{}, p.malformed(err)
	}
	c := change{was: s, edited: edited, noTouch: s != nil && p.NoTouch && p.MaxAge == nil}
	m.warnOdd(was, content, s)
	// Dropping all data drops the subject with it, even if the same one signs
	// in with the same response.
	moved := p.Clear || content.subject != was.subject
	signedOut := moved && was.subject != ""
	c.signedIn = moved && content.subject != ""
	c.replaced = s != nil && (p.Clear || signedOut)
	c.renewed = s == nil || c.replaced || c.signedIn || p.Renew
	c.cookie = c.renewed || p.MaxAge != nil

	next := &Session{}
	if s == nil {
		next.created = now
		next.lastFor(now, m.policy.Lifetime, false)
		next.client = site.Client.clipped()
	} else {
		next.record = s.record
	}
	next.content = content
	next.version++
	next.sealed, next.parted = !m.policy.Plain, len(content.data) > m.policy.Exposed
	next.scope, next.realm = site.Scope, site.Realm
	switch {
	case c.signedIn:
		next.signedIn = now
		next.signInClient = site.Client.clipped()
		next.lastFor(now, m.policy.Lifetime, false)
	case signedOut:
		next.signedIn, next.signInClient = time.Time{}, Client{}
		if deadline := next.deadline; next.remembered { // which was the wish of the user, who is gone
			next.lastFor(now, m.policy.Lifetime, false)
			next.deadline = earlier(deadline, next.deadline)
		}
	}
	switch {
	case c.replaced: // it was about somebody else
		next.label = ""
	case p.Label != nil:
		next.label = CleanLabel(*p.Label)
	}
	if p.Label != nil && !p.changesMore() {
		next.relabelled++
	}
	before, until := m.policy.rememberedUntil(was.private, now), m.policy.rememberedUntil(next.private, now)
	asked := !until.Equal(before)
	if asked || moved {
		m.rememberUntil(next, before, until, now)
	}
	switch {
	case s == nil || c.replaced:
		next.token = Token{ID: site.NewID}.renew()
		if site.NewID == "" {
			next.token.ID = newID()
		}
		next.old, next.renewed = nil, time.Time{}
	case c.renewed:
		next.token = s.token.renew()
		next.old, next.renewed = s.outdated(s.token, now), now
	default:
		next.token = s.token
	}
	if s != nil && c.renewed {
		next.epoch++
	}
	next.verifier = next.token.verifier(next.scope, next.form())
	if p.MaxAge != nil {
		m.setMaxAge(next, *p.MaxAge, now)
	}
	next.ends = m.policy.deadline(&next.record)
	if s != nil {
		persistent := next.remembered || !until.IsZero()
		c.again = persistent != (s.remembered || !before.IsZero()) || persistent && !next.ends.Equal(s.ends)
	}
	c.noTouch = c.noTouch && !asked
	c.index = content.subject != "" && (c.signedIn || !next.deadline.Equal(s.deadline))
	c.next = next
	return c, nil
}

// rememberUntil has a session last as its private object asks for, which was
// before until now. What the application has asked for by max-age stays if it is more.
func (m *Manager) rememberUntil(s *Session, before, until, now time.Time) {
	if s.remembered && !before.Before(s.deadline) {
		s.lastFor(now, m.policy.Lifetime, false)
	}
	if end := earlier(until, now.Add(m.policy.Remember)); end.After(m.policy.deadline(&s.record)) {
		s.lastFor(now, end.Sub(now), true)
	}
}

func (m *Manager) setMaxAge(s *Session, age time.Duration, now time.Time) {
	if age == 0 {
		s.lastFor(now, m.policy.Lifetime, false)
		return
	}
	if age > m.policy.Remember {
		m.lines.maxAge.Log(m.log.Info, "max-age is more than remember allows; using that", "", zap.String("session", s.ID()),
			zap.Duration("max_age", age), zap.Duration("remember", m.policy.Remember))
		age = m.policy.Remember
	}
	s.lastFor(now, age, true)
}

// entry returns what to store.
func (c *change) entry(policy Policy, now time.Time) Entry {
	since, end, remembered := policy.limits(c.next, now)
	ttl := policy.ttl(now, since, end, remembered)
	if c.noTouch && !c.signedIn {
		ttl = max(min(ttl, c.was.expires.Sub(now)), time.Millisecond)
	}
	e := Entry{Version: c.next.version, SignedIn: c.next.subject != "", Unclaimed: c.was == nil && c.next.subject == ""}
	e.SignedIn = e.SignedIn || c.was != nil && c.was.subject != "" // or a flood of visitors would fail sign-outs
	if e.Unclaimed {
		ttl = policy.unclaimed(ttl)
	}
	c.next.expires = now.Add(ttl)
	e.Value, e.TTL = c.next.encode(c.next.token), ttl
	e.Durable = c.was != nil && c.renewed && !c.replaced // or the old secret could come back
	if c.index {
		e.IndexKey, e.Deadline = c.next.indexKey(), c.next.deadline
	}
	return e
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
