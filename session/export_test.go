package session

// Epoch returns the number of renewals.
func (s *Session) Epoch() uint64 { return s.epoch }
