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
	waiting    *time.Timer // to see whether it stays well; nil if it is not
}

// failed notes a failure. The error is of the kind that publicError returns.
func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastFailed = time.Now()
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
	if h.waiting == nil {
		h.waiting = time.AfterFunc(settled-time.Since(h.lastFailed), h.settle)
	}
}

// settle ends the condition if nothing has failed for long enough. Otherwise
// the next success tries again.
func (h *health) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = nil
	if time.Since(h.lastFailed) >= settled && h.bad.CompareAndSwap(true, false) {
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
