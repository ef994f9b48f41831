package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// ErrVersion says that if-version did not hold. Nothing was saved.
var ErrVersion = errors.New("the session has another version")

// ErrCookie says that the browser would have to be sent a cookie, and can't be any
// more. Nothing was saved.
var ErrCookie = errors.New("it takes another cookie, and the response has begun")

// CookieChange says what a response has to do about the browser's cookie.
type CookieChange int

const (
	CookieKeep   CookieChange = iota // nothing
	CookieSet                        // send Result.Session's token
	CookieExpire                     // make the browser forget it
	CookieAgain                      // send the token once more, which the browser has, with another tag or for another time
)

// Result is what became of a patch.
type Result struct {
	// Session is the session from now on: nil if there is none.
	Session *Session
	Cookie  CookieChange
	// Committed tells that the store was written, which includes a touch.
	Committed bool
	// Edited is what Edit of the [Patch] has returned with the changes that were
	// written, else nil.
	Edited any

	// Outcome is what was counted, empty if there was nothing to do, and
	// Retries how many conflicts there were.
	Outcome Event
	Retries int
}

// After returns what is left to do of the result before and of r, the result of a
// later patch of the same request.
func (r Result) After(before Result) Result {
	r.Committed = r.Committed || before.Committed
	switch {
	case r.Cookie == CookieKeep && (r.Session == nil) == (before.Session == nil):
		r.Cookie = before.Cookie
	case r.Cookie == CookieAgain && before.Cookie == CookieSet:
		r.Cookie = CookieSet
	}
	return r
}

// Commit applies a patch atomically: all of it or nothing. s is the session
// that the request was loaded with, nil for an anonymous one.
//
// A patch for a session that ended or was renewed since it was loaded is
// dropped, which is no error: what a slow response says about the past must
// not come back to life. Destroy is obeyed even then.
//
// Errors are [*MalformedError], wrap [ErrVersion] or [ErrCookie], or mean that the store could
// not do it.
func (m *Manager) Commit(ctx context.Context, site Site, s *Session, p *Patch, now time.Time) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commitBound)
	defer cancel()
	now = time.UnixMilli(now.UnixMilli()) // as records keep it

	var result Result
	var err error
	switch {
	case p.Destroy:
		if p.changes() || p.IfVersion != nil || p.RevokeOthers {
			m.lines.destroyWins.Log(m.log.Info, "destroy wins over the rest of what the response asks for", "")
		}
		result, err = m.destroy(ctx, s, now)
	case s == nil:
		result, err = m.create(ctx, site, p, now)
	default:
		result, err = m.update(ctx, site, s, p, now)
	}
	var malformed *MalformedError
	switch {
	case err == nil:
	case errors.Is(err, ErrVersion), errors.Is(err, ErrCookie), errors.As(err, &malformed):
		m.count(EventRefused)
	default:
		m.count(EventFailed)
	}
	return result, err
}

// create makes a session if the patch sets something.
func (m *Manager) create(ctx context.Context, site Site, p *Patch, now time.Time) (Result, error) {
	if p.IfVersion != nil && *p.IfVersion != 0 {
		return Result{}, ErrVersion
	}
	if !p.sets() {
		m.warnNoSubject(p, nil)
		return Result{}, nil
	}
	if p.NoCookie {
		return Result{}, ErrCookie
	}
	c, err := m.change(site, nil, p, now)
	if err != nil {
		return Result{}, err
	}
	if site.NoAnonymous && c.next.subject == "" {
		m.log.Debug("not beginning a session without a user, nor keeping cookies: the browser may have a session whose cookie is newer or was held back",
			zap.String("host", site.Scope.Host))
		return m.drop(p)
	}
	if err := m.revokeOthers(ctx, p, c); err != nil {
		return Result{}, err
	}
	err = m.store.put(ctx, c.next.ID(), 0, c.entry(m.policy, now))
	if err != nil && !isAnswer(err) && ctx.Err() == nil {
		// Perhaps on a connection that was dead. Once more, with another secret and,
		// unless the application knows it, another id: should the first one come
		// late, nobody will ever have its secret.
		if c, err = m.change(site, nil, p, now); err != nil {
			return Result{}, err
		}
		err = m.store.put(ctx, c.next.ID(), 0, c.entry(m.policy, now))
	}
	if err != nil {
		return Result{}, fmt.Errorf("creating session %s: %w", c.next.ID(), err)
	}
	return m.done(ctx, c), nil
}

