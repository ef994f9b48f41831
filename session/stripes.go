package session

import (
	"context"
	"hash/maphash"
)

// stripes are locks by session id. Commits on one session are serialised in
// the process, so that conflicts come from other processes only. Two ids may
// share a stripe, so one goroutine must never hold two.
type stripes struct {
	seed  maphash.Seed
	locks []chan struct{}
}

func newStripes() stripes {
	s := stripes{seed: maphash.MakeSeed(), locks: make([]chan struct{}, 1024)}
	for i := range s.locks {
		s.locks[i] = make(chan struct{}, 1)
	}
	return s
}

// lock waits until the context ends; the returned function unlocks.
func (s *stripes) lock(ctx context.Context, id string) (unlock func(), err error) {
	l := s.locks[maphash.String(s.seed, id)%uint64(len(s.locks))]
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
