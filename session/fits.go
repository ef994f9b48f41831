package session

// Fits returns the [*MalformedError] of committing a patch on a session, nil for
// none. A parallel commit may make it another one. Of a session that is
// [Session.Unread] nobody can tell, so there is none.
func (m *Manager) Fits(s *Session, p *Patch) error {
	var was content
	if s.Unread() {
		return nil
	}
	if s != nil {
		was = s.content
	}
	next, _, err := p.apply(was, m.policy)
	if err != nil {
		return err
	}
	if err := m.protocol.exposure(next); err != nil {
		return p.malformed(err)
	}
	return nil
}