// update commits on an existing session. Conflicts with commits on the same
// epoch are resolved by applying the patch again to what is there now.
func (m *Manager) update(ctx context.Context, site Site, s *Session, p *Patch, now time.Time) (Result, error) {
	if !p.changes() && p.IfVersion == nil && !p.RevokeOthers {
		return Result{Session: s}, nil
	}
	stripe, conflicts := m.locks.of(s.ID()), 0
	waited := !stripe.tryLock()
	for locked := !waited; !locked; { // or until somebody else has written it
		w := &waiter{ctx: ctx, site: site, session: s, patch: p, now: now}
		var err error
		switch locked, err = stripe.wait(w); {
		case err != nil:
			return Result{}, fmt.Errorf("waiting to commit session %s: %w", s.ID(), err)
		case locked:
		case errors.Is(w.err, ErrConflict):
			conflicts++
		default:
			return m.written(ctx, s, p, w.change, w.err, conflicts)
		}
	}
	defer stripe.unlock()

	var err error
	current := s
	if s.unread || waited || !p.changes() || p.RevokeOthers || p.NoTouch || !now.Before(s.ends) || p.IfVersion != nil && *p.IfVersion != s.Version() {
		// The data is needed. Or a parallel request is likely to have committed. Or
		// nothing would notice that the session has ended, or too late; or it may have
		// set another TTL or a later deadline, or made the version that is asked for.
		if current, err = m.reload(ctx, s, now, true); err != nil && !errors.Is(err, ErrNotFound) {
			return Result{}, err
		}
	}
	for ; ; conflicts++ {
		if current == nil || !now.Before(current.ends) {
			return m.dropped(s, p)
		}
		if p.IfVersion != nil && *p.IfVersion != current.Version() {
			return Result{}, ErrVersion
		}
		c, err := m.change(site, current, p, now)
		if err != nil {
			return Result{}, err
		}
		if p.NoCookie && (c.cookie || c.again) {
			return Result{}, ErrCookie
		}
		if err := m.revokeOthers(ctx, p, c); err != nil {
			return Result{}, err
		}
		if !p.changes() {
			return Result{Session: current}, nil
		}
		if waited && c.groups(p) {
			err = m.writeGroup(ctx, stripe, c, now)
		} else {
			err = m.write(ctx, c, now)
		}
		if !errors.Is(err, ErrConflict) {
			return m.written(ctx, s, p, c, err, conflicts)
		}
		m.count(EventConflict)
		if err := pause(ctx, conflicts); err != nil {
			return Result{}, fmt.Errorf("committing session %s after %d conflicts: %w", s.ID(), conflicts+1, err)
		}
		if current, err = m.reload(ctx, s, now, true); err != nil && !errors.Is(err, ErrNotFound) {
			return Result{}, err
		}
	}
}

// written is what has become of a patch whose change was written, or was not because of
// an error that is no conflict.
func (m *Manager) written(ctx context.Context, s *Session, p *Patch, c change, err error, conflicts int) (Result, error) {
	switch {
	case err == nil:
		result := m.done(ctx, c)
		result.Retries = conflicts
		return result, nil
	case errors.Is(err, ErrNotFound):
		return m.dropped(s, p)
	}
	return Result{}, fmt.Errorf("committing session %s: %w", s.ID(), err)
}

// write stores a step from an existing session. Where the id is replaced, a
// tombstone comes first in place of the old record: there is one winner, and a
// failure in between leaves the browser signed out.
func (m *Manager) write(ctx context.Context, c change, now time.Time) error {
	e := c.entry(m.policy, now)
	if !c.replaced {
		return m.store.put(ctx, c.was.ID(), c.was.version, e)
	}
	if err := m.store.claim(ctx, c.was.ID(), c.was.version, c.was.tombstone(c.was.token, now)); err != nil {
		return err
	}
	m.unindexLater(c.was.ID(), c.was.indexKey())
	if err := m.store.put(ctx, c.next.ID(), 0, e); err != nil {
		return fmt.Errorf("replacing it by %s: %v", c.next.ID(), err) // no answer about the old one
	}
	return nil
}

func (m *Manager) done(ctx context.Context, c change) Result {
	event := EventPatched
	switch {
	case c.was == nil:
		event = EventCreated
	case c.replaced:
		event = EventReplaced
	case c.renewed:
		event = EventRenewed
	}
	m.count(event)
	m.report(event, c)
	if c.signedIn {
		m.evict(ctx, c.next)
	}
	r := Result{Session: c.next, Committed: true, Edited: c.edited, Outcome: event}
	switch {
	case c.cookie:
		r.Cookie = CookieSet
	case c.again:
		r.Cookie = CookieAgain
	}
	return r
}

// report logs and tells what a commit has done.
func (m *Manager) report(event Event, c change) {
	signedIn := event != EventPatched && (c.next.subject != "" || c.was != nil && c.was.subject != "")
	if line := m.line("session committed", signedIn); line != nil {
		was := zap.Skip()
		if event == EventReplaced {
			was = zap.String("replaces", c.was.ID())
		}
		line.Write(zap.String("session", c.next.ID()), zap.String("event", string(event)), zap.Uint64("version", c.next.Version()), was)
	}
	switch event {
	case EventPatched:
	case EventReplaced:
		m.notify(Notice{Event: event, ID: c.was.ID(), Next: c.next.ID()})
	case EventRenewed:
		m.notify(Notice{Event: event, ID: c.next.ID(), Epoch: c.next.epoch})
	default:
		m.notify(Notice{Event: event, ID: c.next.ID()})
	}
}

