package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// indexKey returns the key of the session's index entry, "" without a subject. A
// session without one keeps its id when a subject appears, and gets another id
// when the subject goes, so an id is never indexed under two keys.
func (r *record) indexKey() string {
	if r.subject == "" {
		return ""
	}
	return indexKey(r.realm, r.subject)
}

// userSession is a live session of a subject.
type userSession struct {
	id string
	record
}

// eachSession calls f for the live sessions of a subject. Index entries are
// checked against the records: an entry without its record means nothing, nor does
// one whose deadline has passed.
func (e *ender) eachSession(ctx context.Context, key string, f func(userSession)) error {
	const page = 1000
	seen := map[string]bool{}
	for cursor := ""; ; {
		listed, next, err := e.store.Indexed(ctx, key, cursor, page)
		if err != nil {
			return err
		}
		for _, i := range listed {
			if seen[i.ID] || i.Header == nil {
				continue
			}
			seen[i.ID] = true
			r, _, _, err := decodeRecord(i.Header)
			if errors.Is(err, errNewer) {
				return fmt.Errorf("session %s: %w", i.ID, err)
			}
			if err == nil && r.indexKey() == key && time.Now().Before(r.deadline) {
				f(userSession{i.ID, r})
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// endOthers ends the sessions of a subject but one, which may be "", and returns
// the ids of those that have ended. What signs in meanwhile may go on.
func (e *ender) endOthers(ctx context.Context, key, except string) ([]string, error) {
	var ids []string
	err := e.eachSession(ctx, key, func(s userSession) {
		if s.id != except {
			ids = append(ids, s.id)
		}
	})
	if err != nil {
		return nil, err
	}
	return ids, e.store.removeMany(ctx, key, ids)
}

// revokeOthers ends the other sessions of the subject that c leads to, or comes
// from if the same response signs out, if the patch asks for it. It runs before
// the own commit, which fails with it.
func (m *Manager) revokeOthers(ctx context.Context, p *Patch, c change) error {
	if !p.RevokeOthers {
		return nil
	}
	key := c.next.indexKey()
	if key == "" && c.was != nil {
		key = c.was.indexKey()
	}
	if key == "" {
		m.warnNoSubject(p, c.was)
		return nil
	}
	own := "" // the commit itself replaces it, or goes on with it
	if c.was != nil {
		own = c.was.ID()
	}
	ids, err := m.endOthers(ctx, key, own)
	if err != nil {
		return fmt.Errorf("revoking other sessions: %w", err)
	}
	m.endedTogether(EventRevoked, key, ids, true)
	return nil
}

// warnOdd tells who puts at the subject's place what names nobody. s is the session,
// nil for a new one.
func (m *Manager) warnOdd(was, next content, s *Session) {
	value, _ := lookupPath(next.data, m.policy.SubjectKey)
	if !odd(value) {
		return
	}
	if before, _ := lookupPath(was.data, m.policy.SubjectKey); bytes.Equal(before, value) {
		return
	}
	id := zap.Skip()
	if s != nil {
		id = zap.String("session", s.ID())
	}
	m.lines.oddSubject.Log(m.log.Warn, "nobody is signed in by a value that is no string or number; for a member of an object, give the subject a path such as user.id", "",
		id, zap.String("subject_key", m.policy.SubjectKey))
}

func (m *Manager) warnNoSubject(p *Patch, s *Session) {
	if !p.RevokeOthers {
		return
	}
	id := ""
	if s != nil {
		id = s.ID()
	}
	m.lines.noSubject.Log(m.log.Warn, "revoke-others without a subject does nothing", "", zap.String("session", id),
		zap.String("subject_key", m.policy.SubjectKey))
}

// evict ends the sessions that a subject has over the limit, those first that
// signed in longest ago, and never own. The commit stands even if this fails.
func (m *Manager) evict(ctx context.Context, own *Session) {
	if m.policy.MaxSessions == 0 {
		return
	}
	key := own.indexKey()
	var others []userSession
	err := m.eachSession(ctx, key, func(s userSession) {
		if s.id != own.ID() {
			others = append(others, s)
		}
	})
	if err != nil {
		m.lines.uncounted.Log(m.log.Error, "counting the sessions of a subject", "", zap.String("session", own.ID()), zap.Error(err))
		return
	}
	slices.SortFunc(others, func(a, b userSession) int { return a.signedIn.Compare(b.signedIn) })
	var ids []string
	for _, s := range others[:max(0, len(others)+1-m.policy.MaxSessions)] {
		ids = append(ids, s.id)
	}
	if ids == nil {
		return
	}
	if err := m.store.removeMany(ctx, key, ids); err != nil {
		m.lines.unevicted.Log(m.log.Error, "ending sessions over the limit of their subject", "", zap.String("session", own.ID()), zap.Error(err))
		return
	}
	m.endedTogether(EventEvicted, key, ids, true)
}
