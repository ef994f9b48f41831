package redisstore

// AwaitInspection waits until the servers were inspected, once a call has
// worked.
func (s *Store) AwaitInspection() { s.link.loop.Wait() }
