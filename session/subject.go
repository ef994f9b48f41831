package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// indexKey returns where the session is filed, or "" without a subject. A
// session without one keeps its id when a subject appears, and gets another id
// when the subject goes, so an id is never filed under two keys.
func (r *record) indexKey() string {
	if r.subject == "" {
		return ""
	}
	return IndexKey(r.realm, r.subject)
}

// filed is a session of a subject.
type filed struct {
	id       string
	signedIn time.Time
}

// eachSession calls f for the live sessions of a subject. Index entries are
// checked against the records: an entry without its record means nothing.
func eachSession(ctx context.Context, store Store, key string, f func(filed)) error {
	const page = 1000
	seen := map[string]bool{}
	for cursor := ""; ; {
		listed, next, err := store.Indexed(ctx, key, cursor, page)
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
			if err == nil && r.indexKey() == key {
				f(filed{i.ID, r.signedIn})
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
func endOthers(ctx context.Context, store Store, key, except string) ([]string, error) {
	var ids []string
	err := eachSession(ctx, store, key, func(s filed) {
		if s.id != except {
			ids = append(ids, s.id)
		}
	})
	if err != nil {
		return nil, err
	}
	return ids, endMany(ctx, store, key, ids)
}

// endMany ends sessions that are filed under a key. If the store does not say
// what it has done, it is told once more. If there are none, it is asked too:
// an attempt before may have ended them, and a failover could undo that.
func endMany(ctx context.Context, store Store, key string, ids []string) error {
	err := store.DeleteMany(ctx, key, ids)
	if err == nil || errors.Is(err, ErrNotReplicated) || ctx.Err() != nil {
		return err
	}
	return store.DeleteMany(ctx, key, ids)
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
	ids, err := endOthers(ctx, m.Store, key, own)
	if err != nil {
		return fmt.Errorf("revoking other sessions: %w", err)
	}
	for _, id := range ids {
		m.ended(EventRevoked, id, true)
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
	m.Log.Warn("revoke-others without a subject does nothing", zap.String("session", id),
		zap.String("subject_key", m.Policy.SubjectKey))
}

// evict ends the sessions that a subject has over the limit, those first that
// signed in longest ago, and never own. The commit stands even if this fails.
func (m *Manager) evict(ctx context.Context, own *Session) {
	if m.Policy.MaxSessions == 0 {
		return
	}
	key := own.indexKey()
	var others []filed
	err := eachSession(ctx, m.Store, key, func(s filed) {
		if s.id != own.ID() {
			others = append(others, s)
		}
	})
	if err != nil {
		m.Log.Error("counting the sessions of a subject", zap.String("session", own.ID()), zap.Error(err))
		return
	}
	slices.SortFunc(others, func(a, b filed) int { return a.signedIn.Compare(b.signedIn) })
	var ids []string
	for _, s := range others[:max(0, len(others)+1-m.Policy.MaxSessions)] {
		ids = append(ids, s.id)
	}
	if ids == nil {
		return
	}
	if err := endMany(ctx, m.Store, key, ids); err != nil {
		m.Log.Error("ending sessions over the limit of their subject", zap.String("session", own.ID()), zap.Error(err))
		return
	}
	for _, id := range ids {
		m.ended(EventEvicted, id, true)
	}
}

// EndSubject ends the sessions of a subject in a realm, but one, which may be
// "", for the operator. It returns how many there were.
func (m *Manager) EndSubject(ctx context.Context, realm, subject, except string) (int, error) {
	ids, err := endOthers(ctx, m.Store, IndexKey(realm, subject), except)
	if err != nil {
		return 0, fmt.Errorf("ending the sessions of a subject: %w", err)
	}
	for _, id := range ids {
		m.ended(EventEnded, id, true)
	}
	return len(ids), nil
}

// EndMany ends sessions that were listed, for the operator. Their places in the
// index stay until their deadlines, where they mean nothing.
func (m *Manager) EndMany(ctx context.Context, listed []Info) error {
	ids := make([]string, len(listed))
	for i := range listed {
		ids[i] = listed[i].ID
	}
	if err := endMany(ctx, m.Store, "", ids); err != nil {
		return fmt.Errorf("ending %d sessions: %w", len(ids), err)
	}
	for _, s := range listed {
		m.ended(EventEnded, s.ID, s.Subject != "")
	}
	return nil
}
