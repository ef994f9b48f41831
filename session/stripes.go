package session

import (
	"hash/maphash"
	"sync"
)

// stripes are locks by session id. Commits on one session are serialised in
// the process, so that conflicts come from other processes only. Two ids may
// share a stripe, so one goroutine must never hold two.
type stripes struct {
	seed maphash.Seed
	all  []stripe
}

type stripe struct {
	held chan struct{}

	mu      sync.Mutex
	waiting []*waiter // in order of arrival
}

func newStripes() stripes {
	s := stripes{seed: maphash.MakeSeed(), all: make([]stripe, 1024)}
	for i := range s.all {
		s.all[i].held = make(chan struct{}, 1)
	}
	return s
}

func (s *stripes) of(id string) *stripe {
	return &s.all[maphash.String(s.seed, id)%uint64(len(s.all))]
}

func (s *stripe) tryLock() bool {
	select {
	case s.held <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *stripe) unlock() { <-s.held }
