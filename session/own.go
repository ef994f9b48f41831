package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OwnSession is what a user may see of one of their sessions.
type OwnSession struct {
	ID                          string
	Created, SignedIn, Deadline time.Time
	Client, SignInClient        Client // as in [Info]
}

// maxOwn bounds the sessions of a user that are listed.
const maxOwn = 1000

// Own lists the sessions of the user of s, s too: at most 1000, and none if nobody
// is signed in.
func (m *Manager) Own(ctx context.Context, s *Session) (own []OwnSession, err error) {
	if s.subject == "" {
		return nil, nil
	}
	err = m.eachSession(ctx, s.indexKey(), func(one userSession) {
		if len(own) < maxOwn {
			own = append(own, OwnSession{one.id, one.created, one.record.signedIn, m.policy.deadline(&one.record), one.client, one.signInClient})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing the sessions of a user: %w", err)
	}
	return own, nil
}

// EndOwn ends one session of the user of s, and reports whether there was one with
// this id.
func (m *Manager) EndOwn(ctx context.Context, s *Session, id string) (bool, error) {
	key := s.indexKey()
	if key == "" {
		return false, nil
	}
	e, err := GetHeader(ctx, m.store.Store, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ending session %s: %w", id, err)
	}
	r, _, _, err := decodeRecord(e.Value)
	if err != nil || r.replaced || r.indexKey() != key || !time.Now().Before(r.deadline) {
		return false, nil
	}
	// Whatever its version is by now: a session of another user has another id.
	if err := m.endIndexed(ctx, id, key); err != nil {
		return false, err
	}
	m.ended(EventRevoked, id, true)
	return true, nil
}
