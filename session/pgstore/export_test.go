//go:build unix

package pgstore

// Sweep removes a slice of what has expired, and reports whether there is more.
func (s *Store) Sweep() (more bool, err error) { return s.link.sweep() }
