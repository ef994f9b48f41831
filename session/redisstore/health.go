package redisstore

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// settled is how long a condition must not have shown for it to be over. In a
// Cluster one server may fail while others work.
const settled = time.Second

// health logs when something begins to fail and when it works again, rather
// than each call.
type health struct {
	log        *zap.Logger
	ill, well  string // what to log
	bad        atomic.Bool
	mu         sync.Mutex
	lastFailed time.Time
	workedLast bool        // and not failed
	waiting    *time.Timer // to see whether it stays well; nil if there is no hope
}

// failed notes a failure. The error is of the kind that publicError returns.
func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastFailed, h.workedLast = time.Now(), false
	if h.bad.CompareAndSwap(false, true) {
		h.log.Warn(h.ill, zap.Error(err))
	}
}

// worked notes a success.
func (h *health) worked() {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workedLast = true
	if h.waiting == nil {
		h.waiting = time.AfterFunc(settled-time.Since(h.lastFailed), h.settle)
	}
}

// settle ends the condition if nothing has failed for long enough. If something
// has meanwhile, the next success begins to wait again.
func (h *health) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = nil
	left := settled - time.Since(h.lastFailed)
	switch {
	case !h.workedLast:
	case left > 0:
		h.waiting = time.AfterFunc(left, h.settle)
	case h.bad.CompareAndSwap(true, false):
		h.log.Info(h.well)
	}
}

// close keeps the log quiet from now on.
func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = zap.NewNop()
	if h.waiting != nil {
		h.waiting.Stop()
	}
}
