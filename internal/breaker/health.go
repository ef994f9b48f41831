package breaker

import (
	"sync/atomic"

	"go.uber.org/zap"
)

// Health logs when a server begins to refuse something and when that works again,
// rather than each call. It may be used by many goroutines.
type Health struct {
	Log       *zap.Logger
	Ill, Well string // what to log
	bad       atomic.Bool
}

// Failed notes that a call was refused.
func (h *Health) Failed(err error) {
	if h.bad.CompareAndSwap(false, true) {
		h.Log.Warn(h.Ill, zap.Error(err))
	}
}

// Worked notes that a call was not.
func (h *Health) Worked() {
	if h.bad.Load() && h.bad.CompareAndSwap(true, false) {
		h.Log.Info(h.Well)
	}
}
