//go:build unix

package redisstore

// AwaitInspection waits until the servers were inspected, once a call has
// worked.
func (s *Store) AwaitInspection() { s.link.loop.Wait() }

// IsReadOnly reports whether an answer means that the server is a replica.
var IsReadOnly = isReadOnly
