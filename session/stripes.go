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

// lock waits until the context ends; the returned function unlocks. waited
// tells that somebody else had the lock: what is known of the session is likely
// to be out of date.
func (s *stripes) lock(ctx context.Context, id string) (unlock func(), waited bool, err error) {
	l := s.locks[maphash.String(s.seed, id)%uint64(len(s.locks))]
	unlock = func() { <-l }
	select {
	case l <- struct{}{}:
		return unlock, false, nil
	default:
	}
	select {
	case l <- struct{}{}:
		return unlock, true, nil
	case <-ctx.Done():
		return nil, true, ctx.Err()
	}
}
