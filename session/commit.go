package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// ErrVersion says that if-version did not hold: nothing was saved.
var ErrVersion = errors.New("the session has another version")

// CookieChange says what a response has to do about the browser's cookie.
type CookieChange int

const (
	CookieKeep   CookieChange = iota // nothing
	CookieSet                        // send Result.Session's token
	CookieExpire                     // make the browser forget it
)

// Result is what became of a patch.
type Result struct {
	// Session is the session from now on: nil if there is none.
	Session *Session
	Cookie  CookieChange
	// Committed tells that the store was written, which includes a touch.
	Committed bool

	// Outcome is what was counted, empty if there was nothing to do, and
	// Retries how many conflicts there were.
	Outcome Event
	Retries int
}

// Commit applies a patch atomically: all of it or nothing. s is the session
// that the request was opened with, nil for an anonymous one.
//
// A patch for a session that ended or was renewed since it was opened is
// dropped, which is no error: what a slow response says about the past must
// not come back to life. Destroy is obeyed even then.
//
// Errors: *MalformedError, ErrVersion, or the store could not do it.
func (m *Manager) Commit(ctx context.Context, site Site, s *Session, p *Patch, now time.Time) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	now = time.UnixMilli(now.UnixMilli()) // as records keep it

	var result Result
	var err error
	switch {
	case p.Destroy:
		if p.changes() || p.IfVersion != nil || p.RevokeOthers {
			m.Log.Info("destroy wins over the rest of what the response asks for")
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
	case errors.Is(err, ErrVersion), errors.As(err, &malformed):
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
	c, err := m.change(site, nil, p, now)
	if err != nil {
		return Result{}, err
	}
	if err := m.revokeOthers(ctx, p, c); err != nil {
		return Result{}, err
	}
	err = m.put(ctx, c.next.ID(), 0, c.entry(m.Policy, now))
	if err != nil && !isVerdict(err) && ctx.Err() == nil {
		// Perhaps on a connection that was dead. Once more, as another session:
		// should the first one come late, nobody will ever have its secret.
		if c, err = m.change(site, nil, p, now); err != nil {
			return Result{}, err
		}
		err = m.put(ctx, c.next.ID(), 0, c.entry(m.Policy, now))
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
	unlock, waited, err := m.locks.lock(ctx, s.ID())
	if err != nil {
		return Result{}, fmt.Errorf("waiting to commit session %s: %w", s.ID(), err)
	}
	defer unlock()

	current := s
	if waited || !p.changes() || p.RevokeOthers || p.NoTouch || !now.Before(s.deadline) || p.IfVersion != nil && *p.IfVersion != s.version {
		// A parallel request is likely to have committed. Or nothing would notice
		// that the session has ended, or too late; or it may have set another TTL
		// or a later deadline, or made the version that is asked for.
		if current, err = m.reload(ctx, s, now); err != nil {
			return Result{}, err
		}
	}
	for attempt := 0; ; attempt++ {
		if current == nil || !now.Before(current.deadline) {
			return m.dropped(s, p)
		}
		if p.IfVersion != nil && *p.IfVersion != current.version {
			return Result{}, ErrVersion
		}
		c, err := m.change(site, current, p, now)
		if err != nil {
			return Result{}, err
		}
		if err := m.revokeOthers(ctx, p, c); err != nil {
			return Result{}, err
		}
		if !p.changes() {
			return Result{Session: current}, nil
		}
		switch err := m.write(ctx, c, now); {
		case err == nil:
			result := m.done(ctx, c)
			result.Retries = attempt
			return result, nil
		case errors.Is(err, ErrNotFound):
			return m.dropped(s, p)
		case !errors.Is(err, ErrConflict):
			return Result{}, fmt.Errorf("committing session %s: %w", s.ID(), err)
		}
		m.count(EventConflict)
		if err := pause(ctx, attempt); err != nil {
			return Result{}, fmt.Errorf("committing session %s after %d conflicts: %w", s.ID(), attempt+1, err)
		}
		if current, err = m.reload(ctx, s, now); err != nil {
			return Result{}, err
		}
	}
}

// write stores a step from an existing session. Where the id is replaced, the
// old record goes first: there is one winner, and a failure in between leaves
// the browser signed out.
func (m *Manager) write(ctx context.Context, c change, now time.Time) error {
	e := c.entry(m.Policy, now)
	if !c.replaced {
		return m.put(ctx, c.was.ID(), c.was.version, e)
	}
	if err := m.claim(ctx, c.was.ID(), c.was.version); err != nil {
		return err
	}
	m.unindex(c.was.ID(), c.was.indexKey())
	if err := m.put(ctx, c.next.ID(), 0, e); err != nil {
		return fmt.Errorf("replacing it by %s: %v", c.next.ID(), err) // no verdict on the old one
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
	m.tell(event, c)
	if c.signedIn {
		m.evict(ctx, c.next)
	}
	r := Result{Session: c.next, Committed: true, Outcome: event}
	if c.cookie {
		r.Cookie = CookieSet
	}
	return r
}

// tell logs and tells what a commit has done.
func (m *Manager) tell(event Event, c change) {
	signedIn := event != EventPatched && (c.next.subject != "" || c.was != nil && c.was.subject != "")
	if log := m.logs("session committed", signedIn); log != nil {
		was := zap.Skip()
		if event == EventReplaced {
			was = zap.String("replaces", c.was.ID())
		}
		log.Write(zap.String("session", c.next.ID()), zap.String("event", string(event)), zap.Uint64("version", c.next.version), was)
	}
	switch event {
	case EventPatched:
	case EventReplaced:
		m.notice(event, c.was.ID(), c.next.ID())
	default:
		m.notice(event, c.next.ID(), "")
	}
}

func (m *Manager) dropped(s *Session, p *Patch) (Result, error) {
	if p.IfVersion != nil {
		return Result{}, ErrVersion
	}
	m.count(EventDropped)
	m.Log.Info("dropping what a response sets: its session has ended or was renewed since the request began",
		zap.String("session", s.ID()))
	return Result{Outcome: EventDropped}, nil
}

// destroy ends the session. The browser's cookie is expired only if it is
// still the current one: a parallel response may have sent a newer.
func (m *Manager) destroy(ctx context.Context, s *Session, now time.Time) (Result, error) {
	if s == nil {
		return Result{}, nil
	}
	unlock, _, err := m.locks.lock(ctx, s.ID())
	if err != nil {
		return Result{}, fmt.Errorf("waiting to end session %s: %w", s.ID(), err)
	}
	defer unlock()
	for current := s; ; {
		err := m.remove(ctx, s.ID(), current.version)
		switch {
		case err == nil:
			m.unindex(s.ID(), current.indexKey())
			m.ended(EventDestroyed, s.ID(), current.subject != "")
			return Result{Cookie: CookieExpire, Committed: true, Outcome: EventDestroyed}, nil
		case errors.Is(err, ErrNotFound):
			return Result{}, nil
		case !errors.Is(err, ErrConflict):
			return Result{}, fmt.Errorf("ending session %s: %w", s.ID(), err)
		}
		if current, err = m.reload(ctx, s, now); err != nil {
			return Result{}, err
		}
		if current == nil { // renewed meanwhile, or gone
			if err := m.end(ctx, s.ID(), s.indexKey()); err != nil {
				return Result{}, err
			}
			m.ended(EventDestroyed, s.ID(), s.subject != "")
			return Result{Committed: true, Outcome: EventDestroyed}, nil
		}
	}
}

// reload reads a session again: nil if it ended or was renewed since.
func (m *Manager) reload(ctx context.Context, s *Session, now time.Time) (*Session, error) {
	e, err := m.Store.Get(ctx, s.ID())
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reloading session %s: %w", s.ID(), err)
	}
	r, header, body, err := decodeRecord(e.Value)
	if err == nil {
		if r.epoch != s.epoch || subtle.ConstantTimeCompare(r.verifier[:], s.verifier[:]) != 1 {
			return nil, nil
		}
		err = r.open(s.token, header, body)
	}
	switch {
	case errors.Is(err, errCorrupt):
		m.corrupt(s.ID(), e, err)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reloading session %s: %w", s.ID(), err)
	}
	return &Session{token: s.token, record: r, expires: now.Add(e.TTL)}, nil
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