// dropped is what becomes of a patch that came too late for its session.
func (m *Manager) dropped(s *Session, p *Patch) (Result, error) {
	if p.IfVersion == nil {
		m.lines.dropped.Log(m.log.Info, "dropping what a response sets: its session has ended or was renewed since the request began", "",
			zap.String("session", s.ID()))
	}
	return m.drop(p)
}

func (m *Manager) drop(p *Patch) (Result, error) {
	if p.IfVersion != nil {
		return Result{}, ErrVersion
	}
	m.count(EventDropped)
	return Result{Outcome: EventDropped}, nil
}

// destroy ends the session. The browser's cookie is expired only if it is
// still the current one: a parallel response may have sent a newer.
func (m *Manager) destroy(ctx context.Context, s *Session, now time.Time) (Result, error) {
	if s == nil {
		return Result{}, nil
	}
	stripe := m.locks.of(s.ID())
	if !stripe.tryLock() {
		if _, err := stripe.wait(&waiter{ctx: ctx, session: s, patch: &Patch{Destroy: true}, now: now}); err != nil {
			return Result{}, fmt.Errorf("waiting to end session %s: %w", s.ID(), err)
		}
	}
	defer stripe.unlock()
	for current := s; ; {
		err := m.store.remove(ctx, s.ID(), current.version)
		switch {
		case err == nil:
			m.unindexLater(s.ID(), current.indexKey())
			m.ended(EventDestroyed, s.ID(), current.subject != "")
			return Result{Cookie: CookieExpire, Committed: true, Outcome: EventDestroyed}, nil
		case errors.Is(err, ErrNotFound):
			return Result{}, nil
		case !errors.Is(err, ErrConflict):
			return Result{}, fmt.Errorf("ending session %s: %w", s.ID(), err)
		}
		switch current, err = m.reload(ctx, s, now, false); {
		case errors.Is(err, ErrNotFound):
			return Result{}, nil
		case err != nil:
			return Result{}, err
		}
		if current == nil { // renewed meanwhile, or not to be read
			if err := m.endIndexed(ctx, s.ID(), s.indexKey()); err != nil {
				return Result{}, err
			}
			m.ended(EventDestroyed, s.ID(), s.subject != "")
			return Result{Committed: true, Outcome: EventDestroyed}, nil
		}
	}
}

// Reload returns a session as it is now: nil if it has ended or was renewed since
// it was loaded.
func (m *Manager) Reload(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	return m.again(ctx, s, now, true)
}

// Refresh is [Manager.Reload] for who does not need the data: it may be
// [Session.Unread], as after [Manager.Load].
func (m *Manager) Refresh(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	return m.again(ctx, s, now, false)
}

func (m *Manager) again(ctx context.Context, s *Session, now time.Time, whole bool) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, commitBound)
	defer cancel()
	current, err := m.reload(ctx, s, now, whole)
	if errors.Is(err, ErrNotFound) || current != nil && !now.Before(current.ends) {
		return nil, nil
	}
	return current, err
}

// reload reads a session again: nil if it was renewed since or can't be read,
// ErrNotFound if it ended or was replaced. One whose deadline has passed comes
// without data. Unless it is to be whole, so may one that is live: see [Session.Unread].
func (m *Manager) reload(ctx context.Context, s *Session, now time.Time, whole bool) (*Session, error) {
	e, err := m.read(ctx, s.ID(), whole)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reloading session %s: %w", s.ID(), err)
	}
	current, v, err := m.open(e, s.token, Site{Scope: s.scope, Realm: s.realm}, now)
	switch v {
	case verdictLive, verdictExpired:
		if current.epoch != s.epoch {
			return nil, nil
		}
		current.expires = now.Add(e.TTL)
		return current, nil
	case verdictCut:
		return m.reload(ctx, s, now, true)
	case verdictReplaced:
		return nil, ErrNotFound
	case verdictForged: // or the secret from before more renewals than a record remembers
		if isTombstone(e.Value) {
			return nil, ErrNotFound
		}
	case verdictCorrupt:
		m.corrupt(s.ID(), e, err)
	case verdictNewer:
		return nil, fmt.Errorf("reloading session %s: %w", s.ID(), err)
	}
	return nil, nil
}

// pause waits a little, longer and less predictably with every attempt.
func pause(ctx context.Context, attempt int) error {
	most := min(time.Millisecond<<min(attempt, 10), 100*time.Millisecond)
	timer := time.NewTimer(rand.N(most) + time.Microsecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
