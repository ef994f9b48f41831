package session

import (
	"context"
	"slices"
	"time"
)

// waiter is a commit that waits for the stripe of its session. Who has the stripe
// may write it along with its own.
type waiter struct {
	ctx     context.Context
	site    Site
	session *Session
	patch   *Patch
	now     time.Time

	done chan struct{} // closed when it was written, or not: err tells
	change
	err error
}

// maxGroup bounds the commits that are written as one, so that the first need not
// wait for ever more.
const maxGroup = 64

// wait waits for the stripe. locked is false after an error of the context, and if who
// had the stripe has taken w along.
func (s *stripe) wait(w *waiter) (locked bool, err error) {
	w.done = make(chan struct{})
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case s.held <- struct{}{}:
		if s.leave(w) {
			return true, nil
		}
		s.unlock()
	case <-w.done:
	case <-w.ctx.Done():
		if s.leave(w) {
			return false, w.ctx.Err()
		}
	}
	<-w.done
	return false, nil
}

// leave reports whether w was still waiting.
func (s *stripe) leave(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, func(other *waiter) bool { return other == w })
	return len(s.waiting) < before
}

// follow takes the commits that can be written along with c out of those that
// wait, each with its change, which follows that of the one before.
func (m *Manager) follow(s *stripe, c change) (group []*waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		if len(group) == maxGroup-1 {
			break
		}
		if w.session.token != c.next.token || !w.now.Before(c.next.ends) {
			continue
		}
		next, err := m.change(w.site, c.next, w.patch, w.now)
		if err != nil {
			continue // its own turn will tell
		}
		if !next.groups(w.patch) {
			break // nor those that came after it
		}
		w.change, c = next, next
		group = append(group, w)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool { return slices.Contains(group, w) })
	return group
}

// groups reports whether the change that a patch makes can be written along with
// others.
func (c *change) groups(p *Patch) bool {
	return !p.Destroy && !c.cookie && !c.again && !c.index && !p.NoTouch && !p.RevokeOthers && p.IfVersion == nil
}

// writeGroup is write for a change and those that wait to follow it. Its error is
// theirs, too.
func (m *Manager) writeGroup(ctx context.Context, s *stripe, c change, now time.Time) error {
	group := m.follow(s, c)
	if group == nil {
		return m.write(ctx, c, now)
	}
	err := ErrConflict // they would wait again, should write panic
	defer func() {
		for _, w := range group {
			w.err = err
			close(w.done)
		}
	}()
	deadline, _ := ctx.Deadline()
	for _, w := range group {
		if later, _ := w.ctx.Deadline(); later.After(deadline) {
			deadline = later
		}
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	whole := group[len(group)-1].change
	whole.was = c.was
	err = m.write(ctx, whole, now)
	c.next.expires = whole.next.expires
	for _, w := range group {
		w.next.expires = whole.next.expires
	}
	return err
}
