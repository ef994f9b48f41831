package session

import (
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

// indexed is a session of a subject.
type indexed struct {
	id       string
	signedIn time.Time
}

// eachSession calls f for the live sessions of a subject. Index entries are
// checked against the records: an entry without its record means nothing.
func (m *Manager) eachSession(ctx context.Context, key string, f func(indexed) error) error {
	const page = 100
	seen := map[string]bool{}
	for cursor := ""; ; {
		ids, next, err := m.store.Indexed(ctx, key, cursor, page)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			e, err := m.store.Get(ctx, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			r, _, _, err := decodeRecord(e.Value)
			if errors.Is(err, errNewer) {
				return fmt.Errorf("session %s: %w", id, err)
			}
			if err != nil || r.indexKey() != key {
				continue
			}
			if err := f(indexed{id, r.signedIn}); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
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
	err := m.eachSession(ctx, key, func(s indexed) error {
		if c.was != nil && s.id == c.was.ID() {
			return nil // the commit itself replaces it, or goes on with it
		}
		if err := m.endIndexed(ctx, s.id, key); err != nil {
			return err
		}
		m.ended(EventRevoked, s.id, true)
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoking other sessions: %w", err)
	}
	return nil
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
	var others []indexed
	err := m.eachSession(ctx, key, func(s indexed) error {
		if s.id != own.ID() {
			others = append(others, s)
		}
		return nil
	})
	if err != nil {
		m.lines.uncounted.Log(m.log.Error, "counting the sessions of a subject", "", zap.String("session", own.ID()), zap.Error(err))
		return
	}
	slices.SortFunc(others, func(a, b indexed) int { return a.signedIn.Compare(b.signedIn) })
	for _, s := range others[:max(0, len(others)+1-m.policy.MaxSessions)] {
		if err := m.endIndexed(ctx, s.id, key); err != nil {
			m.lines.unevicted.Log(m.log.Error, "ending a session over the limit of its subject", "", zap.Error(err))
			return
		}
		m.ended(EventEvicted, s.id, true)
	}
}
